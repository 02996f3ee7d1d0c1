package site

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest"
	"github.com/golb/golb/sched"
)

var (
	mac = forward.MAC{2, 0, 0, 0, 0, 1} // of the balancer's interface
	vip = netip.MustParseAddrPort("192.0.2.80:80")
)

// site is a running balancer, its wire and its clock.
type site struct {
	*lb.Balancer
	wire   *lbtest.Wire
	clock  *lbtest.Clock
	denied DenyList

	mu     sync.Mutex
	failed []string // servers that refuse checks
}

// start runs the site until the test ends. The test is in a bubble of testing/synctest,
// whose clock makes the seconds between two checks pass at once.
func start(t *testing.T) *site {
	t.Helper()
	s := &site{wire: lbtest.NewWire(), clock: lbtest.NewClock(time.Now())}
	env := s.wire.Env(s.clock, mac)
	env.Admit, env.Dial = s.denied.Admit, s.dial
	balancer, stop, err := lbtest.Start(Config(), env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	s.Balancer = balancer
	time.Sleep(time.Second) // both servers have had their first check, not only one
	return s
}

// dial connects health checks with servers.
func (s *site) dial(_ context.Context, _, address string) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Contains(s.failed, address) {
		return nil, errors.New("connection refused")
	}
	near, far := net.Pipe()
	return near, far.Close()
}

// fail has servers refuse checks, and waits until that is known.
func (s *site) fail(servers ...string) {
	s.mu.Lock()
	s.failed = servers
	s.mu.Unlock()
	time.Sleep(6 * time.Second) // two checks at least
	synctest.Wait()
}

// connect sends a client's SYN, and returns the server that gets it, "" where none does.
func (s *site) connect(client string) string {
	from := netip.MustParseAddrPort(client)
	s.wire.Inject(lbtest.Packet{SrcMAC: lbtest.MACOf(from.Addr()), DstMAC: mac, Src: from, Dst: vip, Flags: forward.FlagSYN}.Frame())
	c, ok := s.Connection(lb.TCP, from, vip)
	if !ok {
		return ""
	}
	return c.Server.String()
}

// What a client sends arrives at a server's address and port, and the server's answer
// comes from the VIP.
func TestServersSeeTheirOwnAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		client := netip.MustParseAddrPort("198.51.100.7:40000")
		server := netip.MustParseAddrPort(s.connect(client.String()))
		var answer *lbtest.Frame
		s.wire.Station(lbtest.MACOf(client.Addr()), func(f lbtest.Frame) { answer = &f })
		s.wire.Inject(lbtest.Packet{
			SrcMAC: lbtest.MACOf(server.Addr()), DstMAC: mac, Src: server, Dst: client, Flags: forward.FlagSYN | forward.FlagACK,
		}.Frame())
		if answer == nil {
			t.Fatal("the client got no answer")
		}
		var p forward.Packet
		if r := forward.Parse(&forward.Frame{Buf: answer.Data, Tail: len(answer.Data)}, &p); r != forward.None {
			t.Fatal(r)
		}
		if from := netip.AddrPortFrom(p.Src.Netip(), p.SrcPort); from != vip {
			t.Errorf("the answer comes from %v, want %v", from, vip)
		}
	})
}

func TestClientsStayForTenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		first := s.connect("198.51.100.7:40000")
		if other := s.connect("198.51.100.8:40000"); other == first {
			t.Errorf("both clients are on %s", first)
		}
		s.clock.Advance(9 * time.Minute)
		if again := s.connect("198.51.100.7:40001"); again != first {
			t.Errorf("after 9 minutes a client went from %s to %s", first, again)
		}
		for range 11 { // a minute at a time, since connections have to end before their client is forgotten
			s.clock.Advance(time.Minute)
			s.Stats() // removes what has expired
		}
		if n := s.Stats().Connections; n != 0 {
			t.Errorf("%d clients and connections are remembered after 11 minutes", n)
		}
	})
}

func TestServersThatFailGetNoConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		s.fail("192.0.2.11:8080")
		for _, client := range []string{"198.51.100.1:4000", "198.51.100.2:4000"} {
			if got := s.connect(client); got != "192.0.2.12:8080" {
				t.Errorf("%s is on %q", client, got)
			}
		}
		if h := s.Health()[0].Servers[0]; h.Up || !strings.Contains(h.Reason, "refused") {
			t.Errorf("the server is up: %v, reason %q", h.Up, h.Reason)
		}
		s.fail() // none
		if !s.Health()[0].Servers[0].Up {
			t.Error("the server stays down")
		}
	})
}

func TestDenyListRefusesNewConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		s.denied.Set(netip.MustParsePrefix("198.51.100.0/24"))
		if got := s.connect("198.51.100.1:4000"); got != "" {
			t.Errorf("a client of the list is on %s", got)
		}
		if got := s.connect("203.0.113.1:4000"); got == "" {
			t.Error("another client is refused too")
		}
		if n := s.Stats().Drops[lb.NotAdmitted]; n != 1 {
			t.Errorf("%d frames counted as not admitted, want 1", n)
		}
		s.denied.Set()
		if got := s.connect("198.51.100.1:4000"); got == "" {
			t.Error("the client is refused after it was taken off the list")
		}
	})
}

// Hooks are on the way of packets.
func TestAdmitAllocatesNothing(t *testing.T) {
	var d DenyList
	d.Set(netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8::/32"))
	f := &sched.Flow{Src: netip.MustParseAddr("203.0.113.1").As16()}
	if n := testing.AllocsPerRun(100, func() { d.Admit(f) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
