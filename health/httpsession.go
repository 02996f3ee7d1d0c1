package health

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"

	"github.com/golb/golb/health/printable"
)

// roundTripper makes an HTTP request and returns the answer, whose body is not yet read.
type roundTripper func(*http.Request) (*http.Response, error)

// request makes an HTTP request by roundTrip and reads the head of the answer.
func (s *session) request(req *http.Request, roundTrip roundTripper) (*http.Response, error) {
	if req.Header == nil {
		req.Header = http.Header{}
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "golb")
	}
	s.budget.Left = maxRead // for the head
	resp, err := roundTrip(req)
	if err != nil && s.budget.Err != nil {
		err = s.budget.Err
	} else if err != nil && s.limited != nil && s.limited.readError() != nil {
		err = s.limited.readError()
	}
	if err != nil {
		err = httpReason(s.ctx, err)
		if n := maxRead - s.budget.Left; n > 0 && errors.Is(err, errTimeout) {
			err = fmt.Errorf("%w after %d bytes", err, n)
		}
		return nil, fmt.Errorf("%s: %w", title(req), err)
	}
	s.budget.Left = maxRead // for the body
	resp.Status = printable.Line(resp.Status, maxReason/2)
	return resp, nil
}

// http1 makes an HTTP/1.1 request. It is used instead of an http.Transport, which would
// start goroutines and log what an unknown protocol sends.
func (s *session) http1(req *http.Request) (*http.Response, error) {
	if err := req.Write(s.conn); err != nil {
		return nil, err
	}
	return s.response(req)
}

// http1Proxy is http1 where the other end is a proxy.
func (s *session) http1Proxy(req *http.Request) (*http.Response, error) {
	if err := req.WriteProxy(s.conn); err != nil {
		return nil, err
	}
	return s.response(req)
}

func (s *session) response(req *http.Request) (*http.Response, error) {
	for range 6 { // 1xx come before the answer (RFC 9110 section 15.2)
		const version = "HTTP/"
		for n := 1; n <= len(version); n++ { // byte by byte, so that another protocol is noticed at once
			b, err := s.in.Peek(n)
			if err != nil {
				return nil, err
			}
			if !strings.EqualFold(string(b), version[:n]) {
				return nil, fmt.Errorf("got %s, want HTTP/1", quote(s.withBuffered(nil)))
			}
		}
		if err := s.mendHead(); err != nil {
			return nil, err
		}
		resp, err := http.ReadResponse(s.in, req)
		if err != nil || resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			return resp, err
		}
	}
	return nil, errors.New("got more than 5 answers with 1xx, want one without")
}

// http2 makes an HTTP/2 request. Nothing may have been sent on the connection before.
func (s *session) http2(req *http.Request) (*http.Response, error) {
	conn := s.conn
	if secure, ok := conn.(*tls.Conn); !ok {
		conn = s.limit(conn)
	} else if got := secure.ConnectionState().NegotiatedProtocol; got != "h2" {
		return nil, fmt.Errorf("server takes protocol %q, want %q", got, "h2")
	}
	connected := func(context.Context, string, string) (net.Conn, error) { return conn, nil }
	transport := &http.Transport{
		DialContext:            connected,
		DialTLSContext:         connected,
		DisableKeepAlives:      true,
		DisableCompression:     true, // the body is matched as it comes
		MaxResponseHeaderBytes: 64 << 10,
		Protocols:              new(http.Protocols),
		// Bounds what a server can send on a stream that nobody reads.
		HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: maxRead, MaxReceiveBufferPerConnection: maxRead, MaxReadFrameSize: 16 << 10},
	}
	transport.Protocols.SetHTTP2(true)
	transport.Protocols.SetUnencryptedHTTP2(true)
	return transport.RoundTrip(req.WithContext(s.ctx))
}

// keep reads the rest of an answer, so that the connection can have another request.
func (s *session) keep(req *http.Request, resp *http.Response) error {
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return fmt.Errorf("%s: %w", title(req), httpReason(s.ctx, err))
	}
	if resp.Close {
		return fmt.Errorf("%s: server closes the connection, want it open for the next request", title(req))
	}
	return nil
}

// title names a request in a reason.
func title(req *http.Request) string {
	if req.Method == http.MethodConnect {
		return "CONNECT " + req.Host
	}
	return req.Method + " " + req.URL.RequestURI()
}

// checkResponse is the reason where an answer has another status or body than wanted.
func checkResponse(ctx context.Context, req *http.Request, resp *http.Response, want StatusSet, expect *regexp.Regexp) error {
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
			return fmt.Errorf("%s: %w", title(req), httpReason(ctx, err))
		}
		unpacked.Multistream(false) // else it waits for more after the end
		body = unpacked
	}
	return matchAnswer(ctx, title(req), body, expect, maxRead)
}

// httpReason is netReason for the errors of net/http.
func httpReason(ctx context.Context, err error) error {
	reason := libraryReason(ctx, err, "net/http: ", "http: ", "http2: ", "tls: ")
	text := reason.Error()
	switch {
	case ctx.Err() != nil:
		return netReason(ctx, ctx.Err())
	case reason == errTimeout: // the connection's deadline may come before the context's
		return reason
	case isClosed(err), text == "server closed idle connection":
		return errors.New("connection closed")
	}
	if strings.Contains(text, "frame too large") || strings.HasPrefix(text, "connection error: ") || text == "client conn could not be established" || text == "client conn is closed" {
		return errors.New("got something that is not HTTP/2")
	}
	return reason
}
