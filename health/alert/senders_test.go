package alert

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mime"
	"mime/quotedprintable"

	"github.com/google/go-cmp/cmp"
)

func message() Message {
	return compose("golb", []Event{{Key: "k", Service: "wéb", Server: "a", State: "down", Reason: "line\r\nBcc: all@example", Changes: 1}}, 0)
}

func TestWebhook(t *testing.T) {
	status := http.StatusNoContent
	var got Message
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "POST" || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Authorization") != "Bearer x" {
			t.Errorf("%s with %v", r.Method, r.Header)
		}
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
		w.WriteHeader(status)
	}))
	defer s.Close()
	w := &Webhook{URL: s.URL, Header: http.Header{"Authorization": {"Bearer x"}}}
	if err := w.Send(t.Context(), message()); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(message(), got); diff != "" {
		t.Error(diff)
	}
	status = http.StatusFound
	if err := w.Send(t.Context(), message()); err == nil || err.Error() != "webhook: got 302 Found, want 2xx" {
		t.Error(err)
	}
	s.Close()
	if err := w.Send(t.Context(), message()); err == nil {
		t.Error("no error without a server")
	}
}

func TestCommand(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	c := &Command{Program: "/bin/sh", Args: []string{"-c", `{ echo "$1"; cat; printf '%s\n' "$GOLB_ALERT"; } > "$0"`, out}}
	m := Message{Subject: "golb: s", Text: "text\n"}
	if err := c.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if want := "golb: s\ntext\n{\"subject\":\"golb: s\",\"text\":\"text\\n\",\"events\":null,\"omitted\":0}\n"; string(b) != want {
		t.Errorf("got %q, want %q", b, want)
	}
	bad := &Command{Program: "/bin/sh", Args: []string{"-c", "echo no paper; exit 2"}}
	if err := bad.Send(t.Context(), m); err == nil || err.Error() != `/bin/sh: exit status 2: "no paper\n"` {
		t.Error(err)
	}
}

// mailServer answers as an SMTP server does, records what it receives, and can refuse
// a command.
type mailServer struct {
	cfg      *tls.Config // nil offers no TLS
	refuse   string
	implicit bool
	received []string
	mail     string
}

func (s *mailServer) dial(context.Context, string, string) (net.Conn, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return nil, err
	}
	far, err := l.Accept()
	if err != nil {
		return nil, err
	}
	if s.implicit {
		far = tls.Server(far, s.cfg)
	}
	go s.serve(far)
	return conn, nil
}

func (s *mailServer) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	send := func(line string) { _, _ = io.WriteString(conn, line+"\r\n") }
	send("220 mx")
	for {
		line := readLine(conn)
		if line == "" {
			return
		}
		s.received = append(s.received, line)
		switch word, _, _ := strings.Cut(line, " "); {
		case s.refuse != "" && strings.HasPrefix(line, s.refuse):
			send("550 no")
		case word == "EHLO" && s.cfg != nil:
			send("250-mx\r\n250-AUTH PLAIN\r\n250 STARTTLS")
		case word == "EHLO":
			send("250-mx\r\n250 AUTH PLAIN")
		case word == "STARTTLS":
			send("220 go")
			conn = tls.Server(conn, s.cfg)
		case word == "AUTH":
			send("235 yes")
		case word == "DATA":
			send("354 go")
			for line := readLine(conn); line != "."; line = readLine(conn) {
				s.mail += line + "\n"
			}
			send("250 taken")
		case word == "QUIT":
			send("221 bye")
			return
		default:
			send("250 ok")
		}
	}
}

// readLine reads byte by byte, so that nothing is lost when a handshake follows.
// The end is "".
func readLine(conn net.Conn) string {
	var line []byte
	for b := make([]byte, 1); ; line = append(line, b[0]) {
		if _, err := io.ReadFull(conn, b); err != nil {
			return ""
		}
		if b[0] == '\n' {
			return strings.TrimSuffix(string(line), "\r")
		}
	}
}

func TestMail(t *testing.T) {
	cert, pool := certificate(t)
	cfg := &tls.Config{Certificates: []tls.Certificate{cert}}
	trust := &tls.Config{RootCAs: pool}
	tests := []struct {
		name     string
		mail     Mail
		server   mailServer
		received []string
		want     string
	}{
		{"plain", Mail{Hello: "lb"}, mailServer{}, []string{"EHLO lb", "MAIL FROM:<golb@example>", "RCPT TO:<a@example>", "RCPT TO:<b@example>", "DATA", "QUIT"}, ""},
		{"STARTTLS where it is offered, login", Mail{TLS: trust, Login: "u", Password: "p"}, mailServer{cfg: cfg},
			[]string{"EHLO localhost", "STARTTLS", "EHLO localhost", "AUTH PLAIN AHUAcA==", "MAIL FROM:<golb@example>", "RCPT TO:<a@example>", "RCPT TO:<b@example>", "DATA", "QUIT"}, ""},
		{"STARTTLS never", Mail{Security: Plain}, mailServer{cfg: cfg}, []string{"EHLO localhost", "MAIL FROM:<golb@example>", "RCPT TO:<a@example>", "RCPT TO:<b@example>", "DATA", "QUIT"}, ""},
		{"STARTTLS required, not offered", Mail{Security: Required}, mailServer{}, []string{"EHLO localhost"}, "mail by mx.example:25: server does not offer STARTTLS"},
		{"TLS from the first byte", Mail{Security: Implicit, TLS: trust}, mailServer{cfg: cfg, implicit: true}, []string{"EHLO localhost", "MAIL FROM:<golb@example>", "RCPT TO:<a@example>", "RCPT TO:<b@example>", "DATA", "QUIT"}, ""},
		{"certificate that nobody trusts, rather than none", Mail{}, mailServer{cfg: cfg}, []string{"EHLO localhost", "STARTTLS", "EHLO localhost", "MAIL FROM:<golb@example>", "RCPT TO:<a@example>", "RCPT TO:<b@example>", "DATA", "QUIT"}, ""},
		{"no login to who has a certificate that nobody trusts", Mail{Login: "u", Password: "p"}, mailServer{cfg: cfg}, []string{"EHLO localhost", "STARTTLS"}, "mail by mx.example:25: starttls: "},
		{"certificate that nobody trusts", Mail{Security: Required}, mailServer{cfg: cfg}, []string{"EHLO localhost", "STARTTLS"}, "mail by mx.example:25: starttls: "},
		{"no login in the clear", Mail{Login: "u", Password: "p"}, mailServer{}, []string{"EHLO localhost", "QUIT"}, "mail by mx.example:25: auth: unencrypted connection"},
		{"recipient refused", Mail{}, mailServer{refuse: "RCPT TO:<b"}, []string{"EHLO localhost", "MAIL FROM:<golb@example>", "RCPT TO:<a@example>", "RCPT TO:<b@example>", "DATA", "QUIT"},
			"mail by mx.example:25: sent, but not to all: to b@example: 550"},
		{"all recipients refused", Mail{}, mailServer{refuse: "RCPT TO:"}, []string{"EHLO localhost", "MAIL FROM:<golb@example>", "RCPT TO:<a@example>", "RCPT TO:<b@example>"},
			"mail by mx.example:25: to a@example: 550 \"no\"; to b@example: 550 \"no\""},
		{"mail refused", Mail{}, mailServer{refuse: "DATA"}, []string{"EHLO localhost", "MAIL FROM:<golb@example>", "RCPT TO:<a@example>", "RCPT TO:<b@example>", "DATA"}, "mail by mx.example:25: 550"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := tt.mail
			c.Server, c.From, c.To, c.Dial = "mx.example:25", "golb@example", []string{"a@example", "b@example"}, tt.server.dial
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			err := c.Send(ctx, message())
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.want)) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			cancel()
			if diff := cmp.Diff(tt.received, tt.server.received); diff != "" {
				t.Error(diff)
			}
			if _, some := errors.AsType[*PartlySent](err); tt.want == "" || some {
				readMail(t, tt.server.mail)
			}
		})
	}
}

// TestMailToExchangers: without a server, mail goes to the exchangers of each recipient's
// domain, the preferred one first.
func TestMailToExchangers(t *testing.T) {
	records := map[string][]*net.MX{
		"a.example": {{Host: "second.a.example.", Pref: 20}, {Host: "first.a.example.", Pref: 10}},
		"b.example": {{Host: "mx.b.example.", Pref: 5}},
		"null.test": {{Host: ".", Pref: 0}},
	}
	tests := []struct {
		name    string
		to      []string
		down    string // hosts that refuse connections
		asked   string // hosts that are connected to
		want    string // error
		partial bool
	}{
		{"the preferred exchanger", []string{"x@a.example", "y@A.example"}, "", "first.a.example:25", "", false},
		{"the next one, where that is down", []string{"x@a.example"}, "first.a.example:25", "first.a.example:25 second.a.example:25", "", false},
		{"all are down", []string{"x@b.example"}, "mx.b.example:25", "mx.b.example:25", "mail by mx.b.example:25: refused", false},
		{"two domains", []string{"x@b.example", "x@a.example"}, "", "first.a.example:25 mx.b.example:25", "", false},
		{"one domain of two", []string{"x@b.example", "x@a.example"}, "mx.b.example:25", "first.a.example:25 mx.b.example:25",
			"sent, but not to all: mail by mx.b.example:25: refused", true},
		{"no MX record: the domain itself", []string{"x@none.example"}, "", "none.example:25", "", false},
		{"a domain without mail", []string{"x@null.test"}, "", "", "mail: null.test takes no mail, by its MX record", false},
		{"the resolver fails", []string{"x@broken.example"}, "", "", "mail: mail exchangers of broken.example: lookup: timeout", false},
		{"an address", []string{"x@[192.0.2.1]"}, "", "192.0.2.1:25", "", false},
		{"an IPv6 address", []string{"x@[IPv6:2001:db8::1]"}, "", "[2001:db8::1]:25", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var asked []string
			c := &Mail{From: "golb@example", To: tt.to,
				Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
					asked = append(asked, address)
					if strings.Contains(tt.down, address) {
						return nil, errors.New("refused")
					}
					return new(mailServer).dial(ctx, network, address)
				},
				LookupMX: func(_ context.Context, domain string) ([]*net.MX, error) {
					switch list, ok := records[domain]; {
					case ok:
						return list, nil
					case domain == "broken.example":
						return nil, errors.New("lookup: timeout")
					}
					return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
				}}
			err := c.Send(t.Context(), message())
			if got := errorText(err); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if _, some := errors.AsType[*PartlySent](err); some != tt.partial {
				t.Errorf("%v is of some only: %v", err, some)
			}
			if got := strings.Join(asked, " "); got != tt.asked {
				t.Errorf("asked %s, want %s", got, tt.asked)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// readMail parses a mail, in which nothing may be smuggled into the head.
func readMail(t *testing.T, text string) {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if want := "golb: wéb: a is down"; err != nil || subject != want {
		t.Errorf("subject %q, %v, want %q", subject, err, want)
	}
	if m.Header.Get("Bcc") != "" || m.Header.Get("To") != "a@example, b@example" {
		t.Errorf("head %v", m.Header)
	}
	if _, err := m.Header.Date(); err != nil {
		t.Error(err)
	}
	body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil || !strings.HasPrefix(string(body), "wéb: a is down: line") {
		t.Errorf("body %q, %v", body, err)
	}
}

func TestMailToAServerThatIsSilent(t *testing.T) {
	c := &Mail{Server: "mx.example:25", From: "a@example", To: []string{"b@example"}}
	c.Dial = func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, far) }()
		return near, nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.Send(ctx, message()); err == nil {
		t.Error("sent")
	}
}

func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"mx.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// TestHostileReceivers holds the senders against servers that misbehave: no mail, no
// webhook and no command outlasts its time, and what is read is bounded.
func TestHostileReceivers(t *testing.T) {
	forever := func(what string) func(net.Conn) {
		return func(conn net.Conn) {
			go func() { _, _ = io.Copy(io.Discard, conn) }()
			for {
				if _, err := io.WriteString(conn, strings.Repeat(what, 1000)); err != nil {
					return
				}
			}
		}
	}
	slowly := func(conn net.Conn) {
		go func() { _, _ = io.Copy(io.Discard, conn) }()
		for {
			if _, err := io.WriteString(conn, "2"); err != nil {
				return
			}
			time.Sleep(time.Second)
		}
	}
	send := map[string]func(dialFunc) Sender{
		"mail": func(d dialFunc) Sender {
			return &Mail{Server: "mx.example:25", From: "a@example", To: []string{"b@example"}, Dial: d}
		},
		"webhook": func(d dialFunc) Sender {
			return &Webhook{URL: "http://hook.example/", Client: &http.Transport{DialContext: d, DisableKeepAlives: true}}
		},
	}
	tests := []struct {
		name, sender string
		serve        func(net.Conn)
		want         string // its beginning
	}{
		{"closes", "mail", func(net.Conn) {}, "mail by mx.example:25: EOF"},
		{"another protocol", "mail", forever("HTTP/1.1 400 Bad Request\r\n"), "mail by mx.example:25: "},
		{"slow", "mail", slowly, "mail by mx.example:25: "},
		{"endless line", "mail", forever("x"), "mail by mx.example:25: server sends more than 256 KiB"},
		{"endless reply", "mail", forever("220-more\r\n"), "mail by mx.example:25: server sends more than 256 KiB"},
		{"closes", "webhook", func(net.Conn) {}, "webhook: "},
		{"silent", "webhook", func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }, "webhook: "},
		{"another protocol", "webhook", forever("220 mx\r\n"), "webhook: "},
		{"slow", "webhook", slowly, "webhook: "},
		{"endless head", "webhook", forever("HTTP/1.1 200 OK\r\nX-More: x\r\n"), "webhook: "},
	}
	for _, tt := range tests {
		t.Run(tt.sender+" "+tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var sent atomic.Int64
				dial := func(context.Context, string, string) (net.Conn, error) {
					near, far := net.Pipe()
					go func() { defer far.Close(); tt.serve(counting{far, &sent}) }()
					return near, nil
				}
				began := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				err := send[tt.sender](dial).Send(ctx, message())
				if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
					t.Errorf("got %v, want %s", err, tt.want)
				}
				if took := time.Since(began); took > 3*time.Second {
					t.Errorf("took %v, limit 3s", took)
				}
				if n := sent.Load(); n > 4<<20 {
					t.Errorf("read %d bytes", n)
				}
				cancel()
				time.Sleep(10 * time.Second) // for the server to notice
			})
		})
	}
	t.Run("command that hangs", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		c := &Command{Program: "/bin/sh", Args: []string{"-c", "trap '' TERM; sleep 10000 & wait"}}
		if err := c.Send(ctx, message()); err == nil {
			t.Error("sent by a command that does not end")
		}
	})
}

// counting counts what the other end has read.
type counting struct {
	net.Conn
	n *atomic.Int64
}

func (c counting) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.n.Add(int64(n))
	return n, err
}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)
