package benchmarks

import (
	"encoding/binary"
	"testing"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
)

// BenchmarkMerging is what it costs golb to make super-packets: of bulk TCP, eight
// packets of each of eight flows in a batch, and of traffic in which nothing is to be
// merged. What is saved by sending fewer frames, package afpacket's benchmarks say; here
// sending costs nothing. An operation is a packet.
func BenchmarkMerging(b *testing.B) {
	for _, traffic := range []string{"bulk", "nothing to merge"} {
		for _, merge := range []bool{false, true} {
			name := traffic + "/apart"
			if merge {
				name = traffic + "/merged"
			}
			b.Run(name, func(b *testing.B) { benchmarkMerging(b, traffic == "bulk", merge) })
		}
	}
}

func benchmarkMerging(b *testing.B, bulk, merge bool) {
	const flows = 1024
	p, s := newLoopPort(), newSource(flows)
	p.gso = true
	x := p.start(b, lb.Config{MaxConnections: flows, Services: services(lb.DSR), Settings: lb.Settings{Merge: &merge}})
	s.open(p)
	frames := 0
	p.sent = func(list []forward.Frame) { frames += len(list) }
	p.fill = s.fill
	if bulk {
		p.fill = newBulk(b).fill
	}
	p.run(flows)
	frames = 0
	b.ReportAllocs()
	b.ResetTimer()
	p.run(b.N)
	b.StopTimer()
	if drops := x.Stats().Drops; len(drops) > 0 {
		b.Fatalf("drops %v", drops)
	}
	b.ReportMetric(float64(b.N)/float64(frames), "packets/frame")
}

// bulk is what eight clients send of TCP over IPv4, in turns.
type bulk struct {
	bufs    []byte
	packet  *forward.Frame
	counter uint32
}

const (
	bulkFlows = 8
	bulkSize  = 1400
	bulkSlot  = forward.Headroom + forward.MaxFrame + 100 // as ports lend them
)

func newBulk(b *testing.B) *bulk {
	return &bulk{bufs: make([]byte, batch*bulkSlot), packet: packetKinds[0].frame(b, bulkSize)}
}

// fill makes packets that the device has found to be whole.
func (x *bulk) fill(frames []forward.Frame) {
	for i := range frames {
		buf := x.bufs[i*bulkSlot:][:bulkSlot:bulkSlot]
		n := copy(buf[forward.Headroom:], x.packet.Bytes()[:l44+20]) // the payload stays
		frames[i] = forward.Frame{Buf: buf, Head: forward.Headroom, Tail: forward.Headroom + n + bulkSize, Offload: forward.Offload{DataValid: true}}
		b := frames[i].Bytes()
		flow, turn := x.counter%bulkFlows*kinds, x.counter/bulkFlows
		x.counter++
		binary.BigEndian.PutUint32(b[src4:], addressOf(flow))
		binary.BigEndian.PutUint16(b[l44:], portOf(flow))
		binary.BigEndian.PutUint32(b[l44+4:], turn*bulkSize)
		binary.BigEndian.PutUint16(b[l3+4:], uint16(turn))
		binary.BigEndian.PutUint16(b[sum4:], 0)
		var sum uint32
		for at := l3; at < l44; at += 2 {
			sum += uint32(binary.BigEndian.Uint16(b[at:]))
		}
		sum = sum>>16 + sum&0xffff
		binary.BigEndian.PutUint16(b[sum4:], ^uint16(sum>>16+sum))
	}
}
