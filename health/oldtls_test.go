package health

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const dheSuite = 0x0033 // TLS_DHE_RSA_WITH_AES_128_CBC_SHA

// dheServer is a server that knows one suite, which crypto/tls does not have: others get
// an alert, and its ServerHello is all that it says.
func dheServer(_ testing.TB, conn net.Conn) net.Conn {
	if slices.Contains(suitesOf(readRecord(conn)), dheSuite) {
		_, _ = conn.Write(helloRecord(tls.VersionTLS12, dheSuite))
	} else {
		_, _ = conn.Write([]byte{recordAlert, 3, 3, 0, 2, 2, 40})
	}
	return conn
}

// readRecord returns what a TLS record carries.
func readRecord(conn net.Conn) []byte {
	head := make([]byte, 5)
	_, _ = io.ReadFull(conn, head)
	b := make([]byte, binary.BigEndian.Uint16(head[3:]))
	_, _ = io.ReadFull(conn, b)
	return b
}

// suitesOf returns the cipher suites in a ClientHello.
func suitesOf(hello []byte) (suites []uint16) {
	if len(hello) < 4+2+32+1 {
		return nil
	}
	session := hello[4+2+32:]
	list := session[1+session[0]:]
	for b := list[2 : 2+binary.BigEndian.Uint16(list)]; len(b) > 0; b = b[2:] {
		suites = append(suites, binary.BigEndian.Uint16(b))
	}
	return suites
}

// helloRecord is a record with a ServerHello.
func helloRecord(version, suite uint16) []byte {
	body := slices.Concat(numbers(version), make([]byte, 32), []byte{0}, numbers(suite), []byte{0})
	return slices.Concat([]byte{recordHandshake, 3, 3}, vector16(slices.Concat([]byte{messageServerHello, 0}, vector16(body))))
}

// checkWithRemark is checkOnce of a check that may make a remark.
func checkWithRemark(t *testing.T, c Checker) (reason, remarked string) {
	var r remark
	reason = checkOnce(t, keepingRemark(c, &r))
	return reason, r.get()
}

// keepingRemark is a check that keeps its remarks in r.
func keepingRemark(c Checker, r *remark) Checker {
	return CheckerFunc(func(ctx context.Context) error { return c.Check(context.WithValue(ctx, remarkKey{}, r)) })
}

// Every type over TLS, against a server that crypto/tls has nothing in common with: it is
// up, and the remark says how far that goes, unless the check needs more than a handshake.
func TestOldServersAreUpByTheirServerHello(t *testing.T) {
	needsData := []string{"tls", "http", "https, http2", "http_proxy, CONNECT", "http_proxy, connected", "grpc, TLS", "simpletcp, TLS", "mysql, TLS"}
	tried := map[string]bool{}
	begun := false
	secure := func(t testing.TB, conn net.Conn) net.Conn { begun = true; return dheServer(t, conn) }
	registry := NewRegistry(Builtin()...)
	for name, r := range rowsOver(t, secure) {
		if r.host != nil {
			continue
		}
		synctest.Test(t, func(t *testing.T) {
			begun = false
			serve := server(func(conn net.Conn) {
				if r.begin != nil {
					conn = r.begin(t, conn)
				}
				r.up(t, conn)
				keepOpen(conn)
			})
			_, c, err := registry.New(r.kind, Peer{Addr: somewhere, Dial: serve.dial}, r.params)
			if err != nil {
				t.Fatal(err)
			}
			reason, remarked := checkWithRemark(t, c)
			if !begun {
				return
			}
			tried[r.kind] = true
			const chose = "TLS handshake not finished: server chose TLS 1.2, TLS_DHE_RSA_WITH_AES_128_CBC_SHA (beyond Go's crypto/tls); "
			wantReason, wantRemark := "", chose+"counted as up"
			if slices.Contains(needsData, name) || r.params["login"] != nil {
				wantReason, wantRemark = chose+"the check needs it", ""
			}
			if !strings.HasSuffix(reason, wantReason) || (reason == "") != (wantReason == "") || remarked != wantRemark {
				t.Errorf("%s: got %q, remark %q", name, reason, remarked)
			}
		})
	}
	for _, typ := range registry.Types() {
		if slices.ContainsFunc(typ.Keys(), func(k Key) bool { return k.Name == "verify" }) && !tried[typ.Name] {
			t.Errorf("%s has TLS, and no row with it here", typ.Name)
		}
	}
}

// What fails for another reason than age stays down; and with verify, all does.
func TestHandshakesThatStayDown(t *testing.T) {
	cert, pool := certificate(t, time.Hour)
	alert := func(conn net.Conn) { dheServer(t, conn) }
	after := func(more []byte) server { // a ServerHello, and something else
		return func(conn net.Conn) {
			readRecord(conn)
			_, _ = conn.Write(append(helloRecord(tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256), more...))
		}
	}
	wantsCertificate := server(keepOpen).behindTLS(&tls.Config{Certificates: []tls.Certificate{cert}, MaxVersion: tls.VersionTLS12, ClientAuth: tls.RequireAnyClientCert})
	tests := []struct {
		name  string
		serve server
		o     TLSOptions
		want  string
	}{
		{"verify", alert, TLSOptions{Verify: true, Roots: pool}, "tls: server refused: handshake failure"},
		{"alert behind the ServerHello", after([]byte{recordAlert, 3, 3, 0, 2, 2, 40}), TLSOptions{}, "tls: server refused: handshake failure"},
		{"closed behind the ServerHello", after(nil), TLSOptions{}, "tls: connection closed in the handshake"},
		{"wants a client's certificate", wantsCertificate, TLSOptions{}, "tls: server refused: handshake failure"},
		{"closes always", func(conn net.Conn) { readRecord(conn) }, TLSOptions{}, "tls: connection closed in the handshake"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				reason, remarked := checkWithRemark(t, &HTTP{Addr: somewhere, Dial: tt.serve.dial, TLS: true, TLSOptions: tt.o})
				if reason != tt.want || remarked != "" {
					t.Errorf("got %q, remark %q, want %q", reason, remarked, tt.want)
				}
			})
		})
	}
}

// A server that takes neither TLS 1.3 nor a long ClientHello gets another one, and the
// whole check is made.
func TestServersThatFailOnNewTLS(t *testing.T) {
	cert, _ := certificate(t, time.Hour)
	cfg := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS10, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}}
	intolerant := server(func(conn net.Conn) {
		head := make([]byte, 5)
		if _, err := io.ReadFull(conn, head); err != nil || binary.BigEndian.Uint16(head[3:]) > 512 {
			return
		}
		secure := tls.Server(&prefixed{conn, io.MultiReader(bytes.NewReader(head), conn)}, cfg)
		dialogueOn(t, secure, []string{"> ...", "> ...", "> ...", "> ...", "> ", "< HTTP/1.1 200 OK", "< Content-Length: 2", "< ", "< OK"})
	})
	synctest.Test(t, func(t *testing.T) {
		c := &HTTP{Addr: somewhere, Dial: intolerant.dial, TLS: true, Path: "/x", Expect: regexp.MustCompile("^OK")}
		if reason, remarked := checkWithRemark(t, c); reason != "" || remarked != "" {
			t.Errorf("got %q, remark %q", reason, remarked)
		}
	})
}

// prefixed is a connection with another reader.
type prefixed struct {
	net.Conn
	io.Reader
}

func (p *prefixed) Read(b []byte) (int, error) { return p.Reader.Read(b) }

func TestReadServerHello(t *testing.T) {
	whole := helloRecord(tls.VersionTLS12, dheSuite)
	in := func(record []byte, with func([]byte)) []byte { b := slices.Clone(record); with(b); return b }
	var pieces []byte // each byte in a record of its own
	for _, b := range whole[5:] {
		pieces = append(pieces, recordHandshake, 3, 1, 0, 1, b)
	}
	extended := func(extensions ...byte) []byte {
		body := slices.Concat(numbers(tls.VersionTLS12), make([]byte, 32), []byte{0}, numbers(0x1301), []byte{0}, vector16(extensions))
		return slices.Concat([]byte{recordHandshake, 3, 3}, vector16(slices.Concat([]byte{messageServerHello, 0}, vector16(body))))
	}
	warning := []byte{recordAlert, 3, 3, 0, 2, 1, 112}
	tests := []struct {
		name string
		read []byte
		want string
		err  error
	}{
		{"TLS 1.2", whole, "TLS 1.2, TLS_DHE_RSA_WITH_AES_128_CBC_SHA", nil},
		{"SSL 3.0", helloRecord(versionSSL30, 0x0005), "SSLv3, TLS_RSA_WITH_RC4_128_SHA", nil},
		{"TLS 1.3", extended(0, supportedVersions, 0, 2, 3, 4), "TLS 1.3, TLS_AES_128_GCM_SHA256", nil},
		{"unknown suite", helloRecord(tls.VersionTLS10, 0xabcd), "TLS 1.0, 0xABCD", nil},
		{"in pieces", pieces, "TLS 1.2, TLS_DHE_RSA_WITH_AES_128_CBC_SHA", nil},
		{"behind a warning", slices.Concat(warning, whole), "TLS 1.2, TLS_DHE_RSA_WITH_AES_128_CBC_SHA", nil},
		{"with more behind it", append(slices.Clone(whole), "more"...), "TLS 1.2, TLS_DHE_RSA_WITH_AES_128_CBC_SHA", nil},
		{"cut", whole[:len(whole)-1], "", io.ErrUnexpectedEOF},
		{"nothing", nil, "", io.EOF},
		{"fatal alert", []byte{recordAlert, 3, 0, 0, 2, 2, 40}, "", errAlert},
		{"text", []byte("HTTP/1.1 400 Bad Request\r\n"), "", errNoServerHello},
		{"other message", in(whole, func(b []byte) { b[5] = 11 }), "", errNoServerHello},
		{"too long", in(whole, func(b []byte) { b[6] = 1 }), "", errNoServerHello},
		{"unknown version", in(whole, func(b []byte) { b[9] = 4 }), "", errNoServerHello},
		{"long session", in(whole, func(b []byte) { b[9+34] = 33 }), "", errNoServerHello},
		{"extension longer than all", extended(0, 1, 0, 9), "", errNoServerHello},
		{"half an extension", extended(0), "", errNoServerHello},
		{"empty record", []byte{recordHandshake, 3, 3, 0, 0}, "", errNoServerHello},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, err := readServerHello(bytes.NewReader(tt.read))
			if got := fmt.Sprint(h); tt.want != "" && got != tt.want || !errors.Is(err, tt.err) || (h == nil) == (err == nil) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

// A ServerHello or an error comes of anything, and what is read is bounded.
func FuzzServerHello(f *testing.F) {
	f.Add(helloRecord(tls.VersionTLS12, dheSuite))
	f.Add(slices.Concat([]byte{recordAlert, 3, 3, 0, 2, 1, 112}, helloRecord(tls.VersionTLS10, 5)))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := readServerHello(bytes.NewReader(b))
		if (h == nil) == (err == nil) {
			t.Errorf("got %v, %v", h, err)
		}
		if h != nil && (h.version < versionSSL30 || h.String() == "") {
			t.Errorf("got %+v", h)
		}
	})
}

// What crypto/tls would answer, it takes: the ClientHello for old servers is well formed.
func TestOldHelloIsOneForCryptoTLS(t *testing.T) {
	cert, _ := certificate(t, time.Hour)
	near, far := net.Pipe()
	defer near.Close()
	var got *tls.ClientHelloInfo
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = tls.Server(far, &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) { got = h; return &cert, nil }, NextProtos: []string{"h2"}}).Handshake()
		far.Close()
	}()
	if _, err := near.Write(oldHello(&tls.Config{ServerName: "www.example", NextProtos: []string{"h2", "x"}})); err != nil {
		t.Fatal(err)
	}
	if _, err := readServerHello(near); err != nil {
		t.Error(err)
	}
	near.Close()
	<-done
	if got == nil || got.ServerName != "www.example" || !slices.Equal(got.SupportedProtos, []string{"h2", "x"}) || !slices.Contains(got.CipherSuites, dheSuite) {
		t.Errorf("got %+v", got)
	}
}
