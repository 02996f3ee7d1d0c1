package benchmarks

import (
	"context"
	"net"
	"net/netip"
	"testing"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
)

// loopPort is a port in memory. Recv gives the worker what the benchmark makes up,
// and Send swallows it.
type loopPort struct {
	fill   func(frames []forward.Frame) // makes one packet in each
	sent   func(frames []forward.Frame) // may be nil
	bufs   []byte
	gso    bool // takes super-packets, so that golb makes some
	left   int
	work   chan int // packets to come
	done   chan struct{}
	closed chan struct{}
}

// slot is the memory of one frame: as an Ethernet frame has it, and not a power of
// two, so that the heads of frames do not fall on the same lines of the cache.
const slot = 2048 + 64

// batch is how many frames a worker asks for at most.
const batch = 64

func newLoopPort() *loopPort {
	return &loopPort{
		bufs: make([]byte, slot*batch), work: make(chan int), done: make(chan struct{}), closed: make(chan struct{}),
	}
}

// run has n packets forwarded.
func (p *loopPort) run(n int) {
	p.work <- n
	<-p.done
}

func (p *loopPort) Recv(frames []forward.Frame) (int, error) {
	for p.left == 0 {
		select {
		case p.left = <-p.work:
			// The packets of the last call are through only now.
		case <-p.closed:
			return 0, net.ErrClosed
		}
	}
	if p.left < 0 {
		p.left = 0
		p.done <- struct{}{}
		return 0, nil
	}
	n := min(len(frames), p.left, batch)
	for i := range n {
		p.lend(&frames[i], i)
	}
	p.fill(frames[:n])
	if p.left -= n; p.left == 0 {
		p.left = -1
	}
	return n, nil
}

// lend makes f the empty slot i. It writes word by word: whole frames would be copied
// in pieces other than those in which they are written and read, which costs more
// than all else here.
func (p *loopPort) lend(f *forward.Frame, i int) {
	f.Buf = p.bufs[i*slot : (i+1)*slot : (i+1)*slot]
	f.Head, f.Tail = forward.Headroom, forward.Headroom
	f.Offload = forward.Offload{}
}

func (p *loopPort) Send(frames []forward.Frame) (int, error) {
	if p.sent != nil {
		p.sent(frames)
	}
	return len(frames), nil
}

func (p *loopPort) GSO() (tcp, udp bool)                   { return p.gso, p.gso }
func (p *loopPort) Wake()                                  {}
func (p *loopPort) SetFilter(forward.Filter) (bool, error) { return true, nil }
func (p *loopPort) Stats() forward.PortStats               { return forward.PortStats{} }
func (p *loopPort) MAC() forward.MAC                       { return forward.MAC([]byte(portMAC)) }
func (p *loopPort) MTU() int                               { return 1500 }
func (p *loopPort) Close() error                           { close(p.closed); return nil }

// start runs a balancer with one worker on the port until the benchmark ends.
func (p *loopPort) start(b *testing.B, cfg lb.Config) *lb.Balancer {
	b.Helper()
	return startOn(b, cfg, lb.Env{}, p)
}

// startOn is start for a worker on each of several ports.
func startOn(b *testing.B, cfg lb.Config, env lb.Env, ports ...*loopPort) *lb.Balancer {
	b.Helper()
	ready := make(chan struct{})
	cfg.Interfaces, cfg.Workers = []string{"memory"}, len(ports)
	env.OpenPorts = func(lb.PortConfig) (list []lb.Port, _ error) {
		for _, p := range ports {
			list = append(list, p)
		}
		return list, nil
	}
	env.OpenLink = func(lb.LinkConfig) (lb.Link, error) { return everybody{}, nil }
	env.Route = func(a netip.Addr) (lb.Route, error) {
		source := netip.MustParseAddr("192.0.2.1")
		if a.Is6() {
			source = netip.MustParseAddr("2001:db8::1")
		}
		return lb.Route{Interface: "memory", Source: source}, nil
	}
	env.OnEvent = func(e lb.Event) {
		if e.Kind == lb.EventReady {
			close(ready)
		}
	}
	x, err := lb.New(cfg, env)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- x.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	<-ready
	return x
}

// everybody is a link on which all addresses have a MAC.
type everybody struct{}

func (everybody) Run(ctx context.Context) error                 { <-ctx.Done(); return nil }
func (everybody) Stats() lb.LinkStats                           { return lb.LinkStats{} }
func (everybody) SetVIPs([]lb.LinkVIP) error                    { return nil }
func (everybody) Probe(context.Context, ...netip.Addr) error    { return nil }
func (everybody) Announce(context.Context, ...netip.Addr) error { return nil }
func (everybody) Close() error                                  { return nil }
func (everybody) Resolve(a netip.Addr, changed func(mac [6]byte, ok bool)) (stop func()) {
	changed([6]byte([]byte(serverMAC(a))), true)
	return func() {}
}
