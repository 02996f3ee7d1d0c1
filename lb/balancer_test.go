package lb_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest"
)

var (
	balancerMAC = forward.MAC{2, 0, 0, 0, 0, 1}
	clientMAC   = forward.MAC{2, 0, 0, 0, 0, 0xfe}
	vip4        = netip.MustParseAddr("192.0.2.80")
	vip6        = netip.MustParseAddr("2001:db8::80")
)

// serverMAC is that of the server at address ….N.
func serverMAC(a netip.Addr) forward.MAC {
	b := a.As16()
	return forward.MAC{2, 0, 0, 0, 1, b[15]}
}

func server4(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}) }
func server6(n int) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xfd, 15: byte(n)})
}

// bench is a balancer on a wire, with servers that only count.
type bench struct {
	t        *testing.T
	wire     *lbtest.Wire
	clock    *lbtest.Clock
	balancer *lb.Balancer
	got      map[forward.MAC][]lbtest.Frame
	next     int
}

// tableSize is how many connections a balancer under test has room for.
const tableSize = 1 << 12

// start runs a balancer until the test ends.
func start(t *testing.T, cfg lb.Config) *bench {
	t.Helper()
	return startWith(t, cfg, func(lb.Event) {})
}

func startWith(t *testing.T, cfg lb.Config, onEvent func(lb.Event)) *bench {
	t.Helper()
	return startIn(t, cfg, onEvent, func(*lb.Env) {})
}

// startIn is startWith in a world that edit has changed.
func startIn(t *testing.T, cfg lb.Config, onEvent func(lb.Event), edit func(*lb.Env)) *bench {
	t.Helper()
	ready := make(chan struct{})
	b := launch(t, cfg, func(e lb.Event) {
		if e.Kind == lb.EventReady {
			close(ready)
		}
		onEvent(e)
	}, edit)
	<-ready
	return b
}

// launch is startIn that does not wait until the balancer is ready.
func launch(t *testing.T, cfg lb.Config, onEvent func(lb.Event), edit func(*lb.Env)) *bench {
	t.Helper()
	b := &bench{t: t, wire: lbtest.NewWire(), clock: lbtest.NewClock(time.Unix(1e9, 0)), got: map[forward.MAC][]lbtest.Frame{}}
	b.wire.Sniff(func(f lbtest.Frame) {
		mac := forward.MAC(f.Data)
		b.got[mac] = append(b.got[mac], f)
	})
	cfg.Interfaces, cfg.Workers, cfg.MaxConnections = []string{"wire0"}, 1, tableSize
	env := b.env()
	env.OnEvent = onEvent
	edit(&env)
	var err error
	if b.balancer, err = lb.New(cfg, env); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.balancer.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return b
}

// refOf names a server of the TCP service of a VIP.
func refOf(vip, server netip.AddrPort) lb.ServerRef {
	return lb.ServerRef{Service: "tcp " + vip.String(), Server: server.String()}
}

// setState gives a server one of the states.
func setState(b *lb.Balancer, name lb.ServerRef, state lb.ServerState, within time.Duration) error {
	switch state {
	case lb.StateDrain:
		return b.Drain(name, within)
	case lb.StateHalt:
		return b.Halt(name)
	}
	return b.Activate(name)
}

// apply reloads the balancer.
func (b *bench) apply(cfg lb.Config) error {
	cfg.Interfaces, cfg.Workers, cfg.MaxConnections = []string{"wire0"}, 1, tableSize
	return b.balancer.Apply(context.Background(), cfg)
}

func (b *bench) env() lb.Env {
	return lb.Env{
		Now: b.clock.Now,
		OpenPorts: func(c lb.PortConfig) ([]lb.Port, error) {
			return []lb.Port{b.wire.Port(balancerMAC, 1500)}, nil
		},
		OpenLink: func(lb.LinkConfig) (lb.Link, error) {
			return &lbtest.Link{MAC: func(a netip.Addr) (forward.MAC, bool) { return serverMAC(a), true }}, nil
		},
		Route: func(to netip.Addr) (lb.Route, error) {
			if to.Is4() {
				return lb.Route{Interface: "wire0", Source: server4(200)}, nil
			}
			return lb.Route{Interface: "wire0", Source: server6(200)}, nil
		},
	}
}

// send injects a TCP segment of a client and returns the frames that the servers
// got for it.
func (b *bench) send(src, dst netip.AddrPort, flags uint8) []lbtest.Frame {
	return b.inject(lbtest.Packet{SrcMAC: clientMAC, DstMAC: balancerMAC, Src: src, Dst: dst, Flags: flags}.Frame())
}

// inject sends a frame and returns those that came of it.
func (b *bench) inject(f lbtest.Frame) []lbtest.Frame {
	clear(b.got)
	b.wire.Inject(f)
	var out []lbtest.Frame
	for mac, frames := range b.got {
		if mac != balancerMAC {
			out = append(out, frames...)
		}
	}
	return out
}

// picks says which server a new connection of the client goes to: the last byte of
// the server's MAC, 0 where none.
func (b *bench) picks(client, vip netip.AddrPort) byte {
	frames := b.send(client, vip, forward.FlagSYN)
	if len(frames) != 1 {
		return 0
	}
	return frames[0].Data[5]
}

func client(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(100 + n>>8), byte(n)}), uint16(1024+n%60000))
}

func client6(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 14: byte(n >> 8), 15: byte(n)}), 4000)
}

// service is a service of servers 1 to n, whose health nobody checks.
func service(vip netip.Addr, n int) lb.Service {
	s := lb.Service{VIP: vip, Port: 80, Check: lb.Check{Type: "none"}}
	for i := 1; i <= n; i++ {
		addr := server4(i)
		if vip.Is6() {
			addr = server6(i)
		}
		s.Servers = append(s.Servers, lb.Server{Address: addr})
	}
	return s
}

func TestDSRChangesMACsAndTTLOnly(t *testing.T) {
	for _, vip := range []netip.Addr{vip4, vip6} {
		b := start(t, lb.Config{Services: []lb.Service{service(vip, 1)}})
		from := client(1)
		if vip.Is6() {
			from = client6(1)
		}
		p := lbtest.Packet{SrcMAC: clientMAC, DstMAC: balancerMAC, Src: from, Dst: netip.AddrPortFrom(vip, 80), Flags: forward.FlagSYN, TTL: 9}
		var got []lbtest.Frame
		b.wire.Station(forward.MAC{2, 0, 0, 0, 1, 1}, func(f lbtest.Frame) { got = append(got, f) })
		b.wire.Inject(p.Frame())
		p.SrcMAC, p.DstMAC, p.TTL = balancerMAC, forward.MAC{2, 0, 0, 0, 1, 1}, 8
		if want := p.Frame(); len(got) != 1 || string(got[0].Data) != string(want.Data) {
			t.Errorf("%s: server got %+v\nwant %+v", vip, got, want)
		}
	}
}

func TestWRRSharesByWeight(t *testing.T) {
	s := service(vip4, 3)
	s.Scheduler = "wrr"
	for i := range s.Servers {
		s.Servers[i].Weight = new(i + 1)
	}
	b := start(t, lb.Config{Services: []lb.Service{s}})
	shares := map[byte]int{}
	for n := range 600 {
		shares[b.picks(client(n), netip.AddrPortFrom(vip4, 80))]++
	}
	for i := 1; i <= 3; i++ {
		if shares[byte(i)] != 100*i {
			t.Errorf("server %d got %d of 600 connections, want %d", i, shares[byte(i)], 100*i)
		}
	}
}

func TestConnectionsKeepTheirServer(t *testing.T) {
	s := service(vip4, 3)
	s.Scheduler = "rr"
	b := start(t, lb.Config{Services: []lb.Service{s}})
	to := netip.AddrPortFrom(vip4, 80)
	first := map[int]byte{}
	for n := range 30 {
		first[n] = b.picks(client(n), to)
	}
	for n := range 30 {
		frames := b.send(client(n), to, forward.FlagACK)
		if len(frames) != 1 || frames[0].Data[5] != first[n] {
			t.Errorf("client %d: ACK went to %d frames' servers, its SYN to %d", n, len(frames), first[n])
		}
	}
}

func TestApplyKeepsConnectionsAndMovesNewOnes(t *testing.T) {
	cfg := lb.Config{Services: []lb.Service{service(vip4, 2)}}
	cfg.Services[0].Scheduler = "rr"
	b := start(t, cfg)
	to := netip.AddrPortFrom(vip4, 80)
	before := map[int]byte{}
	for n := range 10 {
		before[n] = b.picks(client(n), to)
		b.send(client(n), to, forward.FlagACK)
	}
	next := lb.Config{Interfaces: []string{"wire0"}, Workers: 1, MaxConnections: 1 << 12, Services: []lb.Service{service(vip4, 2)}}
	next.Services[0].Scheduler = "rr"
	next.Services[0].Servers[0].Weight = new(0)
	if err := b.balancer.Apply(context.Background(), next); err != nil {
		t.Fatal(err)
	}
	for n := range 10 {
		frames := b.send(client(n), to, forward.FlagACK)
		if len(frames) != 1 || frames[0].Data[5] != before[n] {
			t.Errorf("connection %d left server %d", n, before[n])
		}
	}
	for n := 100; n < 110; n++ {
		if got := b.picks(client(n), to); got != 2 {
			t.Errorf("new connection %d went to server %d, want 2: server 1 has weight 0", n, got)
		}
	}
}

func TestConnectionsOfARemovedServerEndAtOnce(t *testing.T) {
	b := start(t, lb.Config{Services: []lb.Service{service(vip4, 1)}})
	to := netip.AddrPortFrom(vip4, 80)
	b.picks(client(1), to)
	next := lb.Config{Interfaces: []string{"wire0"}, Workers: 1, MaxConnections: 1 << 12, Services: []lb.Service{service(vip4, 2)}}
	next.Services[0].Servers = next.Services[0].Servers[1:]
	if err := b.balancer.Apply(context.Background(), next); err != nil {
		t.Fatal(err)
	}
	if got := b.picks(client(1), to); got != 2 {
		t.Errorf("a new SYN on the removed server's connection went to server %d, want 2", got)
	}
}

func TestCountsFollowConnectionsToTheirEnd(t *testing.T) {
	b := start(t, lb.Config{Services: []lb.Service{service(vip4, 1)}})
	to := netip.AddrPortFrom(vip4, 80)
	counts := func() string {
		s := b.balancer.Stats()
		r := s.Services[0].Servers[0]
		return fmt.Sprintf("%d active, %d inactive, %d in table", r.Active, r.Inactive, s.Connections)
	}
	for i, step := range []struct {
		do   func()
		want string
	}{
		{func() { b.send(client(1), to, forward.FlagSYN) }, "1 active, 0 inactive, 1 in table"},
		{func() { b.send(client(1), to, forward.FlagACK) }, "1 active, 0 inactive, 1 in table"},
		{func() { b.send(client(1), to, forward.FlagFIN|forward.FlagACK) }, "0 active, 1 inactive, 1 in table"},
		{func() { b.clock.Advance(119 * time.Second) }, "0 active, 1 inactive, 1 in table"},
		{func() { b.clock.Advance(2 * time.Second) }, "0 active, 0 inactive, 0 in table"},
	} {
		step.do()
		if got := counts(); got != step.want {
			t.Fatalf("step %d: %s, want %s", i, got, step.want)
		}
	}
}

func TestDropsAreCountedByReason(t *testing.T) {
	b := start(t, lb.Config{Services: []lb.Service{service(vip4, 1)}})
	to := netip.AddrPortFrom(vip4, 80)
	b.send(client(1), to, forward.FlagACK)
	b.send(client(1), netip.AddrPortFrom(vip4, 81), forward.FlagSYN)
	b.send(client(1), netip.AddrPortFrom(server4(9), 80), forward.FlagSYN)
	for _, reason := range []lb.Reason{lb.NoConnection, lb.NoService, lb.NotVIP} {
		if got := b.balancer.Stats().Drops[reason]; got != 1 {
			t.Errorf("%s: %d, want 1", reason, got)
		}
	}
}

func TestRunLeavesNoGoroutine(t *testing.T) {
	defer goleak.VerifyNone(t)
	t.Run("balancer", func(t *testing.T) {
		b := start(t, lb.Config{Services: []lb.Service{service(vip4, 1)}})
		b.picks(client(1), netip.AddrPortFrom(vip4, 80))
	})
}
