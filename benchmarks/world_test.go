package benchmarks

import (
	"net/netip"
	"testing"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest"
)

// world is a balancer that a benchmark drives: its port, its packets, its clock.
type world struct {
	*lb.Balancer
	port  *loopPort
	src   *source
	clock *lbtest.Clock
}

// newWorld starts one with room for some connections more than flows.
func newWorld(b *testing.B, m lb.Method, flows uint32, more int) *world {
	w := &world{port: newLoopPort(), src: newSource(flows), clock: lbtest.NewClock(time.Unix(1e9, 0))}
	cfg := lb.Config{MaxConnections: max(int(flows)+more, 1<<10), Services: services(m)}
	for i := range cfg.Services { // so that the clock can be turned
		cfg.Services[i].Timeouts.Established = 30 * 24 * time.Hour
		cfg.Services[i].Timeouts.UDP = 30 * 24 * time.Hour
	}
	w.Balancer = startOn(b, cfg, lb.Env{Now: w.clock.Now}, w.port)
	return w
}

// open opens all flows.
func (w *world) open() { w.src.open(w.port) }

// establish has all flows established, so that they outlive half-open ones.
func (w *world) establish() {
	w.open()
	flow := uint32(0)
	w.port.fill = func(frames []forward.Frame) {
		for i := range frames {
			w.src.packet(&frames[i], flow)
			flow++
		}
	}
	w.port.run(int(w.src.flows))
}

// converse has servers answer all flows, and clients go on, which takes forged ones no more.
func (w *world) converse() {
	for round := range 3 {
		flow := uint32(0)
		w.port.fill = func(frames []forward.Frame) {
			for i := range frames {
				if round == 0 {
					f := &frames[i]
					f.Tail += w.src.replies[flow%kinds][serverOf(flow)].write(f.Buf[f.Head:], flow, true)
				} else {
					w.src.packet(&frames[i], flow)
				}
				flow++
			}
		}
		w.port.run(int(w.src.flows))
	}
}

// packet makes one of a client that is no SYN.
func (s *source) packet(f *forward.Frame, flow uint32) {
	f.Tail += s.requests[flow%kinds].write(f.Buf[f.Head:], flow, false)
}

// lastFlow bounds flows: the rest of their addresses is fixed.
const lastFlow = 1 << 24

// fresh are the flows from first on, over and over, each but the TCP one over IPv4.
type fresh struct {
	src         *source
	first, next uint32
}

// syn makes the packet that opens the next of them. Flows that follow one another are
// far from each other in no respect: the table's hash sees to that.
func (x *fresh) syn(f *forward.Frame) {
	if x.next < x.first || x.next >= lastFlow {
		x.next = x.first
	}
	f.Tail += x.src.requests[0].write(f.Buf[f.Head:], x.next, false)
	f.Buf[f.Head+l44+tcpFlags] = forward.FlagSYN
	x.next++
}

func (x *fresh) fill(frames []forward.Frame) {
	for i := range frames {
		x.syn(&frames[i])
	}
}

// halfOpen is longer than a half-open connection lives.
const halfOpen = 61 * time.Second

// expire turns the clock, and returns when all whose time has come are gone.
func (w *world) expire(d time.Duration) {
	w.clock.Advance(d)
	nobody := netip.AddrPortFrom(vip4, 1)
	w.Connection(lb.TCP, nobody, nobody) // looks only after it has expired what is over
}

// each reports the cost of one of n items in place of that of an operation.
func each(b *testing.B, n int, unit string) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/op")
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), unit+"/s")
}

// draw makes random numbers (splitmix64).
type draw uint64

func (d *draw) below(n uint32) uint32 {
	*d += 0x9e3779b97f4a7c15
	z := uint64(*d)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return uint32((z ^ z>>31) >> 32 * uint64(n) >> 32)
}
