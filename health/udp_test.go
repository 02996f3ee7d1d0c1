package health

import (
	"context"
	"crypto/hmac"
	"crypto/md5"
	"encoding/binary"
	"io"
	"net"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"golang.org/x/net/dns/dnsmessage"
)

// datagrams is a dialer of a datagramServer.
func datagrams(answer func(in []byte) []byte) DialFunc { return datagramServer(answer).dial }

// datagramServer answers each datagram; nil is no answer.
func datagramServer(answer func(in []byte) []byte) server {
	return func(conn net.Conn) {
		in := make([]byte, 4096)
		for {
			n, err := conn.Read(in)
			if err != nil {
				return
			}
			if out := answer(in[:n]); out != nil {
				_, _ = conn.Write(out)
			}
		}
	}
}

// noPort is a host without a server: reads fail as they do after an ICMP port
// unreachable.
func noPort(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	go func() { _, _ = io.Copy(io.Discard, far) }()
	return refusing{near}, nil
}

type refusing struct{ net.Conn }

func (refusing) Read([]byte) (int, error) {
	return 0, &net.OpError{Op: "read", Net: "udp", Err: syscall.ECONNREFUSED}
}

// flood sends what again and again, with or without a request.
func flood(what string) DialFunc {
	return server(func(conn net.Conn) {
		go keepOpen(conn)
		for {
			if _, err := io.WriteString(conn, what); err != nil {
				return
			}
		}
	}).dial
}

// packetCase is a server and the reason that a check of it gives; "" is up.
type packetCase struct {
	name  string
	check Checker
	dial  DialFunc
	want  string
}

func testPackets(t *testing.T, tests []packetCase, set func(Checker, DialFunc)) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				set(tt.check, tt.dial)
				if got := checkOnce(t, tt.check); got != tt.want {
					t.Errorf("got  %s\nwant %s", got, tt.want)
				}
			})
		})
	}
}

func noAnswer([]byte) []byte { return nil }

func TestUDP(t *testing.T) {
	echo := func(in []byte) []byte { return in }
	ok := regexp.MustCompile("OK")
	testPackets(t, []packetCase{
		{"silence is up", &UDP{}, datagrams(noAnswer), ""},
		{"any answer is up", &UDP{}, datagrams(echo), ""},
		{"nobody listens", &UDP{}, noPort, "answer: ICMP port unreachable: nobody listens there"},
		{"answer wanted", &UDP{Send: "ping", Reply: true}, datagrams(echo), ""},
		{"answer wanted, silence", &UDP{Reply: true}, datagrams(noAnswer), "answer: no answer in time"},
		{"answer wanted, nobody listens", &UDP{Reply: true}, noPort, "answer: ICMP port unreachable: nobody listens there"},
		{"match", &UDP{Send: "OK?", Expect: ok}, datagrams(echo), ""},
		{"no match", &UDP{Send: "KO", Expect: ok}, datagrams(echo), `answer: got "KO", want a match of "OK"`},
		{"endless answers", &UDP{Expect: ok}, flood("KO"), `answer: got "KO", want a match of "OK"`},
	}, func(c Checker, d DialFunc) { c.(*UDP).Dial, c.(*UDP).Addr = d, somewhere })
}

func TestUDPOnLoopback(t *testing.T) {
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	_ = conn.Close()
	c := &UDP{Addr: addr, Reply: true}
	if got, want := reasonOf(c.Check(t.Context())), "answer: ICMP port unreachable: nobody listens there"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// nameServer answers every question with a code and records; a change may spoil it.
func nameServer(t testing.TB, rcode dnsmessage.RCode, change func(*dnsmessage.Message), bodies ...dnsmessage.ResourceBody) func([]byte) []byte {
	return func(in []byte) []byte {
		var m dnsmessage.Message
		if err := m.Unpack(in); err != nil {
			t.Error(err)
			return nil
		}
		m.Response, m.RCode = true, rcode
		for _, b := range bodies {
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET}, Body: b})
		}
		if change != nil {
			change(&m)
		}
		out, err := m.Pack()
		if err != nil {
			t.Error(err)
		}
		return out
	}
}

func TestDNS(t *testing.T) {
	a := &dnsmessage.AResource{A: [4]byte{192, 0, 2, 7}}
	ptr := &dnsmessage.PTRResource{PTR: dnsmessage.MustNewName("www.example.")}
	seven := regexp.MustCompile(`^192\.0\.2\.7$`)
	overTCP := func(answer func([]byte) []byte) DialFunc {
		return datagrams(func(in []byte) []byte {
			out := answer(in[2:])
			return append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...)
		})
	}
	expects := func(name string, kind dnsmessage.Type) DialFunc {
		return datagrams(nameServer(t, 0, func(m *dnsmessage.Message) {
			if q := m.Questions[0]; q.Name.String() != name || q.Type != kind {
				t.Errorf("query of %s %s, want %s %s", q.Type, q.Name, kind, name)
			}
		}))
	}
	testPackets(t, []packetCase{
		{"root", &DNS{}, expects(".", dnsmessage.TypeSOA), ""},
		{"name", &DNS{Name: "www.example"}, expects("www.example.", dnsmessage.TypeA), ""},
		{"IPv4 address", &DNS{Name: "192.0.2.7"}, expects("7.2.0.192.in-addr.arpa.", dnsmessage.TypePTR), ""},
		{"IPv6 address", &DNS{Name: "2001:db8::1"}, expects("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.", dnsmessage.TypePTR), ""},
		{"match", &DNS{Name: "www.example", Expect: seven}, datagrams(nameServer(t, 0, nil, a)), ""},
		{"match of a name", &DNS{Name: "192.0.2.7", Expect: regexp.MustCompile("^www")}, datagrams(nameServer(t, 0, nil, ptr)), ""},
		{"no match", &DNS{Name: "www.example", Expect: regexp.MustCompile("^10")}, datagrams(nameServer(t, 0, nil, a, a)), `A www.example.: got "192.0.2.7, 192.0.2.7", want a match of "^10"`},
		{"no records", &DNS{Name: "www.example", Expect: seven}, datagrams(nameServer(t, 0, nil)), `A www.example.: got "", want a match of "^192\\.0\\.2\\.7$"`},
		{"servfail", &DNS{}, datagrams(nameServer(t, 2, nil)), "SOA .: got SERVFAIL, want NOERROR"},
		{"refused is an answer", &DNS{AnyRCode: true}, datagrams(nameServer(t, 5, nil)), ""},
		{"code that is expected", &DNS{RCodes: []dnsmessage.RCode{0, 3}}, datagrams(nameServer(t, 3, nil)), ""},
		{"code that is not", &DNS{RCodes: []dnsmessage.RCode{0, 3}}, datagrams(nameServer(t, 11, nil)), "SOA .: got rcode 11, want NOERROR or NXDOMAIN"},
		{"any code, but with a match", &DNS{Name: "www.example", AnyRCode: true, Expect: seven}, datagrams(nameServer(t, 5, nil)), `A www.example.: got "", want a match of "^192\\.0\\.2\\.7$"`},
		{"truncated", &DNS{Name: "www.example", Expect: seven}, datagrams(nameServer(t, 0, func(m *dnsmessage.Message) { m.Truncated = true })),
			`A www.example.: got "", want a match of "^192\\.0\\.2\\.7$"; the answer is truncated: set tcp to get all of it`},
		{"truncated, with a match", &DNS{Name: "www.example", Expect: seven}, datagrams(nameServer(t, 0, func(m *dnsmessage.Message) { m.Truncated = true }, a)), ""},
		{"other number", &DNS{}, datagrams(nameServer(t, 0, func(m *dnsmessage.Message) { m.ID++ })), "SOA .: got an answer to another question"},
		{"other question", &DNS{}, datagrams(nameServer(t, 0, func(m *dnsmessage.Message) { m.Questions[0].Type = dnsmessage.TypeA })), "SOA .: got an answer to another question"},
		{"the question itself", &DNS{}, datagrams(func(in []byte) []byte { return in }), "SOA .: got an answer to another question"},
		{"no DNS", &DNS{}, datagrams(func([]byte) []byte { return []byte("hello") }), `SOA .: got "hello", want a DNS message`},
		{"silence", &DNS{}, datagrams(noAnswer), "SOA .: no answer in time"},
		{"nobody listens", &DNS{}, noPort, "SOA .: ICMP port unreachable: nobody listens there"},
		{"endless answers", &DNS{}, flood("x"), `SOA .: got "x", want a DNS message`},
		{"over TCP", &DNS{Name: "www.example", TCP: true, Expect: seven}, overTCP(nameServer(t, 0, nil, a)), ""},
		{"over TCP, closes", &DNS{TCP: true}, server(func(net.Conn) {}).dial, "SOA .: connection closed"},
		{"over TCP, silence", &DNS{TCP: true}, datagrams(noAnswer), "SOA .: no answer in time"},
		{"over TCP, byte by byte", &DNS{TCP: true}, server(func(conn net.Conn) { _, _ = drip{conn}.Write([]byte("\x00\x20xxx")) }).dial, "SOA .: no answer in time"},
		{"over TCP, endless", &DNS{TCP: true}, flood("xx"), `SOA .: got "` + strings.Repeat("x", 14) + `", want an answer to this question`},
		{"bad name", &DNS{Name: strings.Repeat("x", 300)}, nil, `name "` + strings.Repeat("x", 80) + `"...: longer than 255 bytes, or a part empty or longer than 63`},
		{"empty part of a name", &DNS{Name: "www..example"}, nil, `name "www..example": longer than 255 bytes, or a part empty or longer than 63`},
	}, func(c Checker, d DialFunc) { c.(*DNS).Dial, c.(*DNS).Addr = d, somewhere })
}

// radiusServer answers with a code, signed with a secret, and checks the request.
func radiusServer(t testing.TB, code byte, secret string) func([]byte) []byte {
	return func(in []byte) []byte {
		sent := append([]byte(nil), in...)
		copy(sent[len(sent)-16:], make([]byte, 16))
		mac := hmac.New(md5.New, []byte("s3cret"))
		mac.Write(sent)
		if !hmac.Equal(mac.Sum(nil), in[len(in)-16:]) {
			t.Error("Message-Authenticator is wrong")
		}
		if got, want := string(in[20:25]), "\x01\x05bob"; got != want {
			t.Errorf("first attribute %q, want %q", got, want)
		}
		out := []byte{code, in[1], 0, 20}
		h := md5.New()
		h.Write(out)
		h.Write(in[4:20])
		h.Write([]byte(secret))
		return h.Sum(out)
	}
}

func TestRADIUS(t *testing.T) {
	c := func() *RADIUS { return &RADIUS{Login: "bob", Password: "hello", Secret: "s3cret"} }
	testPackets(t, []packetCase{
		{"accepted", c(), datagrams(radiusServer(t, 2, "s3cret")), ""},
		{"rejected", c(), datagrams(radiusServer(t, 3, "s3cret")), "Access-Request: got Access-Reject (3), want Access-Accept"},
		{"other code", c(), datagrams(radiusServer(t, 5, "s3cret")), "Access-Request: got code (5), want Access-Accept"},
		{"other secret", c(), datagrams(radiusServer(t, 2, "guess")), "Access-Request: got an answer that is not signed with the secret"},
		{"no RADIUS", c(), datagrams(func([]byte) []byte { return []byte("hello") }), `Access-Request: got "hello", want a RADIUS packet`},
		{"length that lies", c(), datagrams(func([]byte) []byte { return []byte("\x02\x00\xff\xff0123456789abcdef") }), `Access-Request: got "\x02\x00\xff\xff0123456789abcdef", want a RADIUS packet`},
		{"silence", c(), datagrams(noAnswer), "Access-Request: no answer in time: the server is down, or does not know this host or its secret"},
		{"nobody listens", c(), noPort, "Access-Request: ICMP port unreachable: nobody listens there"},
		{"endless answers", c(), flood("x"), `Access-Request: got "x", want a RADIUS packet`},
	}, func(c Checker, d DialFunc) { c.(*RADIUS).Dial, c.(*RADIUS).Addr = d, somewhere })
}

// RFC 2865 section 7.1: user nemo, password arctangent, secret xyzzy5461.
func TestRADIUSPasswordOfTheRFC(t *testing.T) {
	authenticator := []byte("\x0f\x40\x3f\x94\x73\x97\x80\x57\xbd\x83\xd5\xcb\x98\xf4\x22\x7a")
	got := hidePassword("arctangent", "xyzzy5461", authenticator)
	want := "\x0d\xbe\x70\x8d\x93\xd4\x13\xce\x31\x96\xe4\x3f\x78\x2a\x0a\xee"
	if string(got) != want {
		t.Errorf("got %x, want %x", got, want)
	}
	if n := len(hidePassword(strings.Repeat("x", 17), "s", authenticator)); n != 32 {
		t.Errorf("17 bytes become %d, want 32", n)
	}
}

func TestSIP(t *testing.T) {
	answer := func(s string) DialFunc {
		return datagrams(func(in []byte) []byte {
			if !strings.HasPrefix(string(in), "OPTIONS sip:bob@192.0.2.1:99 SIP/2.0\r\nVia: SIP/2.0/UDP ") || !strings.HasSuffix(string(in), "\r\n\r\n") {
				t.Errorf("request %q", in)
			}
			return []byte(s)
		})
	}
	c := func() *SIP { return &SIP{User: "bob"} }
	testPackets(t, []packetCase{
		{"up", c(), answer("SIP/2.0 200 OK\r\nTo: x\r\n\r\n"), ""},
		{"up after provisional answers", c(), answer("SIP/2.0 100 Trying\r\n\r\nSIP/2.0 200 OK\r\n\r\n"), ""},
		{"up, more headers than are read", c(), answer("SIP/2.0 200 OK\r\nAllow: " + strings.Repeat("x", 3000) + "\r\n\r\n"), ""},
		{"unavailable", c(), answer("SIP/2.0 503 Service Unavailable\r\n\r\n"), `OPTIONS: got "503 Service Unavailable", want 200-299`},
		{"not found, which is expected", &SIP{User: "bob", Status: StatusSet{{200, 404}}}, answer("SIP/2.0 404 Not Found\r\n\r\n"), ""},
		{"no SIP", c(), answer("HTTP/1.0 200 OK\r\n\r\n"), `OPTIONS: got "HTTP/1.0 200 OK", want SIP/2.0 and a status`},
		{"short", c(), answer("SIP/2.0\r\n\r\n"), `OPTIONS: got "SIP/2.0", want SIP/2.0 and a status`},
		{"silence", c(), datagrams(noAnswer), "OPTIONS: no answer in time"},
		{"nobody listens", c(), noPort, "OPTIONS: ICMP port unreachable: nobody listens there"},
	}, func(c Checker, d DialFunc) { c.(*SIP).Dial, c.(*SIP).Addr = d, somewhere })

	testHostile(t, func(d DialFunc) Checker { return &SIP{Addr: somewhere, TCP: true, Dial: d} },
		dialogue(t, "> OPTIONS sip:192.0.2.1:99 SIP/2.0", "> ...", "> ...", "> ...", "> ...", "> ...", "> ...", "> ...", "> ...", "> ...", "> ...", "> ", "< SIP/2.0 200 OK", "< "), hostile{
			silent:  "OPTIONS: no answer in time",
			closes:  "OPTIONS: connection closed",
			drips:   `OPTIONS: no answer in time after "SI"`,
			endless: `OPTIONS: line longer than 2048 bytes: "` + strings.Repeat("x", 80) + `"...`,
			lines:   "OPTIONS: more than 256 KiB",
			more:    "SIP/2.0 200 OK\r\n",
		})
}

func TestRedis(t *testing.T) {
	testAnswers(t, []answers{
		{"up", &Redis{}, []string{"> *1", "> $4", "> PING", "< +PONG"}, ""},
		{"password", &Redis{Password: "p w"}, []string{"> *2", "> $4", "> AUTH", "> $3", "> p w", "< +OK", "> *1", "> $4", "> PING", "< +PONG"}, ""},
		{"name and password", &Redis{Login: "u", Password: "p"}, []string{"> *3", "> $4", "> AUTH", "> $1", "> u", "> $1", "> p", "< -WRONGPASS no"}, `AUTH: got "-WRONGPASS no", want +OK`},
		{"password wanted", &Redis{}, []string{"> ...", "> ...", "> ...", "< -NOAUTH Authentication required."}, `PING: got "-NOAUTH Authentication required.", want +PONG`},
		{"loading", &Redis{}, []string{"> ...", "> ...", "> ...", "< -LOADING Redis is loading the dataset in memory"}, `PING: got "-LOADING Redis is loading the dataset in memory", want +PONG`},
	}, func(c Checker, d DialFunc) { c.(*Redis).Dial, c.(*Redis).Addr = d, somewhere })
	testHostile(t, func(d DialFunc) Checker { return &Redis{Addr: somewhere, Dial: d} },
		dialogue(t, "> *1", "> $4", "> PING", "< +PONG"), hostile{
			silent:  "PING: no answer in time",
			closes:  "PING: connection closed",
			drips:   `PING: no answer in time after "+P"`,
			endless: `PING: line longer than 2048 bytes: "` + strings.Repeat("x", 80) + `"...`,
		})
}
