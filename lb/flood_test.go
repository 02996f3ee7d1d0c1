package lb

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/golb/golb/forward"
)

// Floods at a full table, with an honest client beside, in virtual time.

const (
	floodTable = 4096
	floodRate  = 5 // packets a millisecond
	floodFor   = 4500 * time.Millisecond
)

// floodWorld is a balancer between honest clients, whose packets take a twentieth of a second
// to their server and as long back, and a flood.
type floodWorld struct {
	*rig
	t      *testing.T
	rng    *rand.Rand
	vip    netip.Addr
	method Method
	open   []*honestClient
	lost   []string // what happened to established connections and new ones
	worked int
}

const floodServers = 3

func floodServer(i int, v6 bool) netip.Addr {
	if v6 {
		return netip.AddrFrom16([16]byte{0: 0xfd, 15: byte(i + 1)})
	}
	return netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)})
}

// newFloodWorld has services for HTTP and DNS on a VIP.
func newFloodWorld(t *testing.T, vip netip.Addr, m Method, persistence time.Duration) *floodWorld {
	cfg := Config{MaxConnections: floodTable, Workers: 1}
	for _, to := range []struct {
		proto Protocol
		port  uint16
	}{{TCP, 80}, {UDP, 53}} {
		s := Service{VIP: vip, Protocol: to.proto, Port: to.port, Method: m, Scheduler: "wlc", Check: Check{Type: "none"}}
		s.Persistence.Timeout = persistence
		for i := range floodServers {
			s.Servers = append(s.Servers, Server{Address: floodServer(i, vip.Is6()), Port: to.port})
		}
		cfg.Services = append(cfg.Services, s)
	}
	return &floodWorld{rig: newRig(t, cfg), t: t, rng: rand.New(rand.NewPCG(1, 1)), vip: vip, method: m}
}

// toServer sends a client's packet, and returns the server that it reached, -1 for none.
func (x *floodWorld) toServer(proto Protocol, client netip.AddrPort, port uint16, flags uint8) int {
	_, sent := x.handle(0, rigFrame(rigClient, proto, client, netip.AddrPortFrom(x.vip, port), flags))
	for i := range floodServers {
		if len(sent) == 1 && forward.MAC(sent[0]) == rigServerMAC(floodServer(i, x.vip.Is6())) {
			return i
		}
	}
	return -1
}

// toClient sends what a server answers, where golb sees that, and reports whether it reached
// the client.
func (x *floodWorld) toClient(proto Protocol, client netip.AddrPort, port uint16, server int, flags uint8) bool {
	if x.method != NAT {
		return true
	}
	from := netip.AddrPortFrom(floodServer(server, x.vip.Is6()), port)
	_, sent := x.handle(0, rigFrame(rigServerMAC(from.Addr()), proto, from, client, flags))
	if len(sent) != 1 || forward.MAC(sent[0]) != rigClient {
		return false
	}
	var p forward.Packet
	return forward.Parse(&forward.Frame{Buf: sent[0], Tail: len(sent[0])}, &p) == forward.None && p.Src == forward.AddrFrom(x.vip) && p.SrcPort == port
}

// address is a random client's.
func (x *floodWorld) address() netip.Addr {
	if x.vip.Is6() {
		b := [16]byte{0x20, 0x01, 0x0d, 0xb8, 0xff}
		binary.BigEndian.PutUint64(b[8:], x.rng.Uint64())
		return netip.AddrFrom16(b)
	}
	return netip.AddrFrom4([4]byte{byte(20 + x.rng.IntN(100)), byte(x.rng.IntN(256)), byte(x.rng.IntN(256)), byte(x.rng.IntN(256))})
}

func (x *floodWorld) forged() netip.AddrPort {
	return netip.AddrPortFrom(x.address(), uint16(1024+x.rng.IntN(60000)))
}

// honestClient is a connection of an honest client: its packets one after the other.
type honestClient struct {
	addr   netip.AddrPort
	begun  time.Time
	step   int
	server int
}

// honestStep is a packet of an honest connection: from the client, or else from its server.
type honestStep struct {
	at     time.Duration
	client bool
	flags  uint8
}

const psh = 0x08

// honestSteps open a connection, ask and are answered, and close it.
var honestSteps = []honestStep{
	{0, true, forward.FlagSYN}, {50 * time.Millisecond, false, forward.FlagSYN | forward.FlagACK},
	{100 * time.Millisecond, true, forward.FlagACK}, {100 * time.Millisecond, true, forward.FlagACK | psh},
	{150 * time.Millisecond, false, forward.FlagACK}, {150 * time.Millisecond, false, forward.FlagACK | psh},
	{200 * time.Millisecond, true, forward.FlagACK}, {establishedAt, true, forward.FlagACK | forward.FlagFIN},
	{250 * time.Millisecond, false, forward.FlagACK | forward.FlagFIN}, {300 * time.Millisecond, true, forward.FlagACK},
}

// establishedAt is when an honest connection has what it asked for.
const establishedAt = 201 * time.Millisecond

// begin opens an honest connection.
func (x *floodWorld) begin() *honestClient {
	n := len(x.open) + x.worked + len(x.lost)
	a := netip.AddrFrom4([4]byte{198, 51, byte(n >> 8), byte(n)})
	if x.vip.Is6() {
		a = netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 1, 14: byte(n >> 8), 15: byte(n)})
	}
	c := &honestClient{addr: netip.AddrPortFrom(a, 40000), begun: x.now}
	x.open = append(x.open, c)
	return c
}

// send sends a packet of c; it fails where that does not arrive, or at another server.
func (x *floodWorld) send(c *honestClient, s honestStep) error {
	if !s.client {
		if !x.toClient(TCP, c.addr, 80, c.server, s.flags) {
			return fmt.Errorf("%v: flags %#x of server %d do not reach the client", c.addr, s.flags, c.server)
		}
		return nil
	}
	at := x.toServer(TCP, c.addr, 80, s.flags)
	if c.step == 0 {
		c.server = at
	}
	if at < 0 || at != c.server {
		return fmt.Errorf("%v: flags %#x reach server %d, the first packet reached %d", c.addr, s.flags, at, c.server)
	}
	return nil
}

// pass lets a millisecond pass, in which honest clients send what it is time for.
func (x *floodWorld) pass() {
	x.now = x.now.Add(time.Millisecond)
	if x.now.UnixMilli()%250 == 0 {
		x.b.plane.Expire()
	}
	var open []*honestClient
	for _, c := range x.open {
		err := error(nil)
		for ; err == nil && c.step < len(honestSteps) && !x.now.Before(c.begun.Add(honestSteps[c.step].at)); c.step++ {
			err = x.send(c, honestSteps[c.step])
		}
		switch {
		case err != nil:
			x.lost = append(x.lost, err.Error())
		case c.step == len(honestSteps):
			x.worked++
		default:
			open = append(open, c)
		}
	}
	x.open = open
}

// established opens n connections that have got what they asked for, and keeps them.
func (x *floodWorld) established(n int) []*honestClient {
	for range n {
		x.begin()
	}
	for range establishedAt/time.Millisecond - 1 {
		x.pass()
	}
	kept := x.open
	x.open = nil
	x.worked += n // so that no other gets their addresses
	if len(x.lost) > 0 {
		x.t.Fatalf("without a flood: %v", x.lost)
	}
	return kept
}

// flood sends packet i.
type flood func(x *floodWorld, i int)

var floods = []struct {
	name   string
	v6     bool
	before time.Duration // age of the established connections
	send   flood
}{
	{"SYNs", false, 0, func(x *floodWorld, i int) { x.toServer(TCP, x.forged(), 80, forward.FlagSYN) }},
	{"SYNs that are answered", false, 0, func(x *floodWorld, i int) {
		from := x.forged()
		if s := x.toServer(TCP, from, 80, forward.FlagSYN); s >= 0 {
			x.toClient(TCP, from, 80, s, forward.FlagSYN|forward.FlagACK)
		}
	}},
	{"datagrams", false, 0, func(x *floodWorld, i int) { x.toServer(UDP, x.forged(), 53, 0) }},
	{"datagrams that are answered", false, 0, func(x *floodWorld, i int) {
		from := x.forged()
		if s := x.toServer(UDP, from, 53, 0); s >= 0 {
			x.toClient(UDP, from, 53, s, 0)
		}
	}},
	{"datagrams that are answered and repeated", false, 31 * time.Second, conversations},
	{"forged handshakes", false, 0, forgedHandshakes(false)},
	{"forged handshakes that are reset", false, 0, forgedHandshakes(true)},
	{"handshakes with data from real addresses", false, 31 * time.Second, realHandshakes},
	{"chosen addresses", true, 0, func(x *floodWorld, i int) {
		b := netip.MustParseAddr("2f64:bd78:641d:76a0::").As16()
		binary.BigEndian.PutUint64(b[8:], uint64(i))
		x.toServer(TCP, netip.AddrPortFrom(netip.AddrFrom16(b), 1024), 80, forward.FlagSYN)
	}},
	{"one port to all", false, 0, func(x *floodWorld, i int) {
		x.toServer(TCP, netip.AddrPortFrom(netip.AddrFrom4([4]byte{20, 1, 1, 1}), uint16(1024+i%60000)), 80, forward.FlagSYN)
	}},
	{"fragments", false, 0, fragments},
	{"a server's source", false, 0, func(x *floodWorld, i int) {
		from := netip.AddrPortFrom(floodServer(i%floodServers, false), uint16(i))
		x.handle(0, rigFrame(rigClient, TCP, from, netip.AddrPortFrom(x.address(), 80), forward.FlagSYN))
	}},
	{"ICMP errors", false, 0, icmpErrors},
	{"pings", false, 0, func(x *floodWorld, i int) {
		f := rigFrame(rigClient, UDP, x.forged(), netip.AddrPortFrom(x.vip, 0), 0)
		f[14+9] = 1 // ICMP
		copy(f[34:], []byte{8, 0, 0xf7, 0xff, 0, 0, 0, 0})
		rigHeaderSum(f)
		x.handle(0, f)
	}},
}

// forgedHandshakes acknowledge a SYN without having seen the answer to it.
func forgedHandshakes(reset bool) flood {
	from, server := netip.AddrPort{}, 0
	return func(x *floodWorld, i int) {
		if i%2 == 0 {
			from = x.forged()
			server = x.toServer(TCP, from, 80, forward.FlagSYN)
			return
		}
		x.toServer(TCP, from, 80, forward.FlagACK)
		if reset && server >= 0 {
			x.toClient(TCP, from, 80, server, forward.FlagRST)
		}
	}
}

// realHandshakes are those of a client at its address, which asks something each time.
func realHandshakes(x *floodWorld, i int) {
	if i%5 != 0 {
		return // five packets each
	}
	from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{20, 1, 1, byte(i)}), uint16(1024+i/5))
	server := 0
	for n, s := range honestSteps[:7] {
		if s.client {
			if at := x.toServer(TCP, from, 80, s.flags); n == 0 {
				server = at
			}
		} else if server >= 0 {
			x.toClient(TCP, from, 80, server, s.flags)
		}
	}
}

// conversations are three datagrams, of which the second is the server's.
func conversations(x *floodWorld, i int) {
	if i%2 != 0 {
		return
	}
	from := x.forged()
	if s := x.toServer(UDP, from, 53, 0); s >= 0 {
		x.toClient(UDP, from, 53, s, 0)
		x.toServer(UDP, from, 53, 0)
	}
}

// fragments are first and last ones in turn, none of which belong together.
func fragments(x *floodWorld, i int) {
	f := rigFrame(rigClient, UDP, x.forged(), netip.AddrPortFrom(x.vip, 53), 0)
	binary.BigEndian.PutUint16(f[14+4:], uint16(i))
	more := uint16(0x2000)
	if i%2 != 0 {
		more = 1 // byte 8 on
	}
	binary.BigEndian.PutUint16(f[14+6:], more)
	rigHeaderSum(f)
	x.handle(0, f)
}

// icmpErrors claim of packets that nobody sent that they were too long, or did not arrive.
func icmpErrors(x *floodWorld, i int) {
	quoted := rigFrame(rigClient, TCP, netip.AddrPortFrom(x.vip, 80), x.forged(), forward.FlagACK)[14:]
	if i%2 != 0 {
		quoted = rigFrame(rigClient, TCP, x.forged(), netip.AddrPortFrom(floodServer(i%floodServers, false), 80), forward.FlagACK)[14:]
	}
	m := append([]byte{3, byte(i%5 + 1), 0, 0, 0, 0, 2, 0}, quoted[:28]...)
	binary.BigEndian.PutUint16(m[2:], rigFold(rigSum(0, m)))
	f := append(rigMAC[:], rigClient[:]...)
	f = append(f, rigHeader(1, x.address(), x.vip, len(m))...)
	x.handle(0, append(f, m...))
}

// TestHonestClientsAreServedThroughAFlood: of honest connections that are opened during a
// flood and after it 99 of 100 get what they ask for, and those that were established go on,
// whether or not they were silent.
func TestHonestClientsAreServedThroughAFlood(t *testing.T) {
	for _, service := range []struct {
		name        string
		method      Method
		persistence time.Duration
	}{{"DSR", DSR, 0}, {"NAT", NAT, 0}, {"DSR persistent", DSR, 300 * time.Second}, {"NAT persistent", NAT, 300 * time.Second}} {
		for _, f := range floods {
			t.Run(service.name+"/"+f.name, func(t *testing.T) {
				vip := netip.MustParseAddr("192.0.2.80")
				if f.v6 {
					vip = netip.MustParseAddr("2001:db8::80")
				}
				newFloodWorld(t, vip, service.method, service.persistence).withstand(f.send, f.before)
			})
		}
	}
}

// withstand runs a flood, with honest clients before, during and after it.
func (x *floodWorld) withstand(send flood, before time.Duration) {
	const during, after, kept = 200, 50, 100
	old := x.established(kept)
	x.advance(tick(before * ticksPerSecond / time.Second))
	begun := x.now
	for n, i := 0, 0; n < during+after || len(x.open) > 0; {
		x.pass()
		at := x.now.Sub(begun)
		if at < floodFor {
			for range floodRate {
				send(x, i)
				i++
			}
		}
		if n < during && at > 2*time.Second && at%(10*time.Millisecond) == 0 || n >= during && n < during+after && at > floodFor+time.Second {
			x.begin()
			n++
		}
		if at == 3*time.Second {
			x.goOn(old[:kept/2])
		}
	}
	if len(x.lost) > (during+after)/100 {
		x.t.Errorf("%d of %d connections failed, as %s", len(x.lost), during+after, x.lost[0])
	}
	x.goOn(old)
	if n := x.b.Stats().Connections; n > floodTable {
		x.t.Errorf("the table has %d connections, more than its %d", n, floodTable)
	}
	if err := x.audit(); err != nil {
		x.t.Error(err)
	}
}

// goOn has established connections send, and get an answer.
func (x *floodWorld) goOn(list []*honestClient) {
	for _, c := range list {
		for _, s := range []honestStep{{0, true, forward.FlagACK | psh}, {0, false, forward.FlagACK}} {
			if err := x.send(c, s); err != nil {
				x.t.Fatalf("an established connection: %v", err)
			}
		}
	}
}
