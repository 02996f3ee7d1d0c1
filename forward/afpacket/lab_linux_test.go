package afpacket

import (
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb/lbtest/lab"
	"go.uber.org/goleak"
	"golang.org/x/net/bpf"
)

func TestMain(m *testing.M) {
	lab.Main(testRun(func() int {
		code := m.Run()
		if err := goleak.Find(); err != nil && code == 0 {
			println(err.Error())
			return 1
		}
		return code
	}))
}

type testRun func() int

func (f testRun) Run() int { return f() }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits for what a kernel or another goroutine does soon.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// wire is client eth0 - eth0 middle eth1 - eth0 server. Client and server share a network;
// middle has no address, so that only ports on it forward frames.
type wire struct {
	lab                    *lab.Lab
	client, middle, server *lab.Host
}

const (
	client4, server4 = "192.0.2.1", "192.0.2.2"
	client6, server6 = "2001:db8::1", "2001:db8::2"
)

func newWire(t testing.TB, mtu int) *wire {
	t.Helper()
	if err := lab.Unavailable(); err != nil {
		t.Skip(err)
	}
	l, err := lab.New()
	must(t, err)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &wire{lab: l}
	for _, h := range []struct {
		name string
		host **lab.Host
	}{{"client", &w.client}, {"middle", &w.middle}, {"server", &w.server}} {
		*h.host, err = l.Host(h.name)
		must(t, err)
	}
	must(t, l.Connect(w.client, lab.LinkConfig{Addrs: prefixes(client4+"/24", client6+"/64"), MTU: mtu},
		w.middle, lab.LinkConfig{Name: "eth0", MTU: mtu}))
	must(t, l.Connect(w.server, lab.LinkConfig{Addrs: prefixes(server4+"/24", server6+"/64"), MTU: mtu},
		w.middle, lab.LinkConfig{Name: "eth1", MTU: mtu}))
	return w
}

// passAll makes ports receive every frame, also those for other hosts, as a bridge does.
func passAll(t testing.TB, ports ...*Port) {
	t.Helper()
	for _, p := range ports {
		must(t, attach(p.in.fd, passAllProgram(t)))
	}
}

func passAllProgram(t testing.TB) []bpf.RawInstruction {
	t.Helper()
	prog, err := bpf.Assemble([]bpf.Instruction{bpf.RetConstant{Val: everyByte}})
	must(t, err)
	return prog
}

func openPorts(t testing.TB, h *lab.Host, cfg Config, n int) []*Port {
	t.Helper()
	var ports []*Port
	must(t, h.Do(func() (err error) {
		ports, err = OpenGroup(cfg, n)
		return err
	}))
	t.Cleanup(func() {
		for _, p := range ports {
			if err := p.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
		}
	})
	return ports
}

func openPort(t testing.TB, h *lab.Host, cfg Config) *Port {
	t.Helper()
	return openPorts(t, h, cfg, 1)[0]
}

// bridge carries all frames between the interfaces of middle until the ports are closed,
// by the end of the test at the latest.
func (w *wire) bridge(t testing.TB, cfg Config) (a, b *Port) {
	t.Helper()
	cfg.Interface = "eth0"
	a = openPort(t, w.middle, cfg)
	cfg.Interface = "eth1"
	b = openPort(t, w.middle, cfg)
	passAll(t, a, b)
	var carriers sync.WaitGroup
	carriers.Go(func() { carry(t, a, b) })
	carriers.Go(func() { carry(t, b, a) })
	t.Cleanup(func() {
		a.Close()
		b.Close()
		carriers.Wait()
	})
	return a, b
}

func carry(t testing.TB, from, to *Port) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	frames := make([]forward.Frame, 64)
	for {
		n, err := from.Recv(frames)
		if err == nil {
			_, err = to.Send(frames[:n])
		}
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
			return
		}
	}
}

// transfer sends random bytes through TCP and compares what came out.
func transfer(t testing.TB, from, to *lab.Host, addr string, size int64) {
	t.Helper()
	ln, err := to.Listen(t.Context(), "tcp", net.JoinHostPort(addr, "0"))
	must(t, err)
	defer ln.Close()
	type result struct {
		sum [32]byte
		n   int64
		err error
	}
	arrived := make(chan result, 1)
	go func() {
		var r result
		defer func() { arrived <- r }()
		c, err := ln.Accept()
		if err != nil {
			r.err = err
			return
		}
		defer c.Close()
		h := sha256.New()
		r.n, r.err = io.Copy(h, c)
		h.Sum(r.sum[:0])
	}()
	c, err := from.DialContext(t.Context(), "tcp", ln.Addr().String())
	if err != nil {
		ln.Close()
		<-arrived
		t.Fatal(err)
	}
	h := sha256.New()
	_, err = io.CopyBuffer(io.MultiWriter(c, h), io.LimitReader(rand.NewChaCha8([32]byte{1}), size), make([]byte, 256<<10))
	c.Close()
	r := <-arrived
	if err != nil || r.err != nil || r.n != size || r.sum != [32]byte(h.Sum(nil)) {
		t.Fatalf("sent %d bytes (%v), %d arrived (%v), sums %x and %x", size, err, r.n, r.err, h.Sum(nil), r.sum)
	}
}
