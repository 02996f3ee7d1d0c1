package health

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// HTTPTypes are the registry's entries of [HTTP] and [HTTPProxy]: http, https and
// http_proxy.
func HTTPTypes() []Type {
	web := func(name, about string, port uint16, secure bool) Type {
		return Type{Name: name, About: about, Transport: "tcp", Port: port,
			Bind: func(k *Keys, p Peer) Checker {
				c := &HTTP{Addr: p.Addr, Dial: p.Dial, TLS: secure, TLSOptions: TLSOptions{ServerName: p.Name}}
				k.Func("path,request", "/", "page to ask for, with its query; a / before it may be left out", "a path, without scheme and host", func(s string) error {
					if u, err := url.Parse(s); err != nil || u.Host != "" || u.Scheme != "" {
						return errNotAllowed
					}
					s = "/" + strings.TrimPrefix(s, "/") // as ldirectord takes it
					if _, err := url.ParseRequestURI(s); err != nil {
						return errNotAllowed
					}
					c.Path = s
					return nil
				})
				host := "Host header; the address where not given"
				if secure {
					host += ". Its name is asked for by TLS where sni is not given"
				}
				k.String(&c.Host, "host,virtualhost", p.Name, host)
				bindRequest(k, &c.Method, &c.Header, &c.Status, &c.Expect)
				k.Bool(&c.HTTP2, "http2", "speak HTTP/2")
				if secure {
					c.bind(k)
				}
				return c
			}}
	}
	return []Type{
		web("http", "a page over HTTP", 80, false),
		web("https", "a page over HTTPS", 443, true),
		{Name: "http_proxy", About: "a page through an HTTP proxy", Transport: "tcp", Port: 3128,
			Bind: func(k *Keys, p Peer) Checker {
				c := &HTTPProxy{Addr: p.Addr, Dial: p.Dial}
				k.Func("url,request", "", "page to ask the proxy for", "an absolute http or https URL", func(s string) error {
					u, err := url.Parse(s)
					if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
						return errNotAllowed
					}
					c.URL = u
					return nil
				}).Required = true
				bindRequest(k, &c.Method, &c.Header, &c.Status, &c.Expect)
				c.bind(k)
				return c
			}},
	}
}

// bindRequest adds the keys of any HTTP request and of its answer.
func bindRequest(k *Keys, method *string, header *http.Header, status *StatusSet, expect **regexp.Regexp) {
	k.Choice(method, "method,httpmethod", "GET", "method", "GET", "HEAD", "OPTIONS", "POST")
	k.Func("header", "", "more of the request", `a list of "Name: value", or a mapping; for Host there is a key`, func(s string) error {
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
	}).List = true
	k.Status(status)
	k.Expect(expect, "the body")
	k.Then(func() error {
		if *method == http.MethodHead && *expect != nil {
			return ParamError{Key: "method", Value: *method, Problem: "its answer has no body to match"}
		}
		return nil
	})
}
