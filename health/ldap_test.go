package health

import (
	"crypto/tls"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// ldapServer plays a directory: it reads a request and sends the next element, each
// an answer's operations, in messages numbered like the request.
func ldapServer(sends ...[][]byte) server {
	return func(conn net.Conn) {
		for _, ops := range sends {
			head := make([]byte, 2)
			if _, err := io.ReadFull(conn, head); err != nil {
				return
			}
			body := make([]byte, head[1])
			if _, err := io.ReadFull(conn, body); err != nil {
				return
			}
			for _, op := range ops {
				if _, err := conn.Write(berTLV(0x30, berInt(int(body[2])), op)); err != nil {
					return
				}
			}
		}
		keepOpen(conn)
	}
}

func ldapAnswer(tag, code byte, message string) []byte {
	return berTLV(tag, berTLV(0x0a, []byte{code}), berString(""), berString(message))
}

func TestLDAP(t *testing.T) {
	bound := [][]byte{ldapAnswer(ldapBindResponse, 0, "")}
	found := berTLV(ldapSearchEntry, berString("dc=example"), berTLV(0x30))
	done := ldapAnswer(ldapSearchDone, 0, "")
	reference := berTLV(ldapSearchRef, berString("ldap://other"))
	base := LDAP{Base: "dc=example"}
	tests := []struct {
		name  string
		check LDAP
		sends [][][]byte
		want  string
	}{
		{"bind", LDAP{}, [][][]byte{bound}, ""},
		{"wrong password", LDAP{Login: "cn=a", Password: "b"}, [][][]byte{{ldapAnswer(ldapBindResponse, 49, "no")}}, `bind: got result 49 invalidCredentials "no", want 0`},
		{"another answer", LDAP{}, [][][]byte{{done}}, `bind: got "\n\x01\x00\x04\x00\x04\x00", want a result`},
		{"entry", base, [][][]byte{bound, {found, done}}, ""},
		{"root DSE", LDAP{Root: true}, [][][]byte{bound, {berTLV(ldapSearchEntry, berString(""), berTLV(0x30)), done}}, ""},
		{"entry, and a reference", base, [][][]byte{bound, {reference, found, done}}, ""},
		{"match", LDAP{Base: "dc=example", Expect: regexp.MustCompile("^dc=")}, [][][]byte{bound, {found, done}}, ""},
		{"no match", LDAP{Base: "dc=example", Expect: regexp.MustCompile("^cn=")}, [][][]byte{bound, {found, done}}, `search: got "dc=example", want a match of "^cn="`},
		{"no entry", base, [][][]byte{bound, {done}}, "search: got 0 entries, want 1"},
		{"two entries", base, [][][]byte{bound, {found, found, done}}, "search: got 2 entries, want 1"},
		{"no such object", base, [][][]byte{bound, {ldapAnswer(ldapSearchDone, 32, "")}}, `search: got result 32 noSuchObject "", want 0`},
		{"silence after the bind", base, [][][]byte{bound}, "search: no answer in time"},
		{"endless entries", base, [][][]byte{bound, repeat(found, 200)}, "search: more than 100 messages"},
		{"StartTLS refused", LDAP{Security: StartTLS}, [][][]byte{{ldapAnswer(ldapExtendedAnswer, 2, "what")}}, `StartTLS: got result 2 "what", want 0`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tt.check.Addr, tt.check.Dial = somewhere, ldapServer(tt.sends...).dial
				if got := checkOnce(t, &tt.check); got != tt.want {
					t.Errorf("got  %s\nwant %s", got, tt.want)
				}
			})
		})
	}
	testHostile(t, func(d DialFunc) Checker { return &LDAP{Addr: somewhere, Dial: d} }, ldapServer(bound), hostile{
		silent:  "bind: no answer in time",
		closes:  "bind: connection closed",
		drips:   "bind: no answer in time",
		endless: `bind: got "` + strings.Repeat("x", 80) + `"..., want an LDAP message`,
		lines:   `bind: got "0\x84\x7f\xff\xff\xff` + strings.Repeat("x", 74) + `"..., want an LDAP message`,
		more:    "0\x84\x7f\xff\xff\xff" + strings.Repeat("x", 1000),
	})
}

func repeat(b []byte, n int) (all [][]byte) {
	for range n {
		all = append(all, b)
	}
	return all
}

func TestLDAPOverTLS(t *testing.T) {
	bound := [][]byte{ldapAnswer(ldapBindResponse, 0, "")}
	synctest.Test(t, func(t *testing.T) {
		cert, _ := certificate(t, time.Hour)
		cfg := &tls.Config{Certificates: []tls.Certificate{cert}}
		implicit := ldapServer(bound).behindTLS(cfg)
		if got := checkOnce(t, &LDAP{Addr: somewhere, Security: Implicit, Dial: implicit.dial}); got != "" {
			t.Error(got)
		}
		start := server(func(conn net.Conn) {
			head := make([]byte, 2)
			_, _ = io.ReadFull(conn, head)
			_, _ = io.CopyN(io.Discard, conn, int64(head[1]))
			_, _ = conn.Write(berTLV(0x30, berInt(1), ldapAnswer(ldapExtendedAnswer, 0, "")))
			ldapServer(bound).behindTLS(cfg)(conn)
		})
		if got := checkOnce(t, &LDAP{Addr: somewhere, Security: StartTLS, Dial: start.dial}); got != "" {
			t.Error(got)
		}
	})
}

func FuzzLDAPMessages(f *testing.F) {
	f.Add(berTLV(0x30, berInt(1), ldapAnswer(ldapBindResponse, 0, "")))
	f.Add([]byte("0\x84\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for tail := b; ; {
			_, content, next, ok := berNext(tail)
			if !ok {
				return
			}
			if len(content)+len(next) >= len(tail) {
				t.Fatal("no progress")
			}
			tail = next
			_ = ldapResult("fuzz", ldapBindResponse, content, ldapBindResponse)
		}
	})
}
