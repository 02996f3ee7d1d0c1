package health

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// somewhere is the address of every server of these tests: a pipe in virtual time.
var somewhere = netip.MustParseAddrPort("192.0.2.1:99")

// server plays one connection of a server; the connection is closed after it.
type server func(conn net.Conn)

// dial returns a DialFunc whose connections serve plays.
func (serve server) dial(ctx context.Context, network, address string) (net.Conn, error) {
	near, far := net.Pipe()
	b := &buffer{Conn: far, queue: make(chan []byte, 1000), done: make(chan struct{})}
	go b.pump()
	go func() {
		serve(b)
		_, _ = b.Write(nil)
	}()
	return near, nil
}

// buffer lets a server send without waiting for the client to read, as a socket
// does. What it sent before it was done still arrives.
type buffer struct {
	net.Conn
	queue chan []byte // nil is the end
	done  chan struct{}
}

func (b *buffer) pump() {
	defer b.Conn.Close()
	defer close(b.done)
	for p := range b.queue {
		if p == nil {
			return
		}
		if _, err := b.Conn.Write(p); err != nil {
			return
		}
	}
}

// Deadlines of writes are not those of the pump: what is in a socket still goes out.
func (b *buffer) SetWriteDeadline(time.Time) error { return nil }
func (b *buffer) SetDeadline(t time.Time) error    { return b.SetReadDeadline(t) }

func (b *buffer) Write(p []byte) (int, error) {
	select {
	case <-b.done: // also where there is still room in the queue
		return 0, syscall.EPIPE
	default:
	}
	select {
	case <-b.done:
		return 0, syscall.EPIPE
	case b.queue <- slices.Clone(p):
		return len(p), nil
	}
}

// dialogue is a server that follows a script, line by line: "< text" is what it
// sends, "> text" what the client must send, "> ..." any line. Lines end with CR LF; a line
// that ends with "\" does not end. After the script it waits for the client to close.
func dialogue(t *testing.T, script ...string) server {
	return func(conn net.Conn) {
		dialogueOn(t, conn, script)
		keepOpen(conn)
	}
}

// dialogueOn follows the script and returns.
func dialogueOn(t testing.TB, conn net.Conn, script []string) {
	in := &lineReader{conn: conn}
	for i, line := range script {
		text := line[2:]
		if line[0] == '<' {
			if !strings.HasSuffix(text, `\`) {
				text += "\r\n"
			}
			if _, err := io.WriteString(conn, strings.TrimSuffix(text, `\`)); err != nil {
				return
			}
			continue
		}
		got, err := in.line()
		if err == nil && got != text && text != "..." {
			t.Errorf("line %d: client sent %q, want %q", i, got, text)
			return
		}
	}
}

// lineReader reads lines byte by byte, so that nothing is lost when a handshake
// follows.
type lineReader struct{ conn net.Conn }

func (r *lineReader) line() (string, error) {
	var line []byte
	for b := make([]byte, 1); ; line = append(line, b[0]) {
		if _, err := io.ReadFull(r.conn, b); err != nil {
			return string(line), err
		}
		if b[0] == '\n' {
			return strings.TrimSuffix(string(line), "\r"), nil
		}
	}
}

// drip sends each byte 1.1 s after the last.
type drip struct{ net.Conn }

func (d drip) Write(p []byte) (int, error) {
	for i := range p {
		time.Sleep(1100 * time.Millisecond)
		if _, err := d.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

// checkOnce runs a check once in virtual time, with a timeout of 3 s, and returns its
// reason, "" where the server is up.
func checkOnce(t *testing.T, c Checker) string {
	t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	err := c.Check(ctx)
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("took %v of virtual time, timeout 3s", took)
	}
	time.Sleep(10 * time.Second) // for the server to notice
	return reasonOf(err)
}

// hostile is the reason that a check must have for each kind of server that misbehaves.
// A kind without a reason is left out.
type hostile struct {
	silent  string // accepts and sends nothing
	closes  string // accepts and closes
	drips   string // sends the right answer, byte by byte
	endless string // sends x forever
	lines   string // sends the line of more forever
	more    string
}

// testHostile tries them all, over pipes in virtual time. good is the server that
// is up. An endless server must be stopped within a bound of bytes.
func testHostile(t *testing.T, check func(DialFunc) Checker, healthy server, want hostile) {
	t.Helper()
	var sent atomic.Int64
	flood := func(what string) DialFunc {
		return func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, far) }()
			go func() {
				defer far.Close()
				for {
					n, err := io.WriteString(far, what)
					sent.Add(int64(n))
					if err != nil {
						return
					}
				}
			}()
			return near, nil
		}
	}
	run := func(name, want string, dial DialFunc) {
		if want == "" {
			return
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sent.Store(0)
				if got := checkOnce(t, check(dial)); got != want {
					t.Errorf("got  %s\nwant %s", got, want)
				}
				if n := sent.Load(); n > 2*maxRead {
					t.Errorf("read %d bytes of an endless answer", n)
				}
			})
		})
	}
	run("refused", "connect to 192.0.2.1:99: connection refused", func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	})
	run("unreachable", "connect to 192.0.2.1:99: no answer in time", func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	run("silent", want.silent, server(func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }).dial)
	run("closes", want.closes, server(func(conn net.Conn) {}).dial)
	run("drips", want.drips, server(func(conn net.Conn) { healthy(drip{conn}) }).dial)
	run("endless", want.endless, flood(strings.Repeat("x", 512)))
	run("endless lines", want.lines, flood(want.more))
	t.Run("up", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			if got := checkOnce(t, check(healthy.dial)); got != "" {
				t.Errorf("down: %s", got)
			}
		})
	})
}

// answers is a server's dialogue and the reason that a check of it gives; "" is up.
type answers struct {
	name   string
	check  Checker
	script []string
	want   string
}

// testAnswers plays each dialogue once. set gives the check its dialer.
func testAnswers(t *testing.T, tests []answers, set func(Checker, DialFunc)) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				set(tt.check, dialogue(t, tt.script...).dial)
				if got := checkOnce(t, tt.check); got != tt.want {
					t.Errorf("got  %s\nwant %s", got, tt.want)
				}
			})
		})
	}
}

// certificate makes a self-signed certificate for www.example, valid for a time from
// now, and the pool that trusts it.
func certificate(t testing.TB, valid time.Duration) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "www.example"}, DNSNames: []string{"www.example"},
		NotBefore: time.Now().Add(-365 * 24 * time.Hour), NotAfter: time.Now().Add(valid),
		IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
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
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}

// behindTLS is a server that starts TLS first.
func (serve server) behindTLS(cfg *tls.Config) server {
	return func(conn net.Conn) {
		secure := tls.Server(conn, cfg)
		if secure.Handshake() == nil {
			serve(secure)
		}
	}
}

// keepOpen is a server that waits for the client to close.
func keepOpen(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// timeout is the context of a check in real time.
func timeout(t testing.TB, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}
