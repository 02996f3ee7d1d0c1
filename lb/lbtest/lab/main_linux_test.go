package lab_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/golb/golb/lb/lbtest/lab"
)

func TestMain(m *testing.M) {
	if what := os.Getenv(helperVar); what != "" {
		os.Exit(runHelper(what))
	}
	lab.Main(m)
}

func newLab(t testing.TB) *lab.Lab {
	t.Helper()
	if err := lab.Unavailable(); err != nil {
		t.Skip(err)
	}
	l, err := lab.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func newHost(t testing.TB, l *lab.Lab, name string) *lab.Host {
	t.Helper()
	h, err := l.Host(name)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func newSwitch(t testing.TB, l *lab.Lab) *lab.Switch {
	t.Helper()
	s, err := l.Switch("switch")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func attach(t testing.TB, l *lab.Lab, h *lab.Host, s *lab.Switch, mtu int, addrs ...string) *lab.Link {
	t.Helper()
	k, err := l.Attach(h, s, lab.LinkConfig{Addrs: prefixes(addrs...), MTU: mtu})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func prefixes(texts ...string) []netip.Prefix {
	var ps []netip.Prefix
	for _, s := range texts {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}

// newPair returns two hosts on one switch with 192.0.2.1, 2001:db8::1 and 192.0.2.2, 2001:db8::2.
func newPair(t testing.TB, l *lab.Lab, mtu int) (a, b *lab.Host, link *lab.Link) {
	t.Helper()
	s := newSwitch(t, l)
	a, b = newHost(t, l, "a"), newHost(t, l, "b")
	link = attach(t, l, a, s, mtu, "192.0.2.1/24", "2001:db8::1/64")
	attach(t, l, b, s, mtu, "192.0.2.2/24", "2001:db8::2/64")
	return a, b, link
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// transfer sends size random bytes from one host to a listener of the other and compares what went in with what came out.
func transfer(t testing.TB, from, to *lab.Host, addr string, size int64) {
	t.Helper()
	ln, err := to.Listen(t.Context(), "tcp", addr)
	must(t, err)
	defer ln.Close()
	type result struct {
		sum [32]byte
		n   int64
		err error
	}
	got := make(chan result, 1)
	go func() {
		var r result
		defer func() { got <- r }()
		var c net.Conn
		if c, r.err = ln.Accept(); r.err != nil {
			return
		}
		defer c.Close()
		h := sha256.New()
		r.n, r.err = io.Copy(h, c)
		h.Sum(r.sum[:0])
	}()
	sent, err := send(t, from, ln.Addr().String(), size)
	if err != nil {
		ln.Close()
		<-got
		t.Fatal(err)
	}
	if r := <-got; r.err != nil || r.n != size || r.sum != sent {
		t.Fatalf("%s: got %d bytes, sum %x, error %v; sent %d bytes, sum %x", addr, r.n, r.sum, r.err, size, sent)
	}
}

func send(t testing.TB, from *lab.Host, addr string, size int64) (sum [32]byte, err error) {
	c, err := from.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		return sum, err
	}
	defer c.Close()
	h := sha256.New()
	src := io.LimitReader(rand.NewChaCha8([32]byte{1}), size)
	if _, err := io.CopyBuffer(io.MultiWriter(c, h), src, make([]byte, 256<<10)); err != nil {
		return sum, fmt.Errorf("send: %w", err)
	}
	h.Sum(sum[:0])
	return sum, nil
}
