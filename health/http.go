package health

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// HTTP requests a page of a web server: keepalived's HTTP_GET and SSL_GET, ldirectord's
// http and https. Like keepalived it does not follow redirects: their status is the
// answer, and they may lead to another server.
type HTTP struct {
	Addr   netip.AddrPort
	Method string         // "" means GET
	Path   string         // with query; "" means /
	Host   string         // Host header; "" means Addr. Its name is also the default of ServerName
	Header http.Header    // added to the requests
	Status StatusSet      // that mean up; nil means 200 to 299
	Expect *regexp.Regexp // must match in the first 256 KiB of the decoded body; nil reads no body
	// Next are further requests, each on the same connection once the one before has had
	// the answer that it wants (HAProxy's http-check send and expect). With HTTP2 there are
	// none.
	Next  []HTTPRequest
	Login HTTPLogin
	TLS   bool // HTTPS
	TLSOptions
	HTTP2 bool // HTTP/2 and no other: by ALPN with TLS, else with prior knowledge (RFC 9113 section 3.3)
	Dial  DialFunc
}

// HTTPRequest is a request and the answer that it wants, as the fields of HTTP with the
// same names.
type HTTPRequest struct {
	Method string
	Path   string
	Status StatusSet
	Expect *regexp.Regexp
}

// Check makes its requests on a connection of its own.
func (c *HTTP) Check(ctx context.Context) error {
	special := c.Path != "" || c.Header != nil || c.Status != nil || c.Expect != nil || c.HTTP2 || cmp.Or(c.Method, http.MethodGet) != http.MethodGet
	return c.reach(ctx, special || len(c.Next) > 0 || c.Login != HTTPLogin{}, c.check)
}

func (c *HTTP) check(ctx context.Context) error {
	if len(c.Next) > 0 && c.HTTP2 {
		return errors.New("several requests: not with HTTP/2")
	}
	s, err := dialSession(ctx, c.Dial, "tcp", c.Addr.String())
	if err != nil {
		return err
	}
	defer s.close()
	if c.TLS {
		if err := s.startTLS(c.named(c.Host).config(c.Addr.Addr(), alpn(c.HTTP2)...)); err != nil {
			return err
		}
	}
	roundTrip := s.http1
	if c.HTTP2 {
		roundTrip = s.http2
	}
	roundTrip = c.Login.over(s, roundTrip)
	all := append([]HTTPRequest{{c.Method, c.Path, c.Status, c.Expect}}, c.Next...)
	for i := range all {
		if err := c.ask(s, &all[i], roundTrip, i == len(all)-1); err != nil {
			return err
		}
	}
	return nil
}

// ask makes one request. Unless it is the last, the connection is left for the next.
func (c *HTTP) ask(s *session, r *HTTPRequest, roundTrip roundTripper, last bool) error {
	u, err := url.ParseRequestURI(cmp.Or(r.Path, "/"))
	if err != nil {
		return fmt.Errorf("path %q: not a request target", r.Path)
	}
	u.Scheme, u.Host = "http", c.Addr.String()
	if c.TLS {
		u.Scheme = "https"
	}
	req := &http.Request{Method: cmp.Or(r.Method, http.MethodGet), URL: u, Host: c.Host, Header: c.Header.Clone(), Close: last}
	resp, err := s.request(req, roundTrip)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := checkResponse(s.ctx, req, resp, r.Status, r.Expect); err != nil || last {
		return err
	}
	return s.keep(req, resp)
}

// alpn is what to offer in a handshake.
func alpn(http2 bool) []string {
	if http2 {
		return []string{"h2"}
	}
	return []string{"http/1.1"}
}

// HTTPType returns the type of [HTTP] without TLS.
func HTTPType() Type { return httpType("http", "request a page over HTTP", 80, false) }

// HTTPSType returns the type of [HTTP] over TLS.
func HTTPSType() Type { return httpType("https", "request a page over HTTPS", 443, true) }

func httpType(name, about string, port uint16, secure bool) Type {
	return Type{Name: name, About: about, Transport: "tcp", Port: port,
		Bind: func(k *Keys, p Peer) Checker {
			c := &HTTP{Addr: p.Addr, Dial: p.Dial, TLS: secure, TLSOptions: TLSOptions{ServerName: p.Name}}
			k.Func("path,request", "/", "page to request, with its query; the first / may be left out", "a path, without scheme and host", func(s string) (err error) {
				c.Path, err = requestTarget(s)
				return err
			})
			host := "Host header; the address where not given"
			if secure {
				host += ". Its name is also the default of sni"
			}
			k.String(&c.Host, "host,virtualhost", p.Name, host)
			bindRequest(k, &c.Method, &c.Header, &c.Status, &c.Expect)
			k.Func("next", "", "further request on the same connection, and the answer that it wants", nextSyntax, func(s string) error {
				r, err := parseHTTPRequest(s)
				c.Next = append(c.Next, r)
				return err
			}).List = true
			c.Login.bind(k)
			k.Bool(&c.HTTP2, "http2", "use HTTP/2")
			k.Then(func() error {
				if c.HTTP2 && (len(c.Next) > 0 || c.Login.NTLM) {
					return ParamError{Key: "http2", Problem: "next and ntlm need a connection of HTTP/1"}
				}
				return nil
			})
			if secure {
				c.bind(k)
			}
			return c
		}}
}

// requestTarget reads a path with its query, as ldirectord takes it.
func requestTarget(s string) (string, error) {
	if u, err := url.Parse(s); err != nil || u.Host != "" || u.Scheme != "" {
		return "", errNotAllowed
	}
	s = "/" + strings.TrimPrefix(s, "/")
	if _, err := url.ParseRequestURI(s); err != nil {
		return "", errNotAllowed
	}
	return s, nil
}

const nextSyntax = "[METHOD] PATH [STATUS [PATTERN]], as in /b, POST /c 302, or /d 200 ^OK"

// parseHTTPRequest reads what the key next has.
func parseHTTPRequest(s string) (r HTTPRequest, err error) {
	word, rest, _ := strings.Cut(strings.TrimSpace(s), " ")
	if slices.Contains(httpMethods, word) {
		r.Method = word
		word, rest, _ = strings.Cut(strings.TrimSpace(rest), " ")
	}
	if !strings.HasPrefix(word, "/") {
		return r, errNotAllowed
	}
	if r.Path, err = requestTarget(word); err != nil {
		return r, err
	}
	status, pattern, _ := strings.Cut(strings.TrimSpace(rest), " ")
	if status != "" {
		if r.Status, err = ParseStatusSet(status); err != nil {
			return r, errNotAllowed
		}
	}
	if pattern != "" {
		if r.Method == http.MethodHead {
			return r, errors.New("the answer to HEAD has no body to match")
		}
		r.Expect, err = compilePattern(pattern)
	}
	return r, err
}

// httpMethods are those that a check may use.
var httpMethods = []string{http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPost}

// bindRequest adds the keys of an HTTP request and of its answer.
func bindRequest(k *Keys, method *string, header *http.Header, status *StatusSet, expect **regexp.Regexp) {
	k.Choice(method, "method,httpmethod", "GET", "method", httpMethods...)
	key := k.Func("header", "", "header added to the request", `a list of "Name: value", or a mapping; for Host there is a key`, func(s string) error {
		name, value, ok := strings.Cut(s, ":")
		name = http.CanonicalHeaderKey(strings.TrimSpace(name))
		if !ok || name == "" || name == "Host" || strings.ContainsAny(s, "\r\n\x00") {
			return errNotAllowed
		}
		if *header == nil {
			*header = http.Header{}
		}
		header.Add(name, strings.TrimSpace(value))
		return nil
	})
	key.List, key.Secret, key.ShownTo = true, true, ":"
	k.Status(status)
	k.Expect(expect, "the body")
	k.Then(func() error {
		if *method == http.MethodHead && *expect != nil {
			return ParamError{Key: "method", Value: *method, Problem: "its answer has no body to match"}
		}
		return nil
	})
}
