package lb_test

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest"
)

// establish opens a connection and returns its server.
func (b *bench) establish(from, to netip.AddrPort) byte {
	server := b.picks(from, to)
	b.send(from, to, forward.FlagACK)
	return server
}

func TestDrainEndsNewConnectionsOnly(t *testing.T) {
	s := service(vip4, 2)
	s.Scheduler = "rr"
	b := start(t, lb.Config{Services: []lb.Service{s}})
	to, drained := netip.AddrPortFrom(vip4, 80), netip.AddrPortFrom(server4(1), 80)
	for n := range 4 {
		b.establish(client(n), to)
	}
	must(t, setState(b.balancer, refOf(to, drained), lb.StateDrain, 0))
	for n := range 4 {
		if got := b.send(client(n), to, forward.FlagACK); len(got) != 1 || forward.MAC(got[0].Data) == clientMAC {
			t.Errorf("connection %d was cut", n)
		}
	}
	for n := 10; n < 14; n++ {
		if got := b.establish(client(n), to); got != 2 {
			t.Errorf("a new connection went to server %d, want 2", got)
		}
	}
	must(t, setState(b.balancer, refOf(to, drained), lb.StateActive, 0))
	got := []byte{b.establish(client(20), to), b.establish(client(21), to)}
	if slices.Sort(got); !slices.Equal(got, []byte{1, 2}) {
		t.Errorf("active again: new connections went to %v, want 1 and 2", got)
	}
}

func TestDrainedIsToldWhenTheLastConnectionEnded(t *testing.T) {
	for name, tt := range map[string]struct {
		within time.Duration
		reason string
	}{
		"by itself":       {0, "no connection is left"},
		"at the deadline": {30 * time.Second, "its time is over: 1 connections were left and are cut"},
	} {
		t.Run(name, func(t *testing.T) {
			drained := make(chan lb.Event, 1)
			b := startWith(t, lb.Config{Services: []lb.Service{service(vip4, 1)}}, func(e lb.Event) {
				if e.Kind == lb.EventDrained {
					drained <- e
				}
			})
			to, server := netip.AddrPortFrom(vip4, 80), netip.AddrPortFrom(server4(1), 80)
			for range 2 { // once more after it was active again
				must(t, setState(b.balancer, refOf(to, server), lb.StateActive, 0))
				b.establish(client(1), to)
				must(t, setState(b.balancer, refOf(to, server), lb.StateDrain, tt.within))
				if tt.within == 0 {
					b.clock.Advance(16 * time.Minute) // past the timeout of the connection
				} else {
					b.clock.Advance(tt.within)
				}
				select {
				case e := <-drained:
					if e.Reason != tt.reason {
						t.Errorf("reason %q, want %q", e.Reason, tt.reason)
					}
				case <-time.After(time.Minute):
					t.Fatal("nobody was told")
				}
				if n := b.balancer.Stats().Connections; n != 0 {
					t.Errorf("%d connections are left", n)
				}
			}
		})
	}
}

func TestHaltResetsConnectionsAndForgetsTheirClients(t *testing.T) {
	s := service(vip4, 2)
	s.Scheduler, s.Persistence.Timeout = "rr", 5*time.Minute
	cfg := lb.Config{Services: []lb.Service{s}}
	cfg.Settings.IPVSCompat = true // where weight 0 alone would not drive clients off
	b := start(t, cfg)
	to := netip.AddrPortFrom(vip4, 80)
	was := b.establish(client(1), to)
	must(t, setState(b.balancer, refOf(to, netip.AddrPortFrom(server4(int(was)), 80)), lb.StateHalt, 0))
	got := slices.DeleteFunc(b.send(client(1), to, forward.FlagACK), func(f lbtest.Frame) bool {
		return f.Data[14+20+13] == forward.FlagSYN // that asks the client for a segment
	})
	if len(got) != 1 || forward.MAC(got[0].Data) != clientMAC || got[0].Data[14+20+13]&forward.FlagRST == 0 {
		t.Errorf("the client's next segment was answered by %v, want a reset", got)
	}
	if now := b.establish(client(1), to); now == was || now == 0 {
		t.Errorf("the client's next connection went to server %d, which is halted", now)
	}
}

func TestOperatingOnWhatIsNotThereFails(t *testing.T) {
	b := start(t, lb.Config{Services: []lb.Service{service(vip4, 1)}})
	to, server := netip.AddrPortFrom(vip4, 80), netip.AddrPortFrom(server4(1), 80)
	for name, err := range map[string]error{
		"service": b.balancer.SetWeight(lb.ServerRef{Service: "udp " + to.String(), Server: server.String()}, 1),
		"server":  b.balancer.SetWeight(refOf(to, netip.AddrPortFrom(server4(2), 80)), 1),
		"weight":  b.balancer.SetWeight(refOf(to, server), 65536),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestConnectionRatesAreKept(t *testing.T) {
	s := service(vip4, 1)
	s.MaxRate, s.MaxClientRate = 10, 4
	b := start(t, lb.Config{Services: []lb.Service{s}})
	to := netip.AddrPortFrom(vip4, 80)
	opened := func(hosts, each int) (n int) {
		for h := range hosts {
			for i := range each {
				from := netip.AddrPortFrom(client(h).Addr(), uint16(2000+b.next+i))
				if b.picks(from, to) != 0 {
					n++
				}
			}
		}
		b.next += each
		return n
	}
	for _, step := range []struct {
		wait        time.Duration
		hosts, each int
		want        int
	}{
		{0, 1, 9, 4},           // one client has its own rate,
		{0, 5, 3, 6},           // all clients together the service's,
		{time.Second, 4, 2, 8}, // and both come back with time.
		{time.Hour, 6, 4, 10},  // No more than a second's worth is saved up.
	} {
		b.clock.Advance(step.wait)
		if got := opened(step.hosts, step.each); got != step.want {
			t.Errorf("after %v: %d clients opened %d of %d connections each, want %d in all", step.wait, step.hosts, got, step.each, step.want)
		}
	}
}

func TestAFullTableKeepsEstablishedConnectionsAndSpreadsNewOnes(t *testing.T) {
	s := service(vip4, 3)
	b := start(t, lb.Config{Services: []lb.Service{s}})
	to := netip.AddrPortFrom(vip4, 80)
	was := map[int]byte{}
	for n := range tableSize {
		was[n] = b.establish(client(n), to)
	}
	seen := map[byte]int{}
	for n := tableSize; n < tableSize+300; n++ {
		first := b.picks(client(n), to)
		seen[first]++
		for range 2 {
			if got := b.send(client(n), to, forward.FlagACK); len(got) != 1 || got[0].Data[5] != first {
				t.Fatalf("connection %d, which the table has no room for, left server %d", n, first)
			}
		}
	}
	if len(seen) != 3 || seen[0] != 0 {
		t.Errorf("new connections were spread as %v, want over servers 1 to 3", seen)
	}
	for n := range tableSize {
		if got := b.send(client(n), to, forward.FlagACK); len(got) != 1 || got[0].Data[5] != was[n] {
			t.Fatalf("established connection %d left server %d", n, was[n])
		}
	}
}

func TestAFullTableDropsHalfOpenConnectionsFirst(t *testing.T) {
	b := start(t, lb.Config{Services: []lb.Service{service(vip4, 1)}})
	to := netip.AddrPortFrom(vip4, 80)
	for n := range tableSize + 500 {
		b.picks(client(n), to) // SYN after SYN, and nothing else
	}
	b.establish(client(60000), to)
	if c, ok := b.balancer.Connection(lb.TCP, client(60000), to); !ok || c.State != "ESTABLISHED" {
		t.Errorf("a connection that was opened in a SYN flood is %+v", c)
	}
	if n := b.balancer.Stats().Connections; n > tableSize {
		t.Errorf("the table has %d connections, more than its %d", n, tableSize)
	}
}

func TestServersOfAServiceByMarkAreOperatedOnToo(t *testing.T) {
	s := service(vip4, 2)
	s.VIP, s.Port, s.Scheduler, s.Mark = netip.Addr{}, 0, "rr", 7
	s.Match = []lb.Match{{VIP: lb.VIP{Prefix: netip.PrefixFrom(vip4, 32)}, Protocols: []lb.Protocol{lb.TCP}}}
	b := start(t, lb.Config{Services: []lb.Service{s}})
	server := netip.AddrPortFrom(server4(1), 0).String()
	must(t, b.balancer.Drain(lb.ServerRef{Service: "mark 7", Server: server}, 0))
	for n := range 4 {
		if got := b.establish(client(n), netip.AddrPortFrom(vip4, uint16(80+n))); got != 2 {
			t.Errorf("a new connection went to server %d, want 2", got)
		}
	}
	if err := b.balancer.SetWeight(lb.ServerRef{Service: "mark 8", Server: server}, 1); !errors.Is(err, lb.ErrNoService) || !strings.Contains(err.Error(), "mark 8") {
		t.Errorf("error %v of a mark that is none", err)
	}
}
