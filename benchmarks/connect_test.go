package benchmarks

import (
	"fmt"
	"testing"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
)

// BenchmarkConnect is new connections beside a number of established ones: SYN in, SYN
// out, and the end of each a minute later on the benchmark's clock, which the packets
// drive, so that about half a million are half open at any time. An operation is a
// connection.
func BenchmarkConnect(b *testing.B) {
	const (
		room    = 1 << 21 // for half-open ones
		rate    = 1 << 13 // a second of the benchmark's clock
		measure = 1 << 16
	)
	for _, m := range []lb.Method{lb.DSR, lb.NAT} {
		for _, size := range sizes {
			b.Run(fmt.Sprintf("%s/connections=%s", m, size.name), func(b *testing.B) {
				w := newWorld(b, m, size.n, room)
				w.establish()
				opening := fresh{src: w.src, first: size.n}
				w.port.fill = func(frames []forward.Frame) {
					opening.fill(frames)
					w.clock.Advance(time.Duration(len(frames)) * time.Second / rate)
				}
				w.port.run(1 << 20) // until as many end as begin
				n := 0
				for b.Loop() {
					w.port.run(measure)
					n += measure
				}
				each(b, n, "conns")
				st := w.Stats()
				if st.Connections <= int(size.n) || st.Connections > int(size.n)+room/2 || len(st.Drops) > 0 {
					b.Fatalf("%d connections, %d of them established; drops %v", st.Connections, size.n, st.Drops)
				}
				w.expire(halfOpen)
				if got := w.Stats().Connections; got != int(size.n) {
					b.Fatalf("%d connections are left of %d", got, size.n)
				}
			})
		}
	}
}

// BenchmarkFull is SYNs of new clients where the table is full: of half-open connections,
// which give way; or of established ones, so that with DSR what is new is spread by a hash, and
// with NAT takes the place of another that is new. An operation is a SYN; the other metrics
// are how long the worker took for a batch of 64.
func BenchmarkFull(b *testing.B) {
	const (
		flows = 1_000_000
		rate  = 1 << 17 // a second of the benchmark's clock
	)
	for _, m := range []lb.Method{lb.DSR, lb.NAT} {
		for _, of := range []string{"half-open", "established"} {
			b.Run(fmt.Sprintf("%s/of=%s", m, of), func(b *testing.B) {
				w := newWorld(b, m, flows, 0)
				if of == "established" {
					w.establish()
					w.converse()
				} else {
					w.port.fill = (&fresh{src: w.src}).fill
					w.port.run(flows)
				}
				w.clock.Advance(30 * time.Second)
				if got := w.Stats().Connections; got != flows {
					b.Fatalf("%d connections of %d", got, flows)
				}
				opening := fresh{src: w.src, first: flows}
				all := w.timed(func(frames []forward.Frame) {
					opening.fill(frames)
					w.clock.Advance(time.Duration(len(frames)) * time.Second / rate)
				})
				sent, n := 0, 0
				w.port.sent = func(frames []forward.Frame) { sent += len(frames) }
				for b.Loop() {
					w.port.run(1 << 10)
					n += 1 << 10
				}
				each(b, n, "packets")
				all.report(b, "")
				if sent != n {
					b.Fatalf("%d packets sent of %d; drops %v", sent, n, w.Stats().Drops)
				}
				if st := w.Stats(); st.Connections > flows || of == "established" && st.GivenUp["established"] > uint64(n)/100+128 {
					b.Fatalf("%d connections of %d, given up %v", st.Connections, flows, st.GivenUp)
				}
			})
		}
	}
}

// BenchmarkExpire has all connections expire at once, while a worker forwards packets
// of others, one in eight of which opens a connection. An operation is a connection
// that expires; the other metrics are how long the worker took for a batch of 64
// packets meanwhile, and in as much time after, when nothing expired. Batches during
// which the system took the processor away from the worker do not count, as far as
// the system tells.
func BenchmarkExpire(b *testing.B) {
	for _, size := range sizes[1:] {
		b.Run("connections="+size.name, func(b *testing.B) {
			const existing = 1 << 14
			w := newWorld(b, lb.DSR, existing, int(size.n)+1<<22)
			w.establish()
			n := 0
			for b.Loop() {
				b.StopTimer()
				w.port.fill = (&fresh{src: w.src, first: existing}).fill
				w.port.run(int(size.n))
				if got := w.Stats().Connections; got < int(size.n)+existing {
					b.Fatalf("%d connections of %d", got, int(size.n)+existing)
				}
				begin := time.Now()
				b.StartTimer()
				during := w.busy(func() { w.expire(halfOpen) })
				b.StopTimer()
				took := time.Since(begin)
				w.expire(halfOpen) // those that were opened meanwhile
				if got := w.Stats().Connections; got != existing {
					b.Fatalf("%d connections are left of %d", got, existing)
				}
				n += int(size.n)
				during.report(b, "")
				w.busy(func() { time.Sleep(took) }).report(b, "-idle")
				w.expire(halfOpen)
				b.StartTimer()
			}
			each(b, n, "conns")
		})
	}
}

// timed has the port filled by fill, and counts how long the worker takes for each batch,
// but for those during which the system took its processor away.
func (w *world) timed(fill func(frames []forward.Frame)) *pauses {
	all := &pauses{}
	var from time.Time
	preempted := int64(0)
	w.port.fill = func(frames []forward.Frame) {
		took, n := time.Since(from), preemptions()
		if n == preempted {
			all.add(took)
		}
		preempted = n
		fill(frames)
		from = time.Now()
	}
	return all
}

// busy has the worker forward packets until task ends.
func (w *world) busy(task func()) *pauses {
	opening := fresh{src: w.src, first: lastFlow - 1<<20}
	var random draw
	ended := make(chan struct{})
	all := w.timed(func(frames []forward.Frame) {
		for i := range frames {
			if i%8 == 0 {
				opening.syn(&frames[i])
			} else {
				w.src.packet(&frames[i], random.below(w.src.flows))
			}
		}
		select {
		case <-ended:
			w.port.left = len(frames)
		default:
		}
	})
	go func() {
		defer close(ended)
		task()
	}()
	w.port.run(1 << 62)
	<-ended
	return all
}

// pauses counts times by their length: a bin for each eighth of a power of two.
type pauses struct {
	bins    [64 * 8]int
	longest time.Duration
	n       int
}

func (p *pauses) add(d time.Duration) {
	p.bins[bin(d)]++
	p.longest = max(p.longest, d)
	p.n++
}

func bin(d time.Duration) int {
	v, power := uint64(d), 0
	for v >= 16 {
		v >>= 1
		power++
	}
	return power*8 + int(v)
}

// quantile is the least time that a share of them does not exceed, to one eighth.
func (p *pauses) quantile(share float64) time.Duration {
	seen := 0
	for i, n := range p.bins {
		if seen += n; float64(seen) >= share*float64(p.n) {
			if i < 16 {
				return time.Duration(i)
			}
			power := i/8 - 1
			return time.Duration((i-power*8+1)<<power - 1)
		}
	}
	return p.longest
}

func (p *pauses) report(b *testing.B, when string) {
	us := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
	b.ReportMetric(us(p.quantile(0.5)), "p50-µs"+when)
	b.ReportMetric(us(p.quantile(0.99)), "p99-µs"+when)
	b.ReportMetric(us(p.quantile(0.999)), "p99.9-µs"+when)
	b.ReportMetric(us(p.longest), "longest-µs"+when)
}
