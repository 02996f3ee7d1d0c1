//go:build !race

package lb

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb/internal/dataplane"
	"github.com/golb/golb/sched"
)

// TestForwardAllocatesNothing sees that no packet costs an allocation, whatever it is and
// whatever becomes of it. It is not run under the race detector, which allocates,
// and never in parallel, since allocations are counted for the whole process.
func TestForwardAllocatesNothing(t *testing.T) {
	x := newAllocRig(t)
	for _, c := range x.cases() {
		t.Run(c.name, func(t *testing.T) {
			x.counts = [dataplane.NumReasons + 1]int{}
			time.Sleep(time.Nanosecond) // the goroutine gets the timer that expiry pauses by
			for range 2 * batchSize {   // tables, queues and caches reach their size
				x.send(&c)
			}
			if got := x.counts[c.want]; got == 0 {
				t.Fatalf("no frame was %v: %s", c.want, x.seen())
			}
			const rounds = 1000
			if n := testing.AllocsPerRun(1, func() {
				for range rounds {
					x.send(&c)
				}
			}); n != 0 {
				t.Errorf("%v allocations in %d rounds", n, rounds)
			}
		})
	}
}

// allocCase is traffic: frames that are sent in turn, each changed by vary first.
type allocCase struct {
	name   string
	frames []allocFrame
	vary   func(round int, frame []byte)
	want   Reason // what has to become of one of them; resent where it comes out as others
}

type allocFrame struct {
	data    []byte
	offload forward.Offload
}

// allocRig is a rig that sends and counts without allocating itself.
type allocRig struct {
	*rig
	round  int
	buf    []byte
	batch  [1]forward.Frame
	before dataplane.Drops
	counts [dataplane.NumReasons + 1]int // the last: neither dropped nor sent as it was
}

func (x *allocRig) send(c *allocCase) {
	w, p := x.n.workers[0], x.ports[0]
	for i := range c.frames {
		f := &c.frames[i]
		n := copy(x.buf[forward.Headroom:], f.data)
		if c.vary != nil {
			c.vary(x.round, x.buf[forward.Headroom:][:n])
		}
		x.before = w.Drops()
		sent := p.n
		x.batch[0] = forward.Frame{Buf: x.buf, Head: forward.Headroom, Tail: forward.Headroom + n, Offload: f.offload}
		w.Handle(x.batch[:])
		dropped := false
		for r, n := range w.Drops() {
			if n != x.before[r] {
				x.counts[r]++
				dropped = true
			}
		}
		if !dropped && p.n == sent+1 {
			x.counts[forwarded]++
		} else if !dropped {
			x.counts[consumed]++
		}
	}
	x.round++
	if x.round%256 == 0 { // so that connections come and go
		x.advance(30 * ticksPerSecond)
	}
}

func (x *allocRig) seen() string {
	s := ""
	for r, n := range x.counts {
		if n != 0 {
			s += fmt.Sprintf("%d %v; ", n, Reason(r))
		}
	}
	return s
}

// The services, by method.
var (
	allocVIPs    = map[string]netip.Addr{}
	allocClient4 = netip.MustParseAddrPort("198.51.100.1:4000")
	allocClient6 = netip.MustParseAddrPort("[2001:db8:1::1]:4000")
)

func newAllocRig(t *testing.T) *allocRig {
	var services []Service
	n := byte(0)
	add := func(name string, s Service, is6 bool) {
		n++
		s.VIP, s.Port, s.Check = netip.AddrFrom4([4]byte{192, 0, 2, 100 + n}), 80, Check{Type: "none"}
		for i := range byte(3) {
			addr := netip.AddrFrom4([4]byte{10, n, 0, 1 + i})
			if is6 {
				s.VIP = netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 15: 100 + n})
				addr = netip.AddrFrom16([16]byte{0: 0xfd, 14: n, 15: 1 + i})
			}
			s.Servers = append(s.Servers, Server{Address: addr})
		}
		allocVIPs[name] = s.VIP
		s.Protocol = TCP
		services = append(services, s)
		s.Protocol = UDP
		services = append(services, s)
	}
	for _, is6 := range []bool{false, true} {
		suffix := "4"
		if is6 {
			suffix = "6"
		}
		add("dsr"+suffix, Service{Method: DSR}, is6)
		add("nat"+suffix, Service{Method: NAT}, is6)
		add("ipip"+suffix, Service{Method: TUN}, is6)
		add("gue"+suffix, Service{Method: TUN, Tunnel: Tunnel{Type: GUE, Port: 6080, Checksum: true}}, is6)
		add("gre"+suffix, Service{Method: TUN, Tunnel: Tunnel{Type: GRE}}, is6)
		add("persistent"+suffix, Service{Persistence: Persistence{Timeout: 60e9}}, is6)
	}
	for _, name := range allocSchedulers {
		add(name, Service{Scheduler: name}, false)
	}
	add("limited", Service{MaxRate: 1, MaxClientRate: 1}, false)
	add("none", Service{}, false)
	last := services[len(services)-2:]
	last[0].Servers, last[1].Servers = nil, nil
	settings := Settings{AnswerRate: 1e6, ClampMSS: true}
	r := newRig(t, Config{Workers: 1, MaxConnections: 1 << 12, Services: services, Settings: settings})
	return &allocRig{rig: r, buf: make([]byte, forward.Headroom+forward.MaxSuperFrame)}
}

var allocSchedulers = sched.Names()

// cases are the kinds of traffic.
func (x *allocRig) cases() []allocCase {
	var list []allocCase
	for _, is6 := range []bool{false, true} {
		list = append(list, x.methodCases(is6)...)
		list = append(list, x.answerCases(is6)...)
		list = append(list, x.errorCases(is6)...)
	}
	for _, name := range allocSchedulers {
		list = append(list, allocCase{name: "new by " + name, vary: allocNewPort,
			frames: []allocFrame{{data: rigFrame(rigClient, TCP, allocClient4, allocDst(name), forward.FlagSYN)}}})
	}
	return append(list,
		allocCase{name: "rate limited", vary: allocNewPort, want: RateLimited,
			frames: []allocFrame{{data: rigFrame(rigClient, TCP, allocClient4, allocDst("limited"), forward.FlagSYN)}}},
		allocCase{name: "flood", vary: allocNewClient, want: forwarded, // of more connections than the table holds
			frames: []allocFrame{{data: rigFrame(rigClient, TCP, allocClient4, allocDst("dsr4"), forward.FlagSYN)}}},
		allocCase{name: "flood of NAT", vary: allocNewClient, want: forwarded,
			frames: []allocFrame{{data: rigFrame(rigClient, UDP, allocClient4, allocDst("nat4"), 0)}}},
		allocCase{name: "not IP", want: Reason(forward.NotIP), frames: []allocFrame{{data: append(rigMAC[:], 2, 0, 0, 0, 0, 2, 8, 6, 0, 1)}}},
		allocCase{name: "not a VIP", want: NotVIP,
			frames: []allocFrame{{data: rigFrame(rigClient, TCP, allocClient4, netip.MustParseAddrPort("203.0.113.1:80"), forward.FlagSYN)}}},
		allocCase{name: "a server's own", want: forwarded,
			frames: []allocFrame{{data: rigFrame(rigServerMAC(netip.MustParseAddr("10.2.0.1")), TCP, netip.MustParseAddrPort("10.2.0.1:5000"), netip.MustParseAddrPort("203.0.113.1:80"), forward.FlagSYN)}}},
	)
}

func allocDst(name string) netip.AddrPort { return netip.AddrPortFrom(allocVIPs[name], 80) }

func allocClient(is6 bool) (client netip.AddrPort, suffix string) {
	if is6 {
		return allocClient6, "6"
	}
	return allocClient4, "4"
}

// methodCases are what each method forwards: known connections, new ones, of either
// protocol, in all offload states, in fragments, and too long ones.
func (x *allocRig) methodCases(is6 bool) (list []allocCase) {
	client, suffix := allocClient(is6)
	for _, method := range []string{"dsr", "nat", "ipip", "gue", "gre", "persistent"} {
		name := method + suffix
		dst := allocDst(name)
		syn := allocFrame{data: rigFrame(rigClient, TCP, client, dst, forward.FlagSYN)}
		ack := allocFrame{data: rigFrame(rigClient, TCP, client, dst, forward.FlagACK)}
		udp := allocFrame{data: rigFrame(rigClient, UDP, client, dst, 0)}
		gso := forward.Offload{NeedsCsum: true, GSO: forward.GSOTCPv4, GSOSize: 1400}
		if is6 {
			gso.GSO = forward.GSOTCPv6
		}
		super := consumed
		if method == "dsr" || method == "nat" || method == "persistent" {
			super = forwarded
		}
		list = append(list,
			allocCase{name: name + " TCP", frames: []allocFrame{syn, ack}},
			allocCase{name: name + " UDP", frames: []allocFrame{udp}},
			allocCase{name: name + " verified", frames: []allocFrame{{ack.data, forward.Offload{DataValid: true}}, {udp.data, forward.Offload{DataValid: true}}}},
			allocCase{name: name + " unfinished", frames: []allocFrame{allocUnfinished(ack.data, forward.Offload{NeedsCsum: true})}},
			allocCase{name: name + " TCP super-packet", want: super, frames: []allocFrame{syn, allocUnfinished(allocLonger(ack.data, 20000), gso)}},
			allocCase{name: name + " BIG TCP", want: consumed, frames: []allocFrame{syn, allocUnfinished(allocLonger(ack.data, 200000), gso)}},
			allocCase{name: name + " new TCP", frames: []allocFrame{syn}, vary: allocNewPort},
			allocCase{name: name + " new client", frames: []allocFrame{syn}, vary: allocNewClient},
			allocCase{name: name + " new UDP", frames: []allocFrame{udp}, vary: allocNewPort},
			allocCase{name: name + " all of a connection", vary: allocNewPort, frames: []allocFrame{
				syn, ack, {data: rigFrame(rigClient, TCP, client, dst, forward.FlagFIN|forward.FlagACK)},
				{data: rigFrame(rigClient, TCP, client, dst, forward.FlagRST)}, syn,
			}},
		)
		if !is6 {
			first, later := allocFragments(udp.data, 1472)
			list = append(list,
				allocCase{name: name + " fragments", want: super, vary: allocNewID, frames: []allocFrame{{data: first}, {data: later}}},
				allocCase{name: name + " fragments, the later first", want: consumed, vary: allocNewID, frames: []allocFrame{{data: later}, {data: first}}},
				allocCase{name: name + " super-packet of too long packets", want: consumed, frames: []allocFrame{
					{allocLonger(udp.data, 8000), forward.Offload{NeedsCsum: true, GSO: forward.GSOUDPL4, GSOSize: 2000, CsumStart: 14 + 20, CsumOffset: 6, HdrLen: 42}},
				}},
				allocCase{name: name + " too long", want: consumed, frames: []allocFrame{{data: allocLonger(udp.data, 3000)}}},
			)
		}
	}
	return append(list, x.replyCase(is6, TCP), x.replyCase(is6, UDP))
}

// replyCase is a connection of method NAT with its replies.
func (x *allocRig) replyCase(is6 bool, proto Protocol) allocCase {
	client, suffix := allocClient(is6)
	c := allocCase{name: fmt.Sprintf("nat%s replies %v", suffix, proto)}
	dst := allocDst("nat" + suffix)
	c.frames = append(c.frames, allocFrame{data: rigFrame(rigClient, proto, client, dst, forward.FlagSYN)})
	for i := range x.servers(dst) {
		c.frames = append(c.frames, allocFrame{data: rigFrame(rigClient, proto, netip.AddrPortFrom(x.servers(dst)[i], 80), client, forward.FlagSYN|forward.FlagACK)})
	}
	return c
}

func (x *allocRig) servers(dst netip.AddrPort) (list []netip.Addr) {
	for _, s := range x.b.cfg.Services {
		if s.VIP == dst.Addr() && s.Protocol == TCP {
			for _, r := range s.Servers {
				list = append(list, r.Address)
			}
		}
	}
	return list
}

// answerCases are packets that golb answers itself.
func (x *allocRig) answerCases(is6 bool) []allocCase {
	client, suffix := allocClient(is6)
	dst := allocDst("dsr" + suffix)
	closed := netip.AddrPortFrom(dst.Addr(), 81)
	lastHop := rigFrame(rigClient, TCP, client, dst, forward.FlagSYN)
	long := allocLonger(rigFrame(rigClient, UDP, client, allocDst("gue"+suffix), 0), 1460)
	ttl := 14 + 7
	if !is6 {
		ttl = 14 + 8
		long[14+6] = 0x40
		rigHeaderSum(long)
	}
	lastHop[ttl] = 1
	if !is6 {
		rigHeaderSum(lastHop)
	}
	echo := rigICMP(client.Addr(), dst.Addr(), false, []byte("ping"))
	list := []allocCase{
		{name: "RST" + suffix, want: NoConnection, frames: []allocFrame{{data: rigFrame(rigClient, TCP, netip.AddrPortFrom(client.Addr(), 9), dst, forward.FlagACK)}}},
		{name: "no service, TCP" + suffix, want: NoService, frames: []allocFrame{{data: rigFrame(rigClient, TCP, client, closed, forward.FlagSYN)}}},
		{name: "no service, UDP" + suffix, want: NoService, frames: []allocFrame{{data: rigFrame(rigClient, UDP, client, closed, 0)}}},
		{name: "TTL exceeded" + suffix, want: TTLExceeded, frames: []allocFrame{{data: lastHop}}},
		{name: "MTU exceeded" + suffix, want: MTUExceeded, frames: []allocFrame{{data: long}}},
		{name: "echo" + suffix, want: forwarded, frames: []allocFrame{{data: echo}}},
	}
	if !is6 {
		list = append(list, allocCase{name: "no server", want: NoServer, frames: []allocFrame{{data: rigFrame(rigClient, TCP, client, allocDst("none"), forward.FlagSYN)}}})
	}
	return list
}

// errorCases are ICMP errors about packets of connections, from routers before the
// client and before the server.
func (x *allocRig) errorCases(is6 bool) (list []allocCase) {
	client, suffix := allocClient(is6)
	router := netip.MustParseAddr("198.51.100.254")
	if is6 {
		router = netip.MustParseAddr("2001:db8:1::ffff")
	}
	for _, method := range []string{"dsr", "nat", "ipip", "gue", "gre"} {
		dst := allocDst(method + suffix)
		quoted := rigFrame(rigClient, TCP, dst, client, forward.FlagACK)[14:]
		c := allocCase{name: "error for " + method + suffix, frames: []allocFrame{
			{data: rigFrame(rigClient, TCP, client, dst, forward.FlagSYN)},
			{data: rigICMP(router, dst.Addr(), true, quoted)},
		}}
		if method == "nat" {
			for _, s := range x.servers(dst) {
				quoted := rigFrame(rigClient, TCP, client, netip.AddrPortFrom(s, 80), forward.FlagACK)[14:]
				c.frames = append(c.frames, allocFrame{data: rigICMP(router, client.Addr(), true, quoted)})
			}
		}
		list = append(list, c)
	}
	return list
}

// allocNewPort makes the packet one of another connection of the same client. What
// is forwarded has its checksum passed on, right or wrong.
func allocNewPort(round int, f []byte) {
	l4 := 14 + 40
	if f[12] == 8 {
		l4 = 14 + 20
	}
	binary.BigEndian.PutUint16(f[l4:], uint16(1024+round%50000))
}

// allocNewClient makes it another client's.
func allocNewClient(round int, f []byte) {
	if f[12] == 8 {
		binary.BigEndian.PutUint16(f[14+14:], uint16(round))
		rigHeaderSum(f)
		return
	}
	binary.BigEndian.PutUint16(f[14+8+12:], uint16(round))
}

// allocNewID makes an IPv4 packet one of another datagram.
func allocNewID(round int, f []byte) {
	binary.BigEndian.PutUint16(f[14+4:], uint16(round))
	rigHeaderSum(f)
}

// allocLonger gives a packet that many bytes of payload; its transport checksum is
// not right any more. Where its length field has no room for its length, it is 0.
func allocLonger(f []byte, payload int) []byte {
	f = append(append([]byte(nil), f...), make([]byte, payload)...)
	if len(f) > 65535 {
		at := 14 + 2
		if f[12] != 8 {
			at = 14 + 4
		}
		binary.BigEndian.PutUint16(f[at:], 0)
		if f[12] == 8 {
			rigHeaderSum(f)
		}
		return f
	}
	if f[12] != 8 {
		binary.BigEndian.PutUint16(f[14+4:], uint16(len(f)-14-40))
		if f[14+6] == byte(UDP) {
			binary.BigEndian.PutUint16(f[14+40+4:], uint16(len(f)-14-40))
		}
		return f
	}
	binary.BigEndian.PutUint16(f[14+2:], uint16(len(f)-14))
	if f[14+9] == byte(UDP) {
		binary.BigEndian.PutUint16(f[14+20+4:], uint16(len(f)-14-20))
	}
	rigHeaderSum(f)
	return f
}

// allocUnfinished leaves the TCP checksum to the offload header.
func allocUnfinished(f []byte, o forward.Offload) allocFrame {
	o.CsumStart, o.CsumOffset = 14+20, 16
	if f[12] != 8 {
		o.CsumStart = 14 + 40
	}
	o.HdrLen = o.CsumStart + 20
	return allocFrame{f, o}
}

// allocFragments cuts an IPv4 datagram, grown by that many bytes, in two.
func allocFragments(f []byte, at int) (first, later []byte) {
	datagram := allocLonger(f, at+100)
	first = append([]byte(nil), datagram[:14+20+at]...)
	later = append(append([]byte(nil), datagram[:14+20]...), datagram[14+20+at:]...)
	first[14+6] = 0x20
	binary.BigEndian.PutUint16(later[14+6:], uint16(at/8))
	for _, p := range [][]byte{first, later} {
		binary.BigEndian.PutUint16(p[14+2:], uint16(len(p)-14))
		rigHeaderSum(p)
	}
	return first, later
}

// rigICMP builds an echo request, or port unreachable about a packet.
func rigICMP(src, dst netip.Addr, unreachable bool, quoted []byte) []byte {
	proto, kind, code := Protocol(forward.ProtoICMP), byte(forward.ICMPEcho), byte(0)
	switch {
	case src.Is4() && unreachable:
		kind, code = forward.ICMPUnreachable, 3
	case src.Is6():
		proto, kind = forward.ProtoICMPv6, forward.ICMPv6Echo
		if unreachable {
			kind, code = forward.ICMPv6Unreachable, 4
		}
	}
	b := append([]byte{kind, code, 0, 0, 0, 0, 0, 0}, quoted...)
	sum := rigSum(0, b)
	if src.Is6() {
		sum = rigSum(rigSum(sum, src.AsSlice()), dst.AsSlice()) + uint32(proto) + uint32(len(b))
	}
	binary.BigEndian.PutUint16(b[2:], rigFold(sum))
	f := append(rigMAC[:], rigClient[:]...)
	return append(append(f, rigHeader(proto, src, dst, len(b))...), b...)
}
