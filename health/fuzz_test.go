package health

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"testing"
	"time"
)

// said is a connection to a server that has said everything already, and takes
// whatever is sent to it.
type said struct {
	*bytes.Reader
	near, far *net.TCPAddr
}

func (said) Write(p []byte) (int, error)      { return len(p), nil }
func (said) Close() error                     { return nil }
func (said) SetDeadline(time.Time) error      { return nil }
func (said) SetReadDeadline(time.Time) error  { return nil }
func (said) SetWriteDeadline(time.Time) error { return nil }
func (s said) LocalAddr() net.Addr            { return s.near }
func (s said) RemoteAddr() net.Addr           { return s.far }
func (s said) WriteTo(io.Writer) (int64, error) {
	panic("a check copies without a bound")
}

// Whatever a server says, a check returns a verdict and does not panic, and its
// reason is one line.
func FuzzAnswers(f *testing.F) {
	for _, seed := range []string{
		"220 mx\r\n250 mx\r\n", "+OK\r\n+OK\r\n", "* OK\r\na1 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nOK\r\n0\r\n\r\n",
		"SIP/2.0 200 OK\r\n\r\n", "+PONG\r\n", mysqlHello(mysqlSHA2) + mysqlPacket(2, "\x01\x04") + mysqlPacket(4, "\x01key"),
		mysqlHello(mysqlNative) + mysqlPacket(2, "\x00\x00\x00") + mysqlPacket(1, "\x01") + mysqlPacket(2, "def") + mysqlPacket(3, "\xfe\x00\x00") + mysqlPacket(4, "1"),
		pgAuth(5, "salt") + pgAuth(0, "") + pgMessage('Z', "I") + pgMessage('D', ""), pgAuth(10, "SCRAM-SHA-256\x00\x00") + pgAuth(11, "r=x,s=AAAA,i=1"),
		string(berTLV(0x30, berInt(1), ldapAnswer(ldapBindResponse, 0, ""))) + string(berTLV(0x30, berInt(2), berTLV(ldapSearchEntry, berString("dc=x")))),
		"\x00\x00\x00\x04\x00\x00\x00\x00\x00", "\x16\x03\x01\x00\x05hello", "220 ok\r\n230 in\r\n200 ok\r\n229 ok (|||1234|)\r\n150 ok\r\n", "\x00\x1d\x00\x01\x81\x80",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		dial := func(context.Context, string, string) (net.Conn, error) {
			return said{bytes.NewReader(answer), &net.TCPAddr{IP: net.IPv4(192, 0, 2, 9), Port: 9}, &net.TCPAddr{}}, nil
		}
		addr, ok := netip.MustParseAddrPort("192.0.2.1:99"), regexp.MustCompile("OK")
		page := &url.URL{Scheme: "http", Host: "www.example", Path: "/"}
		for _, c := range []Checker{
			&SimpleTCP{Addr: addr, Dial: dial, Expect: ok}, &TLS{Addr: addr, Dial: dial},
			&SMTP{Addr: addr, Dial: dial, Login: "u"}, &POP3{Addr: addr, Dial: dial, Login: "u"}, &IMAP{Addr: addr, Dial: dial, Login: "u"},
			&NNTP{Addr: addr, Dial: dial}, &FTP{Addr: addr, Dial: dial, Path: "f", Expect: ok},
			&HTTP{Addr: addr, Dial: dial, Expect: ok}, &HTTP{Addr: addr, Dial: dial, HTTP2: true}, &HTTPProxy{Addr: addr, Dial: dial, URL: page}, &GRPC{Addr: addr, Dial: dial},
			&DNS{Addr: addr, Dial: dial, TCP: true, Expect: ok}, &DNS{Addr: addr, Dial: dial}, &UDP{Addr: addr, Dial: dial, Expect: ok},
			&RADIUS{Addr: addr, Dial: dial}, &SIP{Addr: addr, Dial: dial}, &Redis{Addr: addr, Dial: dial, Password: "p"},
			&PgSQL{Addr: addr, Dial: dial, Login: "u", Query: "q"}, &MySQL{Addr: addr, Dial: dial, Login: "u", Password: "p", Query: "q"},
			&LDAP{Addr: addr, Dial: dial, Base: "dc=x", Expect: ok},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			reason := reasonOf(c.Check(ctx))
			if ctx.Err() != nil {
				t.Errorf("%T does not end: %s", c, reason)
			}
			cancel()
			if len(reason) > maxReason+3 || bytes.ContainsAny([]byte(reason), "\r\n") {
				t.Errorf("%T: reason %q", c, reason)
			}
		}
	})
}
