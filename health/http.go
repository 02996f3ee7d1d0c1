package health

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// HTTP asks a web server for a page: keepalived's HTTP_GET and SSL_GET,
// ldirectord's http and https. Redirects are not followed (as keepalived does):
// their status is the answer, and where they point is another server.
type HTTP struct {
	Addr   netip.AddrPort
	Method string         // "" means GET
	Path   string         // with query; "" means /
	Host   string         // Host header; "" means Addr. Its name is the ServerName where that is ""
	Header http.Header    // more of the request
	Status StatusSet      // that mean up; nil means 200 to 299
	Expect *regexp.Regexp // must match the body, unpacked, in its first 256 KiB; nil does not read it
	TLS    bool           // HTTPS
	TLSOptions
	HTTP2 bool // and nothing less: by ALPN with TLS, else with prior knowledge (RFC 9113 section 3.3)
	Dial  DialFunc
}

// Check asks once, on a connection of its own.
func (c *HTTP) Check(ctx context.Context) error {
	u, err := url.ParseRequestURI(or(c.Path, "/"))
	if err != nil {
		return fmt.Errorf("path %q: not a request target", c.Path)
	}
	u.Scheme, u.Host = "http", c.Addr.String()
	if c.TLS {
		u.Scheme = "https"
	}
	req := &http.Request{Method: or(c.Method, http.MethodGet), URL: u, Host: c.Host, Header: c.Header.Clone()}
	t, err := dialTalk(ctx, c.Dial, "tcp", c.Addr.String())
	if err != nil {
		return err
	}
	defer t.close()
	if c.TLS {
		if err := t.startTLS(c.named(c.Host).config(c.Addr.Addr(), alpn(c.HTTP2)...)); err != nil {
			return err
		}
	}
	speak := t.http1
	if c.HTTP2 {
		speak = t.http2
	}
	resp, err := t.request(req, speak)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return judgePage(ctx, req, resp, c.Status, c.Expect)
}

// HTTPProxy asks a proxy for a page elsewhere: ldirectord's http_proxy. An https
// URL asks it to CONNECT.
type HTTPProxy struct {
	Addr   netip.AddrPort
	URL    *url.URL       // absolute
	Method string         // "" means GET
	Header http.Header    // more of the request; with https, what begins with Proxy- is of CONNECT instead
	Status StatusSet      // that mean up; nil means 200 to 299
	Expect *regexp.Regexp // must match the body, in its first 256 KiB; nil does not read it
	TLSOptions
	Dial DialFunc
}

// Check asks once, on a connection of its own.
func (c *HTTPProxy) Check(ctx context.Context) error {
	req := &http.Request{Method: or(c.Method, http.MethodGet), URL: c.URL, Header: c.Header.Clone()}
	if c.URL.Scheme == "https" {
		maps.DeleteFunc(req.Header, func(name string, _ []string) bool { return strings.HasPrefix(name, proxyHeader) })
	}
	t, err := dialTalk(ctx, c.Dial, "tcp", c.Addr.String())
	if err != nil {
		return err
	}
	defer t.close()
	if c.URL.Scheme == "https" {
		if err := c.connect(t); err != nil {
			return err
		}
	}
	speak := t.http1
	if c.URL.Scheme == "http" {
		speak = t.proxied
	}
	resp, err := t.request(req, speak)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return judgePage(ctx, req, resp, c.Status, c.Expect)
}

// proxyHeader begins what is said to the proxy only, as Proxy-Authorization.
const proxyHeader = "Proxy-"

// connect has the proxy connect to the URL's host, and shakes hands with that.
func (c *HTTPProxy) connect(t *talk) error {
	port := or(c.URL.Port(), "443")
	host := net.JoinHostPort(c.URL.Hostname(), port)
	request := &http.Request{Method: http.MethodConnect, URL: &url.URL{Host: host}, Host: host, Header: http.Header{}}
	for name, values := range c.Header {
		if strings.HasPrefix(name, proxyHeader) {
			request.Header[name] = values
		}
	}
	resp, err := t.request(request, t.http1)
	if err != nil {
		return err
	}
	if !StatusSet(nil).has(resp.StatusCode) {
		return fmt.Errorf("CONNECT %s: got %s, want 200-299", host, resp.Status)
	}
	cfg := c.config(c.Addr.Addr(), alpn(false)...)
	cfg.ServerName = or(c.ServerName, c.URL.Hostname())
	return t.startTLS(cfg)
}

// alpn is what to offer in a handshake.
func alpn(http2 bool) []string {
	if http2 {
		return []string{"h2"}
	}
	return []string{"http/1.1"}
}

// request makes a request and reads the head of the answer.
func (t *talk) request(req *http.Request, roundTrip func(*http.Request) (*http.Response, error)) (*http.Response, error) {
	if req.Header == nil {
		req.Header = http.Header{}
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "golb")
	}
	resp, err := roundTrip(req)
	if err != nil && t.from.Err != nil {
		err = t.from.Err
	} else if err != nil && t.below != nil && t.below.cause() != nil {
		err = t.below.cause()
	}
	if err != nil {
		err = webReason(t.ctx, err)
		if n := maxTalk - t.from.Left; n > 0 && errors.Is(err, errTimeout) {
			err = fmt.Errorf("%w after %d bytes", err, n)
		}
		return nil, fmt.Errorf("%s: %w", title(req), err)
	}
	t.from.Left = maxTalk // for the body
	return resp, nil
}

// http1 speaks HTTP/1.1 on t itself: unlike an http.Transport it starts no
// goroutine, and logs nothing of what a strange server sends.
func (t *talk) http1(req *http.Request) (*http.Response, error) {
	req.Close = true
	if err := req.Write(t.conn); err != nil {
		return nil, err
	}
	return t.response(req)
}

// proxied is http1 with a proxy at the other end.
func (t *talk) proxied(req *http.Request) (*http.Response, error) {
	req.Close = true
	if err := req.WriteProxy(t.conn); err != nil {
		return nil, err
	}
	return t.response(req)
}

func (t *talk) response(req *http.Request) (*http.Response, error) {
	for range 6 { // 1xx come before the answer (RFC 9110 section 15.2)
		const version = "HTTP/"
		for n := 1; n <= len(version); n++ { // in time to tell what comes instead
			b, err := t.in.Peek(n)
			if err != nil {
				return nil, err
			}
			if b[n-1] != version[n-1] {
				return nil, fmt.Errorf("got %s, want HTTP/1", quote(t.seen(nil)))
			}
		}
		resp, err := http.ReadResponse(t.in, req)
		if err != nil || resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			return resp, err
		}
	}
	return nil, errors.New("got more than 5 answers with 1xx, want one without")
}

// http2 speaks HTTP/2 on t, which must be at its start.
func (t *talk) http2(req *http.Request) (*http.Response, error) {
	conn := t.conn
	secure, ok := conn.(*tls.Conn)
	if ok {
		if got := secure.ConnectionState().NegotiatedProtocol; got != "h2" {
			return nil, fmt.Errorf("server takes protocol %q, want %q", got, "h2")
		}
	}
	if !ok {
		conn = t.bound(conn)
	}
	connected := func(context.Context, string, string) (net.Conn, error) { return conn, nil }
	transport := &http.Transport{
		DialContext:            connected,
		DialTLSContext:         connected,
		DisableKeepAlives:      true,
		DisableCompression:     true, // the body is matched as it comes
		MaxResponseHeaderBytes: 64 << 10,
		Protocols:              new(http.Protocols),
		// A server that floods a stream that nobody reads fills no more than this.
		HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: maxTalk, MaxReceiveBufferPerConnection: maxTalk, MaxReadFrameSize: 16 << 10},
	}
	transport.Protocols.SetHTTP2(true)
	transport.Protocols.SetUnencryptedHTTP2(true)
	return transport.RoundTrip(req.WithContext(t.ctx))
}

// title names a request in a reason.
func title(req *http.Request) string {
	if req.Method == http.MethodConnect {
		return "CONNECT " + req.Host
	}
	return req.Method + " " + req.URL.RequestURI()
}

// judgePage judges an answer.
func judgePage(ctx context.Context, req *http.Request, resp *http.Response, want StatusSet, expect *regexp.Regexp) error {
	if !want.has(resp.StatusCode) {
		got := resp.Status
		if to := resp.Header.Get("Location"); to != "" {
			got += " to " + quote(to)
		}
		return fmt.Errorf("%s: got %s, want %s", title(req), got, want)
	}
	if expect == nil {
		return nil
	}
	body := io.Reader(resp.Body)
	if strings.EqualFold(resp.Header.Get("Content-Encoding"), "gzip") {
		unpacked, err := gzip.NewReader(body)
		if err != nil {
			return fmt.Errorf("%s: %w", title(req), webReason(ctx, err))
		}
		unpacked.Multistream(false) // nothing is waited for after its end
		body = unpacked
	}
	return search(ctx, title(req), body, expect, maxTalk)
}

// webReason is plain for the many errors of net/http.
func webReason(ctx context.Context, err error) error {
	reason := plain(ctx, err)
	text := reason.Error()
	for _, prefix := range []string{"net/http: ", "http: ", "http2: ", "tls: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	switch {
	case ctx.Err() != nil:
		return plain(ctx, ctx.Err())
	case reason == errTimeout: // the connection's deadline may come before the context's
		return reason
	case isClosed(err), text == "server closed idle connection":
		return errors.New("connection closed")
	}
	if strings.Contains(text, "frame too large") || strings.HasPrefix(text, "connection error: ") || text == "client conn could not be established" || text == "client conn is closed" {
		return errors.New("got something that is not HTTP/2")
	}
	return errors.New(text)
}

// StatusSet is a set of HTTP status codes. nil is 200 to 299.
type StatusSet []StatusRange

// StatusRange is From to To, both included.
type StatusRange struct{ From, To int }

func (s StatusSet) has(code int) bool {
	if s == nil {
		return code >= 200 && code <= 299
	}
	for _, r := range s {
		if code >= r.From && code <= r.To {
			return true
		}
	}
	return false
}

// String returns the set as ParseStatusSet takes it.
func (s StatusSet) String() string {
	if s == nil {
		return "200-299"
	}
	var parts []string
	for _, r := range s {
		if r.From == r.To {
			parts = append(parts, strconv.Itoa(r.From))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", r.From, r.To))
		}
	}
	return strings.Join(parts, ",")
}

// ParseStatusSet reads codes and ranges: 200-299,301.
func ParseStatusSet(text string) (StatusSet, error) {
	var set StatusSet
	for part := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			to = from
		}
		a, err1 := strconv.Atoi(from)
		b, err2 := strconv.Atoi(to)
		if err1 != nil || err2 != nil || a < 100 || b > 599 || a > b {
			return nil, fmt.Errorf("status %q: not a code or range from 100 to 599", part)
		}
		set = append(set, StatusRange{a, b})
	}
	return set, nil
}
