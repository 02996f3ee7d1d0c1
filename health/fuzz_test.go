package health

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net"
	"slices"
	"testing"
	"time"
)

// canned is a connection to a server that has sent all it will and takes whatever is
// sent to it.
type canned struct {
	*bytes.Reader
	near, far *net.TCPAddr
}

func (canned) Write(p []byte) (int, error)      { return len(p), nil }
func (canned) Close() error                     { return nil }
func (canned) SetDeadline(time.Time) error      { return nil }
func (canned) SetReadDeadline(time.Time) error  { return nil }
func (canned) SetWriteDeadline(time.Time) error { return nil }
func (c canned) LocalAddr() net.Addr            { return c.near }
func (c canned) RemoteAddr() net.Addr           { return c.far }
func (canned) WriteTo(io.Writer) (int64, error) { panic("a check copies without a bound") }

// Whatever a server sends, every check ends, does not panic, and returns an error that
// is printable. The seeds are what the servers of all rows send, and their refusals.
func FuzzAnswers(f *testing.F) {
	rows, registry := rows(f), NewRegistry(Builtin()...)
	var fuzzed []row
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		r := rows[name]
		seed, client := r.seed(f, registry)
		const handshake = 0x16 // of TLS
		if r.host != nil || client == handshake && r.kind != "tls" {
			continue // packet sockets have tests of their own; one TLS client is enough
		}
		fuzzed = append(fuzzed, r)
		f.Add(seed)
		if r.refuse != nil {
			f.Add([]byte(r.refuse("not \x1b[31mhere")))
		}
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		dial := func(context.Context, string, string) (net.Conn, error) {
			return canned{bytes.NewReader(answer), &net.TCPAddr{IP: net.IPv4(192, 0, 2, 9), Port: 9}, &net.TCPAddr{}}, nil
		}
		for _, r := range fuzzed {
			_, c, err := registry.New(r.kind, Peer{Addr: somewhere, Dial: dial}, r.params)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			err = c.Check(ctx)
			if ctx.Err() != nil {
				t.Errorf("%s does not end: %v", r.kind, err)
			}
			cancel()
			if err != nil && !isPrintable(err.Error()) {
				t.Errorf("%s: error %q", r.kind, err)
			}
		}
	})
}
