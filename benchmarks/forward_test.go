package benchmarks

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
)

// sizes are numbers of flows, and of the floor's cache lines.
var sizes = []struct {
	name string
	n    uint32
}{{"1k", 1000}, {"1M", 1_000_000}, {"10M", 10_000_000}}

const servers = 8

// serverAddr is server i of the services of an IP version.
func serverAddr(i int, v6 bool) netip.Addr {
	if v6 {
		return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 2, 15: byte(i + 1)})
	}
	return netip.AddrFrom4([4]byte{198, 51, 100, byte(i + 1)})
}

// serverOf is the server of a flow: flows are opened in their order, and the round
// robin of each service starts with the last server of its list.
func serverOf(flow uint32) int {
	rank := flow / kinds
	if i := flow % kinds; i < tcp4Kinds {
		rank = rank*tcp4Kinds + i
	}
	return servers - 1 - int(rank%servers)
}

// services has one service for each kind of flow's IP version and protocol.
func services(m lb.Method) []lb.Service {
	var list []lb.Service
	for _, vip := range []netip.Addr{vip4, vip6} {
		for _, proto := range []lb.Protocol{lb.TCP, lb.UDP} {
			s := lb.Service{
				VIP: vip, Protocol: proto, Port: vipPort, Method: m, Scheduler: "rr",
				Check: lb.Check{Type: "none"}, Timeouts: lb.Timeouts{Established: time.Hour, UDP: time.Hour},
			}
			for i := range servers {
				s.Servers = append(s.Servers, lb.Server{Address: serverAddr(i, vip.Is6()), Port: vipPort})
			}
			list = append(list, s)
		}
	}
	return list
}

// source makes up packets.
type source struct {
	requests [kinds]kind
	replies  [kinds][servers]kind
	flows    uint32
	random   uint64
}

func newSource(flows uint32) *source {
	s := &source{flows: flows, random: 0x9e3779b97f4a7c15}
	for i := range kinds {
		s.requests[i] = newKind(i, netip.Addr{})
		for j := range servers {
			s.replies[i][j] = newKind(i, serverAddr(j, i >= 6))
		}
	}
	return s
}

// next draws a flow for packet i of a batch (a linear congruential generator, whose
// upper bits are scaled): any flow, but of kind i modulo kinds, so that what the mix
// of kinds costs a branch predictor is golb's branches, not the benchmark's.
func (s *source) next(i int) uint32 {
	s.random = s.random*6364136223846793005 + 1442695040888963407
	return uint32(s.random>>32*uint64(s.flows/kinds)>>32)*kinds + uint32(i%kinds)
}

// fill makes packets of random flows, all from clients.
func (s *source) fill(frames []forward.Frame) {
	for i := range frames {
		f, flow := &frames[i], s.next(i)
		f.Tail += s.requests[flow%kinds].write(f.Buf[f.Head:], flow, false)
	}
}

// fillBoth makes packets of random flows, every second one from the server.
func (s *source) fillBoth(frames []forward.Frame) {
	for i := range frames {
		f, flow := &frames[i], s.next(i)
		k := &s.requests[flow%kinds]
		if i&1 != 0 {
			k = &s.replies[flow%kinds][serverOf(flow)]
		}
		f.Tail += k.write(f.Buf[f.Head:], flow, i&1 != 0)
	}
}

// open has the port open all flows, in their order.
func (s *source) open(p *loopPort) {
	flow := uint32(0)
	p.fill = func(frames []forward.Frame) {
		for i := range frames {
			f, k := &frames[i], &s.requests[flow%kinds]
			f.Tail += k.write(f.Buf[f.Head:], flow, false)
			if !k.udp {
				l4 := l44
				if k.v6 {
					l4 = l46
				}
				f.Buf[f.Head+l4+tcpFlags] = forward.FlagSYN
			}
			flow++
		}
	}
	p.run(int(s.flows))
}

// BenchmarkForward is the hot loop: packets of random flows that are known, from
// the port's memory to the call of Send, one worker. An operation is a packet.
func BenchmarkForward(b *testing.B) {
	for _, m := range []lb.Method{lb.DSR, lb.NAT, lb.TUN} {
		for _, size := range sizes {
			b.Run(fmt.Sprintf("%s/flows=%s", m, size.name), func(b *testing.B) { benchmarkForward(b, m, size.n) })
		}
	}
}

func benchmarkForward(b *testing.B, m lb.Method, flows uint32) {
	p, s := newLoopPort(), newSource(flows)
	x := p.start(b, lb.Config{MaxConnections: max(int(flows), 1024), Services: services(m)})
	s.open(p)
	if n := x.Stats().Connections; n != int(flows) {
		b.Fatalf("%d connections of %d", n, flows)
	}
	var sent int
	p.sent = func(frames []forward.Frame) { sent += len(frames) }
	p.fill = s.fill
	if m == lb.NAT {
		p.fill = s.fillBoth
	}
	p.run(2 * int(flows))
	sent = 0
	b.ReportAllocs()
	b.ResetTimer()
	p.run(b.N)
	b.StopTimer()
	if sent != b.N {
		b.Fatalf("%d packets sent of %d; drops %v", sent, b.N, x.Stats().Drops)
	}
	if m == lb.NAT {
		checkReplies(b, x)
	}
}

// checkReplies fails where what came from the servers was not taken for replies.
func checkReplies(b *testing.B, x *lb.Balancer) {
	var requests, replies uint64
	for _, v := range x.Stats().Services {
		for _, r := range v.Servers {
			requests += r.InPackets
			replies += r.OutPackets
		}
	}
	if replies < requests/4 {
		b.Fatalf("%d replies to %d requests", replies, requests)
	}
}

// line is what the floor touches in place of a connection.
type line [8]uint64

// BenchmarkFloor is what no balancer on this machine gets below: the same packets
// made, and for each one cache line of a table, at random, read and written.
func BenchmarkFloor(b *testing.B) {
	for _, size := range sizes {
		b.Run("lines="+size.name, func(b *testing.B) {
			table := make([]line, size.n)
			for i := range table {
				table[i][0] = 1
			}
			p, s := newLoopPort(), newSource(size.n)
			frames := make([]forward.Frame, batch)
			b.ReportAllocs()
			b.ResetTimer()
			for left := b.N; left > 0; left -= batch {
				n := min(batch, left)
				for i := range n {
					f, flow := &frames[i], s.next(i)
					p.lend(f, i)
					f.Tail += s.requests[flow%kinds].write(f.Buf[f.Head:], flow, false)
					table[flow][0]++
				}
			}
		})
	}
}
