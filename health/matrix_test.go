package health

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// behavior is what a hostile server does once begun: it sends text, in its own manner.
type behavior struct {
	name string
	text string
	send func(conn net.Conn, text string)
}

// sendAndHold sends the text and then nothing.
func sendAndHold(conn net.Conn, text string) { _, _ = io.WriteString(conn, text); keepOpen(conn) }

// forever sends the text again and again.
func forever(conn net.Conn, text string) {
	text = strings.Repeat(text, 1+1000/len(text))
	go keepOpen(conn)
	for {
		if _, err := io.WriteString(conn, text); err != nil {
			return
		}
	}
}

// slowly sends two bytes of the text within the timeout.
func slowly(conn net.Conn, text string) { go keepOpen(conn); _, _ = io.WriteString(drip{conn}, text) }

func behaviors() []behavior {
	const ping, settings = "\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678", "\x00\x00\x00\x04\x00\x00\x00\x00\x00" // HTTP/2 frames
	return []behavior{
		{"silent", "", func(conn net.Conn, _ string) { keepOpen(conn) }},
		{"closes", "", func(net.Conn, string) {}},
		{"wrong: HTTP", "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", sendAndHold},
		{"wrong: SSH", "SSH-2.0-OpenSSH_9.2\r\n", sendAndHold},
		{"wrong: mail", "220 mx.example ESMTP\r\n", sendAndHold},
		{"wrong: text", "hello", sendAndHold},
		{"wrong: long", strings.Repeat("x", 3000) + "\r\n\r\n", sendAndHold},
		{"wrong: bytes", "\xff\xfe\x00\x1b[2J\u202e\r\n\r\n\r\n\r\n", sendAndHold},
		{"slow: 220", "220 mx\r\n", slowly},
		{"slow: TLS", "\x16\x03\x03\x00\x7a\x02", slowly},
		{"endless: zeros", "\x00", forever},
		{"endless: x", "x", forever},
		{"endless: empty lines", "\r\n", forever},
		{"endless: reply", "220-more\r\n", forever},
		{"endless: 1xx", "HTTP/1.1 100 Continue\r\n\r\n", forever},
		{"endless: HTTP/2", ping, func(conn net.Conn, text string) {
			_, _ = io.WriteString(conn, settings)
			forever(conn, text)
		}},
	}
}

// replies is the behavior of a host that gets packets: what it sends for each.
func (b behavior) replies(request []byte) [][]byte {
	switch {
	case b.text == "":
		return nil
	case strings.HasPrefix(b.name, "endless"):
		return repeat([]byte(b.text), 3000)
	}
	return [][]byte{[]byte(b.text)}
}

// hostileDial is a server of a row that misbehaves. sent counts what was read of
// it in bytes.
func (r row) hostileDial(t *testing.T, b behavior, packets bool, sent *atomic.Int64) DialFunc {
	return func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		var conn net.Conn = &counted{far, sent}
		if !packets { // a pipe passes writes on as packets
			conn = &greedy{Conn: conn}
		}
		go func() {
			defer far.Close()
			if r.begin != nil {
				conn = r.begin(t, conn)
			}
			if packets { // it answers
				_, _ = conn.Read(make([]byte, 4096))
			}
			b.send(conn, b.text)
		}()
		return near, nil
	}
}

// counted counts what was written, that is, what the other end read.
type counted struct {
	net.Conn
	n *atomic.Int64
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.n.Add(int64(n))
	return n, err
}

// greedy reads on its own while it writes, as the host of a socket does, so that
// neither end waits for the other.
type greedy struct {
	net.Conn
	startOnce sync.Once
	mu        sync.Mutex
	have      bytes.Buffer
	more      chan struct{} // closed when the other end is
	news      chan struct{}
}

func (g *greedy) start() {
	g.more, g.news = make(chan struct{}), make(chan struct{}, 1)
	go func() {
		defer close(g.more)
		p := make([]byte, 4096)
		for {
			n, err := g.Conn.Read(p)
			g.mu.Lock()
			g.have.Write(p[:n])
			g.mu.Unlock()
			select {
			case g.news <- struct{}{}:
			default:
			}
			if err != nil {
				return
			}
		}
	}()
}

func (g *greedy) Write(p []byte) (int, error) { g.startOnce.Do(g.start); return g.Conn.Write(p) }

func (g *greedy) Read(p []byte) (int, error) {
	g.startOnce.Do(g.start)
	for {
		g.mu.Lock()
		n, _ := g.have.Read(p)
		g.mu.Unlock()
		if n > 0 {
			return n, nil
		}
		select {
		case <-g.news:
		case <-g.more:
			g.mu.Lock()
			n, err := g.have.Read(p)
			g.mu.Unlock()
			return n, err
		}
	}
}

// overPackets reports whether the check of a row gets datagrams.
func (r row) overPackets(registry *Registry) bool {
	typ, _ := registry.Find(r.kind)
	return r.host != nil || typ.Transport == "udp" && r.params["tcp"] != true
}

// orUp is the reason, or up where there is none.
func orUp(reason string) string {
	if reason == "" {
		return "up"
	}
	return reason
}

// failsWith is a dialer whose connections fail at once.
func failsWith(errno syscall.Errno) DialFunc {
	return func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", errno)}
	}
}

// Every type against every hostile server: the reasons are those of the golden file,
// nothing takes longer than its timeout or reads without a bound.
func TestHostileServers(t *testing.T) {
	rows, registry := rows(t), NewRegistry(Builtin()...)
	var golden strings.Builder
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		r := rows[name]
		packets := r.overPackets(registry)
		check := func(t *testing.T, p Peer) Checker {
			_, c, err := registry.New(r.kind, p, r.params)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		note := func(t *testing.T, server string, p Peer) {
			reason := checkOnce(t, check(t, p))
			fmt.Fprintf(&golden, "%s | %s | %s\n", name, server, orUp(reason))
		}
		fails := map[string]DialFunc{
			"refused":              failsWith(syscall.ECONNREFUSED),
			"unreachable":          failsWith(syscall.EHOSTUNREACH),
			"no answer to connect": func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() },
			"resets":               resets,
		}
		if packets {
			fails = map[string]DialFunc{"refused": noPort}
		}
		if r.host == nil {
			for _, what := range slices.Sorted(maps.Keys(fails)) {
				synctest.Test(t, func(t *testing.T) { note(t, what, Peer{Addr: somewhere, Dial: fails[what]}) })
			}
		}
		for _, b := range behaviors() {
			if packets && b.name == "closes" {
				continue
			}
			synctest.Test(t, func(t *testing.T) {
				var sent atomic.Int64
				note(t, b.name, r.peer(r.hostileDial(t, b, packets, &sent), b.replies))
				if n := sent.Load(); n > maxRawRead+maxRead {
					t.Errorf("%s, %s: read %d bytes", name, b.name, n)
				}
			})
		}
	}
	const file = "testdata/hostile.golden"
	if *update {
		if err := os.WriteFile(file, []byte(golden.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(golden.String(), "\n")); diff != "" {
		t.Error(diff)
	}
}

// resets is a server that accepts, and answers the first request with RST.
func resets(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	go func() { _, _ = io.Copy(io.Discard, far) }()
	return reset{near}, nil
}

type reset struct{ net.Conn }

func (reset) Read([]byte) (int, error) {
	return 0, &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
}

// Whatever words a server refuses with, the error of a check is printable: it may go to
// a log or a terminal as it is.
func TestRefusalsArePrintable(t *testing.T) {
	registry := NewRegistry(Builtin()...)
	for name, r := range rows(t) {
		if r.refuse == nil {
			continue
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for _, text := range []string{"go away", "\x1b[31mred\x1b]0;title\a", "a\u202eb\u200bc\u009b1m", "\xff\xfe\x00", strings.Repeat("\x1b", 100)} {
					var sent atomic.Int64
					hostile := r.hostileDial(t, behavior{"refuses", r.refuse(text), sendAndHold}, r.overPackets(registry), &sent)
					_, c, err := registry.New(r.kind, Peer{Addr: somewhere, Dial: hostile}, r.params)
					if err != nil {
						t.Fatal(err)
					}
					ctx, cancel := timeout(t, 3*time.Second)
					err = c.Check(ctx)
					cancel()
					if err == nil || !isPrintable(err.Error()) {
						t.Errorf("%q: got %q", text, fmt.Sprint(err))
					}
				}
				time.Sleep(10 * time.Second) // for the server to notice
			})
		})
	}
}

func isPrintable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// What this host lacks is told apart from what a server does: by every type, at each
// system call that can report it.
func TestTroubleOfThisHost(t *testing.T) {
	registry := NewRegistry(Builtin()...)
	for name, r := range rows(t) {
		t.Run(name, func(t *testing.T) {
			for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EAGAIN, syscall.EADDRNOTAVAIL} {
				lacks := func(string, string) (net.PacketConn, error) { return nil, os.NewSyscallError("socket", errno) }
				sends := func(context.Context, string, string) (net.Conn, error) {
					near, far := net.Pipe()
					go keepOpen(far)
					return lacking{near, errno}, nil
				}
				peers := map[string]Peer{"connect": {Addr: somewhere, Dial: failsWith(errno)}, "write": {Addr: somewhere, Dial: sends}}
				if r.host != nil {
					peers = map[string]Peer{"socket": {Addr: somewhere, Dial: sourceAddress, Listen: lacks}}
				}
				if r.kind == "tcp" {
					delete(peers, "write") // it sends nothing
				}
				for call, p := range peers {
					synctest.Test(t, func(t *testing.T) {
						_, c, err := registry.New(r.kind, p, r.params)
						if err != nil {
							t.Fatal(err)
						}
						ctx, cancel := timeout(t, 3*time.Second)
						defer cancel()
						if err := c.Check(ctx); !NotTried(err) {
							t.Errorf("%s fails with %v: the check returns %v, which counts as the server's failure", call, errno, err)
						}
					})
				}
			}
		})
	}
}

// lacking is a connection of a host that lacks something to send.
type lacking struct {
	net.Conn
	errno syscall.Errno
}

func (l lacking) Read([]byte) (int, error) {
	return 0, &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", l.errno)}
}

func (l lacking) Write([]byte) (int, error) {
	return 0, &net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", l.errno)}
}

// A command that cannot be started for want of processes, or whose pipe lacks a
// descriptor, was not tried.
func TestTroubleOfThisHostWithACommand(t *testing.T) {
	c := &External{Command: "/bin/true"}
	for err, want := range map[error]bool{
		&os.PathError{Op: "fork/exec", Path: "/bin/true", Err: syscall.EAGAIN}: true,
		&os.PathError{Op: "fork/exec", Path: "/bin/true", Err: syscall.ENOMEM}: true,
		os.NewSyscallError("pipe2", syscall.EMFILE):                            true,
		&os.PathError{Op: "fork/exec", Path: "/bin/true", Err: syscall.ENOENT}: false,
	} {
		if got := c.result(t.Context(), err, ""); NotTried(got) != want {
			t.Errorf("%v: got %v", err, got)
		}
	}
}
