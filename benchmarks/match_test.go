package benchmarks

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
)

// BenchmarkMatch is packets of which each is matched with a service and scheduled: of
// one of the services at random, all of UDP and one-packet scheduling. An operation
// is a packet. With "to=one" all packets are for one of the services.
func BenchmarkMatch(b *testing.B) {
	for _, c := range []struct {
		name     string
		services int
		used     uint32
	}{{"services=1", 1, 1}, {"services=10k", 10_000, 10_000}, {"services=10k/to=one", 10_000, 1}} {
		b.Run(c.name, func(b *testing.B) {
			p := newLoopPort()
			x := p.start(b, lb.Config{MaxConnections: 1 << 10, Services: manyServices(c.services, true)})
			manyPackets(b, p, x, c.used, c.used)
		})
	}
}

// BenchmarkKnown is packets of known flows, at random, of as many services.
func BenchmarkKnown(b *testing.B) {
	const flows = 100_000
	for _, c := range []struct {
		name     string
		services uint32
	}{{"services=1", 1}, {"services=10k", 10_000}} {
		b.Run(c.name, func(b *testing.B) {
			p := newLoopPort()
			x := p.start(b, lb.Config{MaxConnections: flows, Services: manyServices(int(c.services), false)})
			manyPackets(b, p, x, c.services, flows)
			if n := x.Stats().Connections; n != flows {
				b.Fatalf("%d connections of %d", n, flows)
			}
		})
	}
}

// manyPackets forwards packets of random flows, of which each has the service of its
// number.
func manyPackets(b *testing.B, p *loopPort, x *lb.Balancer, services, flows uint32) {
	k, next := newKind(5, netip.Addr{}), uint32(0)
	pick := func() uint32 { next++; return next % flows }
	p.fill = func(frames []forward.Frame) {
		for i := range frames {
			f, n := &frames[i], pick()
			f.Tail += k.write(f.Buf[f.Head:], n, false)
			direct(f.Bytes(), manyVIP(n%services))
		}
	}
	p.run(int(flows))
	var random draw
	pick = func() uint32 { return random.below(flows) }
	sent, n := 0, 0
	p.sent = func(frames []forward.Frame) { sent += len(frames) }
	for b.Loop() {
		p.run(1 << 10)
		n += 1 << 10
	}
	each(b, n, "packets")
	if sent != n {
		b.Fatalf("%d packets sent of %d; drops %v", sent, n, x.Stats().Drops)
	}
}

// direct sends an IPv4 packet to another address.
func direct(frame []byte, to uint32) {
	binary.BigEndian.PutUint32(frame[dst4:], to)
	binary.BigEndian.PutUint16(frame[sum4:], 0)
	sum := uint32(0)
	for at := l3; at < l44; at += 2 {
		sum += uint32(binary.BigEndian.Uint16(frame[at:]))
	}
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(frame[sum4:], ^uint16(sum>>16+sum))
}

// manyVIP is the VIP of service n: a thousand ports would match as fast.
func manyVIP(n uint32) uint32 { return 172<<24 | 16<<16 | n }

func manyServices(n int, onePacket bool) []lb.Service {
	list := make([]lb.Service, n)
	for i := range list {
		list[i] = lb.Service{
			VIP:      netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, manyVIP(uint32(i))))),
			Protocol: lb.UDP, Port: vipPort, OnePacket: onePacket, Scheduler: "rr",
			Servers: []lb.Server{{Address: serverAddr(0, false)}, {Address: serverAddr(1, false)}},
		}
	}
	return list
}
