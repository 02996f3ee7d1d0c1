package health

import (
	"compress/gzip"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// newWebServer is a server of one version of HTTP.
func newWebServer(handler http.HandlerFunc, http2 bool, cfg *tls.Config) *http.Server {
	s := &http.Server{Handler: handler, TLSConfig: cfg, Protocols: new(http.Protocols), ErrorLog: log.New(io.Discard, "", 0)}
	s.Protocols.SetHTTP1(!http2)
	s.Protocols.SetHTTP2(http2)
	s.Protocols.SetUnencryptedHTTP2(http2)
	return s
}

// web is such a server on pipes, until the test ends.
func web(t *testing.T, handler http.HandlerFunc, http2 bool, cfg *tls.Config) DialFunc {
	l := newPipeListener()
	s := newWebServer(handler, http2, cfg)
	go func() {
		if cfg != nil {
			_ = s.ServeTLS(l, "", "")
		} else {
			_ = s.Serve(l)
		}
	}()
	t.Cleanup(func() { _ = s.Close() })
	return server(l.offer).dial
}

// pipeListener hands out connections that it is offered.
type pipeListener struct {
	conns     chan net.Conn
	closed    chan struct{}
	closeOnce sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

// offer hands out a connection and waits until it is closed.
func (l *pipeListener) offer(conn net.Conn) {
	n := &notify{Conn: conn, done: make(chan struct{})}
	select {
	case l.conns <- n:
		<-n.done
	case <-l.closed:
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.closeOnce.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// notify closes done when a connection is closed.
type notify struct {
	net.Conn
	done      chan struct{}
	closeOnce sync.Once
}

func (n *notify) Close() error {
	n.closeOnce.Do(func() { close(n.done) })
	return nil
}

// packed is s as gzip.
func packed(t *testing.T, s string) string {
	var b strings.Builder
	z := gzip.NewWriter(&b)
	if _, err := io.WriteString(z, s); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestHTTP(t *testing.T) {
	ok := regexp.MustCompile("OK")
	testAnswers(t, []answers{
		{"up", &HTTP{}, []string{"> GET / HTTP/1.1", "> Host: 192.0.2.1:99", "> User-Agent: golb", "> Connection: close", "> ", "< HTTP/1.1 200 OK", "< Content-Length: 0", "< "}, ""},
		{"request with all that can be set", &HTTP{Method: "HEAD", Path: "/check.txt?a=b", Host: "www.example", Header: http.Header{"X-Probe": {"1"}}},
			[]string{"> HEAD /check.txt?a=b HTTP/1.1", "> Host: www.example", "> User-Agent: golb", "> Connection: close", "> X-Probe: 1", "> ", "< HTTP/1.1 204 No Content", "< "}, ""},
		{"status", &HTTP{Path: "/x"}, []string{"> ...", "> ...", "> ...", "> ...", "> ", "< HTTP/1.1 503 Service Unavailable", "< "}, "GET /x: got 503 Service Unavailable, want 200-299"},
		{"status that is expected", &HTTP{Status: StatusSet{{401, 401}, {500, 599}}}, []string{"> ...", "> ...", "> ...", "> ...", "> ", "< HTTP/1.1 503 Service Unavailable", "< "}, ""},
		{"status that is not", &HTTP{Status: StatusSet{{401, 401}, {500, 599}}}, []string{"> ...", "> ...", "> ...", "> ...", "> ", "< HTTP/1.1 200 OK", "< "}, "GET /: got 200 OK, want 401,500-599"},
		{"redirects are answers", &HTTP{}, []string{"> ...", "> ...", "> ...", "> ...", "> ", "< HTTP/1.1 302 Found", "< Location: http://198.51.100.1/", "< "}, `GET /: got 302 Found to "http://198.51.100.1/", want 200-299`},
		{"body", &HTTP{Expect: ok}, []string{"> ...", "> ...", "> ...", "> ...", "> ", "< HTTP/1.0 200 OK", "< Content-Length: 3", "< ", `< OK!\`}, ""},
		{"body, by chunks", &HTTP{Expect: ok}, []string{"> ...", "> ...", "> ...", "> ...", "> ", "< HTTP/1.1 200 OK", "< Transfer-Encoding: chunked", "< ", "< 1", "< O", "< 1", "< K", "< 0", "< "}, ""},
		{"other body", &HTTP{Expect: ok}, []string{"> ...", "> ...", "> ...", "> ...", "> ", "< HTTP/1.1 200 OK", "< Content-Length: 5", "< ", "< sorry"}, `GET /: got "sorry", want a match of "OK"`},
		{"body that ends with a match and goes on", &HTTP{Expect: regexp.MustCompile("^OK\r\n")}, []string{"> ...", "> ...", "> ...", "> ...", "> ", "< HTTP/1.1 200 OK", "< ", "< OK", "> ..."}, ""},
		{"body that may go on", &HTTP{Expect: regexp.MustCompile("(?m)^OK$")}, []string{"> ...", "> ...", "> ...", "> ...", "> ", "< HTTP/1.1 200 OK", "< ", `< OK\`, "< AY", "> ..."},
			`GET /: no answer in time after 6 bytes without a match of "(?m)^OK$", which begin "OKAY\r\n"`},
		{"packed body", &HTTP{Expect: ok}, []string{"> ...", "> ...", "> ...", "> ...", "> ", "< HTTP/1.1 200 OK", "< Content-Encoding: gzip", "< ", "< " + packed(t, "all is OK") + `\`}, ""},
		{"other packed body", &HTTP{Expect: ok}, []string{"> ...", "> ...", "> ...", "> ...", "> ", "< HTTP/1.1 200 OK", "< Content-Encoding: gzip", "< ", "< " + packed(t, "sorry") + `\`}, `GET /: got "sorry", want a match of "OK"`},
		{"body that is not packed", &HTTP{Expect: ok}, []string{"> ...", "> ...", "> ...", "> ...", "> ", "< HTTP/1.1 200 OK", "< Content-Encoding: gzip", "< ", "< all is OK"}, "GET /: gzip: invalid header"},
		{"silence in the body", &HTTP{Expect: ok}, []string{"> ...", "> ...", "> ...", "> ...", "> ", "< HTTP/1.1 200 OK", "< Content-Length: 50", "< ", "< O"}, `GET /: no answer in time after 3 bytes without a match of "OK", which begin "O\r\n"`},
		{"line that is no header", &HTTP{Expect: ok}, []string{"> ...", "> ...", "> ...", "> ...", "> ", "< HTTP/1.1 200 OK", "< no header", "<  at all", "< Content-Length: 2", "< ", `< OK\`}, ""},
		{"HTTP/2 in text", &HTTP{Expect: ok}, []string{"> ...", "> ...", "> ...", "> ...", "> ", "< HTTP/2 200", "< Content-Length: 2", "< ", `< OK\`}, ""},
		{"version in lower case", &HTTP{Expect: ok}, []string{"> ...", "> ...", "> ...", "> ...", "> ", "< http/1.1 200 ok", "< content-length: 2", "< ", `< OK\`}, ""},
		{"negative length", &HTTP{Expect: ok}, []string{"> ...", "> ...", "> ...", "> ...", "> ", "< HTTP/1.1 200 OK", "< Content-Length: -1", "< ", `< OK\`}, ""},
		{"folded header", &HTTP{Expect: ok}, []string{"> ...", "> ...", "> ...", "> ...", "> ", "< HTTP/1.1 200 OK", "< X-A: b", "<  c", "< Content-Length: 2", "< ", `< OK\`}, ""},
		{"status that is none", &HTTP{}, []string{"> ...", "> ...", "> ...", "> ...", "> ", "< HTTP/1.1 OK", "< "}, `GET /: malformed HTTP status code "OK"`},
		{"another protocol", &HTTP{}, []string{"< 220 mx"}, `GET /: got "220 mx\r\n", want HTTP/1`},
		{"bad path", &HTTP{Path: "x y"}, nil, `path "x y": not a request target`},
	}, func(c Checker, d DialFunc) { c.(*HTTP).Dial, c.(*HTTP).Addr = d, somewhere })
}

func TestHTTPAgainstHostileServers(t *testing.T) {
	script := []string{"> ...", "> ...", "> ...", "> ...", "> ", "< HTTP/1.1 200 OK", "< Content-Length: 0", "< "}
	testHostile(t, func(d DialFunc) Checker { return &HTTP{Addr: somewhere, Dial: d} }, dialogue(t, script...), hostile{
		silent:  "GET /: no answer in time",
		closes:  "GET /: connection closed",
		drips:   "GET /: no answer in time after 2 bytes",
		endless: `GET /: got "` + strings.Repeat("x", 80) + `"..., want HTTP/1`,
		lines:   `GET /: got "X-Header: more\r\n", want HTTP/1`,
		more:    "X-Header: more\r\n",
	})
	t.Run("headers", func(t *testing.T) {
		testHostile(t, func(d DialFunc) Checker { return &HTTP{Addr: somewhere, Dial: d} }, dialogue(t, script...), hostile{
			lines: "GET /: more than 256 KiB",
			more:  "HTTP/1.1 200 OK\r\n" + strings.Repeat("X-Header: more\r\n", 50000),
		})
	})
	t.Run("body", func(t *testing.T) {
		testHostile(t, func(d DialFunc) Checker {
			return &HTTP{Addr: somewhere, Dial: d, Expect: regexp.MustCompile("OK")}
		}, dialogue(t, append(script[:5:5], "< HTTP/1.1 200 OK", "< ", "< OK")...), hostile{
			lines: `GET /: no match of "OK" in the first 256 KiB, which begin "` + strings.Repeat("x", 80) + `"...`,
			more:  "HTTP/1.1 200 fine\r\n\r\n" + strings.Repeat("x", 300<<10),
		})
	})
}

func TestHTTPVersionsAndTLS(t *testing.T) {
	verified := TLSOptions{Verify: true, ServerName: "www.example"}
	hello := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, r.Proto+" "+r.Host+" OK")
	}
	endless := func(w http.ResponseWriter, r *http.Request) {
		for {
			if _, err := io.WriteString(w, strings.Repeat("x", 1000)); err != nil {
				return
			}
		}
	}
	silent := func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	tests := []struct {
		name    string
		handler http.HandlerFunc
		http2   bool // of the server
		tls     bool
		check   HTTP
		want    string
	}{
		{"HTTPS", hello, false, true, HTTP{TLS: true, TLSOptions: verified, Expect: regexp.MustCompile("^HTTP/1.1 192.0.2.1:99 OK")}, ""},
		{"HTTPS, name of the Host header", hello, false, true, HTTP{TLS: true, Host: "www.example:443", TLSOptions: TLSOptions{Verify: true}, Expect: regexp.MustCompile("^HTTP/1.1 www.example:443 OK")}, ""},
		{"HTTPS, address as Host header", hello, false, true, HTTP{TLS: true, Host: "[2001:db8::1]:443", TLSOptions: TLSOptions{Verify: true}},
			"tls: failed to verify certificate: x509: cannot validate certificate for 192.0.2.1 because it doesn't contain any IP SANs"},
		{"HTTPS that does not verify", hello, false, true, HTTP{TLS: true, TLSOptions: TLSOptions{Verify: true}},
			"tls: failed to verify certificate: x509: cannot validate certificate for 192.0.2.1 because it doesn't contain any IP SANs"},
		{"HTTPS to an HTTP server", hello, false, false, HTTP{TLS: true}, `tls: got "HTTP/", want a TLS record`},
		{"HTTP/2 over TLS", hello, true, true, HTTP{TLS: true, HTTP2: true, TLSOptions: verified, Expect: regexp.MustCompile("^HTTP/2.0 .* OK")}, ""},
		{"HTTP/2, which the server does not have", hello, false, true, HTTP{TLS: true, HTTP2: true}, "tls: server takes none of h2"},
		{"HTTP/2 with prior knowledge", hello, true, false, HTTP{HTTP2: true, Expect: regexp.MustCompile("^HTTP/2.0 .* OK")}, ""},
		{"HTTP/2, endless body that nobody reads", endless, true, false, HTTP{HTTP2: true}, ""},
		{"HTTP/2, endless body", endless, true, false, HTTP{HTTP2: true, Expect: regexp.MustCompile("OK")},
			`GET /: no match of "OK" in the first 256 KiB, which begin "` + strings.Repeat("x", 80) + `"...`},
		{"HTTP/2, silent", silent, true, false, HTTP{HTTP2: true}, "GET /: no answer in time"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var cfg *tls.Config
				if tt.tls {
					cert, pool := certificate(t, time.Hour)
					cfg = &tls.Config{Certificates: []tls.Certificate{cert}}
					tt.check.Roots = pool
				}
				tt.check.Addr, tt.check.Dial = somewhere, web(t, tt.handler, tt.http2, cfg)
				if got := checkOnce(t, &tt.check); got != tt.want {
					t.Errorf("got  %s\nwant %s", got, tt.want)
				}
			})
		})
	}
}

func TestHTTPProxy(t *testing.T) {
	u, _ := url.Parse("http://www.example/check.txt")
	secure, _ := url.Parse("https://www.example/")
	testAnswers(t, []answers{
		{"up", &HTTPProxy{URL: u}, []string{"> GET http://www.example/check.txt HTTP/1.1", "> Host: www.example", "> ...", "> ...", "> ", "< HTTP/1.1 200 OK", "< "}, ""},
		{"status", &HTTPProxy{URL: u}, []string{"> ...", "> ...", "> ...", "> ...", "> ", "< HTTP/1.1 504 Gateway Timeout", "< "}, "GET /check.txt: got 504 Gateway Timeout, want 200-299"},
		{"login", &HTTPProxy{URL: u, Header: http.Header{"Proxy-Authorization": {"Basic Ym9i"}}}, []string{"> ...", "> ...", "> ...", "> ...", "> Proxy-Authorization: Basic Ym9i", "> ", "< HTTP/1.1 200 OK", "< "}, ""},
		{"login for CONNECT", &HTTPProxy{URL: secure, Header: http.Header{"Proxy-Authorization": {"Basic Ym9i"}, "X-Probe": {"1"}}}, []string{"> ...", "> ...", "> ...", "> ...", "> Proxy-Authorization: Basic Ym9i", "> ", "< HTTP/1.1 403 Forbidden", "< "},
			"CONNECT www.example:443: got 403 Forbidden, want 200-299"},
		{"CONNECT refused", &HTTPProxy{URL: secure}, []string{"> CONNECT www.example:443 HTTP/1.1", "> ...", "> ...", "> ...", "> ", "< HTTP/1.1 403 Forbidden", "< "}, "CONNECT www.example:443: got 403 Forbidden, want 200-299"},
	}, func(c Checker, d DialFunc) { c.(*HTTPProxy).Dial, c.(*HTTPProxy).Addr = d, somewhere })
	testHostile(t, func(d DialFunc) Checker { return &HTTPProxy{URL: u, Addr: somewhere, Dial: d} },
		dialogue(t, "> ...", "> ...", "> ...", "> ...", "> ", "< HTTP/1.1 200 OK", "< "), hostile{
			silent:  "GET /check.txt: no answer in time",
			closes:  "GET /check.txt: connection closed",
			drips:   "GET /check.txt: no answer in time after 2 bytes",
			endless: `GET /check.txt: got "` + strings.Repeat("x", 80) + `"..., want HTTP/1`,
		})
}

func TestStatusSets(t *testing.T) {
	for text, want := range map[string]string{
		"200": "200", "200-299, 301": "200-299,301", "100-599": "100-599",
		"": "!", "99": "!", "600": "!", "300-200": "!", "2xx": "!", "200,": "!", "200-": "!",
	} {
		set, err := ParseStatusSet(text)
		got := set.String()
		if err != nil {
			got = "!"
		}
		if got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

func TestGRPC(t *testing.T) {
	// answer is a server whose health service answers with these bytes and trailers.
	answer := func(body string, trailers ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			got, _ := io.ReadAll(r.Body)
			if want := "\x00\x00\x00\x00\x05\x0a\x03web"; r.URL.Path != "/grpc.health.v1.Health/Check" || string(got) != want {
				t.Errorf("request for %s with %q, want %q", r.URL.Path, got, want)
			}
			w.Header().Set("Content-Type", "application/grpc")
			_, _ = io.WriteString(w, body)
			for i := 0; i < len(trailers); i += 2 {
				w.Header().Set(http.TrailerPrefix+trailers[i], trailers[i+1])
			}
		}
	}
	message := func(b string) string { return "\x00\x00\x00\x00" + string(rune(len(b))) + b }
	tests := []struct {
		name    string
		handler http.HandlerFunc
		want    string
	}{
		{"serving", answer(message("\x08\x01"), "Grpc-Status", "0"), ""},
		{"not serving", answer(message("\x08\x02"), "Grpc-Status", "0"), "grpc: got NOT_SERVING, want SERVING"},
		{"no status is unknown", answer(message(""), "Grpc-Status", "0"), "grpc: got UNKNOWN, want SERVING"},
		{"status nobody knows", answer(message("\x08\x63"), "Grpc-Status", "0"), "grpc: got status 99, want SERVING"},
		{"unknown service", answer("", "Grpc-Status", "5", "Grpc-Message", "unknown service"), `grpc: got status "5" NOT_FOUND "unknown service", want 0`},
		{"nothing at all", answer("", "Grpc-Status", "0"), "grpc: answer without a message"},
		{"no protobuf", answer(message("\xff\xff\xff"), "Grpc-Status", "0"), `grpc: got "\xff\xff\xff", want a HealthCheckResponse`},
		{"too long", answer("\x00\x7f\xff\xff\xff"), "grpc: got a message of 2147483647 bytes, compressed 0, want at most 1024, not compressed"},
		{"cut short", answer("\x00\x00\x00\x00\x09ab"), "grpc: answer: connection closed"},
		{"no gRPC", func(w http.ResponseWriter, r *http.Request) { http.Error(w, "who", 404) }, "grpc: got HTTP 404 Not Found, want 200"},
		{"silent", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "POST /grpc.health.v1.Health/Check: no answer in time"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &GRPC{Addr: somewhere, Service: "web", Dial: web(t, tt.handler, true, nil)}
				if got := checkOnce(t, c); got != tt.want {
					t.Errorf("got  %s\nwant %s", got, tt.want)
				}
			})
		})
	}
	testHostile(t, func(d DialFunc) Checker { return &GRPC{Addr: somewhere, Dial: d, Service: "web"} },
		func(conn net.Conn) { serveOne(conn, answer(message("\x08\x01"), "Grpc-Status", "0")) }, hostile{
			silent:  "POST /grpc.health.v1.Health/Check: no answer in time",
			closes:  "POST /grpc.health.v1.Health/Check: connection closed",
			drips:   "POST /grpc.health.v1.Health/Check: no answer in time",
			endless: "POST /grpc.health.v1.Health/Check: got something that is not HTTP/2",
		})
}

// serveOne serves HTTP/2 on one connection until the client closes it.
func serveOne(conn net.Conn, handler http.HandlerFunc) {
	l := newPipeListener()
	s := newWebServer(handler, true, nil)
	go func() { _ = s.Serve(l) }()
	defer s.Close()
	l.offer(conn)
}
