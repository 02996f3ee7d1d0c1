package health

import (
	"context"
	"maps"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// endlessServer answers each connection on a real socket with what, forever, whatever
// it gets.
func endlessServer(t *testing.T, what string) Peer {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	all := []byte(strings.Repeat(what, 1+64<<10/len(what)))
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				go keepOpen(conn)
				for {
					if _, err := conn.Write(all); err != nil {
						return
					}
				}
			}()
		}
	}()
	return Peer{Addr: l.Addr().(*net.TCPAddr).AddrPort()}
}

// On real sockets, at the speed of the loopback: each check ends by itself, long
// before its timeout, and allocates no more than its bounds say.
func TestEndlessServersOnSockets(t *testing.T) {
	const most = 1 << 20 // bytes allocated in one check, handshake and all
	rows, registry := rows(t), NewRegistry(Builtin()...)
	for _, what := range []string{"x", "\x00", "220-more\r\n", "HTTP/1.1 200 OK\r\n\r\n", "\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678", "\x16\x03\x03\x00\x04\x00\x00\x00\x00"} {
		peer := endlessServer(t, what)
		for _, name := range slices.Sorted(maps.Keys(rows)) {
			r := rows[name]
			if r.overPackets(registry) {
				continue
			}
			_, c, err := registry.New(r.kind, peer, r.params)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			var begin, end runtime.MemStats
			runtime.ReadMemStats(&begin)
			reason := reasonOf(c.Check(ctx))
			runtime.ReadMemStats(&end)
			if ctx.Err() != nil {
				t.Errorf("%s, %q: does not end: %s", name, what, reason)
			}
			cancel()
			if n := end.TotalAlloc - begin.TotalAlloc; n > most {
				t.Errorf("%s, %q: %d KiB allocated: %s", name, what, n>>10, reason)
			}
		}
	}
}

// A server that resets: on a socket, whatever the check was about to do.
func TestServersThatResetOnSockets(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		}
	}()
	registry := NewRegistry(Builtin()...)
	for name, r := range rows(t) {
		if r.overPackets(registry) || r.kind == "tcp" {
			continue
		}
		_, c, err := registry.New(r.kind, Peer{Addr: l.Addr().(*net.TCPAddr).AddrPort()}, r.params)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		reason := reasonOf(c.Check(ctx))
		cancel()
		if !strings.Contains(reason, ": connection reset by peer") && !strings.HasSuffix(reason, ": broken pipe") {
			t.Errorf("%s: got %s, want connection reset by peer", name, reason)
		}
	}
}
