package health

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestTLS(t *testing.T) {
	const day = 24 * time.Hour
	tests := []struct {
		name  string
		valid time.Duration // of the server's certificate
		alpn  string        // that the server takes
		check func(*x509.CertPool) TLS
		want  string
	}{
		{"any certificate will do", -day, "", func(*x509.CertPool) TLS { return TLS{} }, ""},
		{"verified", day, "", func(p *x509.CertPool) TLS {
			return TLS{TLSOptions: TLSOptions{Verify: true, Roots: p, ServerName: "www.example"}}
		}, ""},
		{"verified, other name", day, "", func(p *x509.CertPool) TLS {
			return TLS{TLSOptions: TLSOptions{Verify: true, Roots: p, ServerName: "other.example"}}
		}, "tls: failed to verify certificate: x509: certificate is valid for www.example, not other.example"},
		{"verified, nobody trusts it", day, "", func(p *x509.CertPool) TLS {
			return TLS{TLSOptions: TLSOptions{Verify: true, Roots: x509.NewCertPool(), ServerName: "www.example"}}
		}, "tls: failed to verify certificate: x509: certificate signed by unknown authority"},
		{"valid long enough", 31 * day, "", func(*x509.CertPool) TLS { return TLS{MinValid: 30 * day} }, ""},
		{"expires soon", 10*day + time.Hour, "", func(*x509.CertPool) TLS { return TLS{MinValid: 30 * day} },
			"tls: certificate expires 2000-01-11, in 10 days, want 30"},
		{"expired", -2*day - time.Hour, "", func(*x509.CertPool) TLS { return TLS{MinValid: day} },
			"tls: certificate expired 1999-12-29, 2 days ago"},
		{"protocol taken", day, "h2", func(*x509.CertPool) TLS { return TLS{ALPN: []string{"h2"}} }, ""},
		{"protocol not taken", day, "", func(*x509.CertPool) TLS { return TLS{ALPN: []string{"h2", "imap"}} },
			"tls: server takes none of h2, imap"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cert, pool := certificate(t, tt.valid)
				cfg := &tls.Config{Certificates: []tls.Certificate{cert}}
				if tt.alpn != "" {
					cfg.NextProtos = []string{tt.alpn}
				}
				c := tt.check(pool)
				c.Addr, c.Dial = somewhere, server(keepOpen).behindTLS(cfg).dial
				if got := checkOnce(t, &c); got != tt.want {
					t.Errorf("got  %s\nwant %s", got, tt.want)
				}
			})
		})
	}
}

func TestTLSWithClientCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cert, pool := certificate(t, time.Hour)
		valid := server(keepOpen).behindTLS(&tls.Config{Certificates: []tls.Certificate{cert}, MaxVersion: tls.VersionTLS12,
			ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool})
		c := &TLS{Addr: somewhere, Dial: valid.dial}
		if got, want := checkOnce(t, c), "tls: server refused: handshake failure"; got != want {
			t.Errorf("without one: got %q, want %q", got, want)
		}
		c.Certificates = []tls.Certificate{cert}
		if got := checkOnce(t, c); got != "" {
			t.Errorf("with one: %s", got)
		}
	})
}

func TestTLSAgainstHostileServers(t *testing.T) {
	cert, _ := certificate(t, time.Hour)
	testHostile(t, func(d DialFunc) Checker { return &TLS{Addr: somewhere, Dial: d} },
		server(keepOpen).behindTLS(&tls.Config{Certificates: []tls.Certificate{cert}}), hostile{
			silent:  "tls: no answer in time",
			closes:  "tls: connection closed in the handshake",
			drips:   "tls: no answer in time",
			endless: `tls: got "xxxxx", want a TLS record`,
		})
}

// A certificate's names are text of the server too.
func TestNamesOfACertificateArePrintable(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	red := "\x1b[31mred\x1b]0;title\a"
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: red}, Issuer: pkix.Name{CommonName: red},
		DNSNames: []string{red}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if leaf, err := x509.ParseCertificate(der); err == nil {
		pool.AddCert(leaf)
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	synctest.Test(t, func(t *testing.T) {
		for _, roots := range []*x509.CertPool{pool, x509.NewCertPool()} {
			ctx, cancel := timeout(t, 3*time.Second)
			c := &TLS{Addr: somewhere, Dial: server(keepOpen).behindTLS(cfg).dial, TLSOptions: TLSOptions{Verify: true, Roots: roots, ServerName: "www.example"}}
			err := c.Check(ctx)
			cancel()
			if err == nil || !isPrintable(err.Error()) || !strings.Contains(err.Error(), "red") {
				t.Errorf("got %q", fmt.Sprint(err))
			}
		}
	})
}
