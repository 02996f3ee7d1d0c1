package health

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
)

// HTTPProxy requests a page of another server through a proxy: ldirectord's
// http_proxy. For an https URL it sends CONNECT.
type HTTPProxy struct {
	Addr   netip.AddrPort // of the proxy
	URL    *url.URL       // absolute, http or https
	Method string         // "" means GET
	Header http.Header    // added to the request; with https, headers that begin with Proxy- are added to CONNECT instead
	Status StatusSet      // that mean up; nil means 200 to 299
	Expect *regexp.Regexp // must match in the first 256 KiB of the decoded body; nil reads no body
	TLSOptions
	Dial DialFunc
}

// Check makes one request on a connection of its own.
func (c *HTTPProxy) Check(ctx context.Context) error {
	return c.reach(ctx, true, c.check)
}

func (c *HTTPProxy) check(ctx context.Context) error {
	req := &http.Request{Method: cmp.Or(c.Method, http.MethodGet), URL: c.URL, Header: c.Header.Clone(), Close: true}
	if c.URL.Scheme == "https" {
		maps.DeleteFunc(req.Header, func(name string, _ []string) bool { return strings.HasPrefix(name, proxyHeader) })
	}
	s, err := dialSession(ctx, c.Dial, "tcp", c.Addr.String())
	if err != nil {
		return err
	}
	defer s.close()
	roundTrip := s.http1Proxy
	if c.URL.Scheme == "https" {
		roundTrip = s.http1
		if err := c.connect(s); err != nil {
			return err
		}
	}
	resp, err := s.request(req, roundTrip)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return checkResponse(ctx, req, resp, c.Status, c.Expect)
}

// proxyHeader begins the headers that are for the proxy alone, such as
// Proxy-Authorization.
const proxyHeader = "Proxy-"

// connect has the proxy connect to the URL's host and starts TLS with that.
func (c *HTTPProxy) connect(s *session) error {
	host := net.JoinHostPort(c.URL.Hostname(), cmp.Or(c.URL.Port(), "443"))
	request := &http.Request{Method: http.MethodConnect, URL: &url.URL{Host: host}, Host: host, Header: http.Header{}, Close: true}
	for name, values := range c.Header {
		if strings.HasPrefix(name, proxyHeader) {
			request.Header[name] = values
		}
	}
	resp, err := s.request(request, s.http1)
	if err != nil {
		return err
	}
	if !StatusSet(nil).has(resp.StatusCode) {
		return fmt.Errorf("CONNECT %s: got %s, want 200-299", host, resp.Status)
	}
	cfg := c.config(c.Addr.Addr(), alpn(false)...)
	cfg.ServerName = cmp.Or(c.ServerName, c.URL.Hostname())
	return s.startTLS(cfg)
}

// HTTPProxyType returns the type of [HTTPProxy].
func HTTPProxyType() Type {
	return Type{Name: "http_proxy", About: "request a page through an HTTP proxy", Transport: "tcp", Port: 3128,
		Bind: func(k *Keys, p Peer) Checker {
			c := &HTTPProxy{Addr: p.Addr, Dial: p.Dial}
			k.Func("url,request", "", "page to request through the proxy", "an absolute http or https URL", func(s string) error {
				u, err := url.Parse(s)
				if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
					return errNotAllowed
				}
				c.URL = u
				return nil
			}).Require("http://www.example/")
			bindRequest(k, &c.Method, &c.Header, &c.Status, &c.Expect)
			c.bind(k)
			return c
		}}
}
