package lb

import (
	"net/netip"
	"testing"
	"time"

	"github.com/golb/golb/forward"
)

// openOne sends the first n packets of an honest connection from an address of its own.
func (x *floodWorld) openOne(n int) netip.AddrPort {
	from := x.forged()
	server := 0
	for i, s := range honestSteps[:n] {
		if !s.client {
			x.toClient(TCP, from, 80, server, s.flags)
		} else if at := x.toServer(TCP, from, 80, s.flags); i == 0 {
			server = at
		}
	}
	return from
}

// lives reports whether a connection to the VIP is in the table.
func (x *floodWorld) lives(from netip.AddrPort) bool {
	_, ok := x.b.Connection(TCP, from, netip.AddrPortFrom(x.vip, 80))
	return ok
}

// TestWhatIsWorthLessGoesFirst fills half of a table with connections, and the rest with ones
// that have got further; new ones end the former, and the oldest of them, and nothing established.
func TestWhatIsWorthLessGoesFirst(t *testing.T) {
	const syn, handshake, answered, closed = 1, 3, 7, 10
	vip := netip.MustParseAddr("192.0.2.80")
	for _, tt := range []struct {
		name        string
		less, more  int // steps of honest connections
		given       string
		persistence time.Duration
	}{
		{"half open before without data", syn, handshake, "half_open", 0},
		{"half open before established", syn, answered, "half_open", 0},
		{"without data before established", handshake, answered, "no_data", 0},
		{"over before half open", closed, syn, "over", 0},
		{"over before established", closed, answered, "over", 0},
		{"persistent: half open before established", syn, answered, "half_open", time.Minute},
		{"persistent: without data before established", handshake, answered, "no_data", time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newFloodWorld(t, vip, NAT, tt.persistence)
			each := floodTable / 2
			if tt.persistence != 0 {
				each /= 2 // templates take the rest
			}
			var less, more []netip.AddrPort
			for range each {
				more = append(more, x.openOne(tt.more))
				less = append(less, x.openOne(tt.less))
				if len(less)%128 == 0 {
					x.advance(1)
				}
			}
			if n := x.b.plane.InUse(); n != floodTable {
				t.Fatalf("%d entries", n)
			}
			const fresh = 256
			for range fresh {
				if from := x.openOne(syn); !x.lives(from) {
					t.Fatal("a new connection found no room")
				}
			}
			lost := 0
			for _, from := range more {
				if !x.lives(from) {
					lost++
				}
			}
			if most := fresh / 10; lost > most || lost > 0 && tt.more == answered {
				t.Errorf("%d connections that are worth more were given up: %v", lost, x.b.Stats().GivenUp)
			}
			young := 0
			for _, from := range less[each/2:] {
				if !x.lives(from) {
					young++
				}
			}
			if young > fresh/10 || x.b.Stats().GivenUp[tt.given] < fresh/2 {
				t.Errorf("given up %v, of the younger half %d", x.b.Stats().GivenUp, young)
			}
			if err := x.audit(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestEstablishedConnectionsGoLast: where a table has nothing else, a new connection through
// NAT gets the place of one, and those that come after it end each other sooner than the old.
func TestEstablishedConnectionsGoLast(t *testing.T) {
	x := newFloodWorld(t, netip.MustParseAddr("192.0.2.80"), NAT, 0)
	for range floodTable {
		x.openOne(7)
	}
	x.advance(31 * ticksPerSecond)
	const fresh = 2000
	for range fresh {
		if from := x.openOne(7); !x.lives(from) {
			t.Fatal("a new connection found no room")
		}
	}
	if given := x.b.Stats().GivenUp; given["established"] == 0 || given["established"] > fresh/5 {
		t.Errorf("for %d new connections were given up %v", fresh, given)
	}
}

// TestAPickedUpConnectionHasItsPort: a connection that began without state, at a server that
// takes all ports, is entered with the port that it goes to.
func TestAPickedUpConnectionHasItsPort(t *testing.T) {
	vip := netip.MustParseAddr("192.0.2.80")
	for name, s := range map[string]Service{
		"persistent": {VIP: vip, Port: 0, Persistence: Persistence{Timeout: time.Minute}},
		"match":      {Name: "all", Mark: 7, Match: []Match{{VIP: VIP{Prefix: netip.PrefixFrom(vip, 32)}, Protocols: []Protocol{TCP}}}},
	} {
		t.Run(name, func(t *testing.T) {
			s.Protocol, s.Method, s.Scheduler, s.Check = TCP, DSR, "rr", Check{Type: "none"}
			if s.Mark != 0 {
				s.Protocol = 0
			}
			s.Servers = []Server{{Address: floodServer(0, false)}}
			r := newRig(t, Config{MaxConnections: floodTable, Workers: 1, Services: []Service{s}})
			x := &floodWorld{rig: r, t: t, vip: vip, method: DSR}
			at := netip.AddrPortFrom(vip, 8080)
			late := netip.MustParseAddrPort("198.51.100.1:4000")
			for i := 0; x.b.plane.InUse() < floodTable; i++ {
				from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{20, 1, byte(i >> 8), byte(i)}), 1024)
				for _, flags := range []uint8{forward.FlagSYN, forward.FlagACK, forward.FlagACK, forward.FlagACK} {
					x.toServer(TCP, from, 8080, flags)
				}
			}
			if x.toServer(TCP, late, 8080, forward.FlagSYN) != 0 || x.b.Stats().Stateless != 1 {
				t.Fatalf("a connection without room was forwarded without state %d times", x.b.Stats().Stateless)
			}
			if _, ok := x.b.Connection(TCP, late, at); ok {
				t.Fatal("it is in the table")
			}
			x.b.DeleteConnections(ConnectionFilter{})
			if x.toServer(TCP, late, 8080, forward.FlagACK) != 0 {
				t.Fatal("its next packet was not forwarded")
			}
			if c, ok := x.b.Connection(TCP, late, at); !ok || c.Server.Port() != 8080 {
				t.Errorf("it is %+v, %v", c, ok)
			}
		})
	}
}
