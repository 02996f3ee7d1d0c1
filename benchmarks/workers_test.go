package benchmarks

import (
	"fmt"
	"sync"
	"testing"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/forward/afpacket"
	"github.com/golb/golb/lb"
)

// BenchmarkWorkers is several workers at once, on as many processors as there are: known
// flows with DSR, each on one worker as fanout has it; with NAT, where the replies of a
// flow come to another worker than its requests; and new connections. An operation is a
// packet of any of them, so that two workers that did not hinder each other would halve
// its time.
func BenchmarkWorkers(b *testing.B) {
	const flows = 1 << 16
	for _, c := range []struct {
		name   string
		method lb.Method
	}{{"dsr", lb.DSR}, {"nat", lb.NAT}, {"connect", lb.DSR}} {
		for _, workers := range []uint32{1, 2} {
			b.Run(fmt.Sprintf("%s/workers=%d", c.name, workers), func(b *testing.B) {
				ports := make([]*loopPort, workers)
				for i := range ports {
					ports[i] = newLoopPort()
				}
				cfg := lb.Config{MaxConnections: lastFlow, Services: services(c.method)}
				if cpus, err := afpacket.Processors(); err == nil && len(cpus) >= int(workers) {
					cfg.CPUs = cpus[:workers] // each its own, whatever else runs
				}
				x := startOn(b, cfg, lb.Env{}, ports...)
				newSource(flows).open(ports[0])
				for i, p := range ports {
					p.fill = share{newSource(flows), uint32(i), workers}.fill(c.name)
				}
				const portion = 1 << 18
				n := 0
				for b.Loop() {
					var running sync.WaitGroup
					for _, p := range ports {
						running.Go(func() { p.run(portion) })
						n += portion
					}
					running.Wait()
				}
				each(b, n, "packets")
				if d := x.Stats().Drops; len(d) > 0 {
					b.Fatalf("drops %v", d)
				}
			})
		}
	}
}

// share is what one of several workers gets.
type share struct {
	*source
	worker, workers uint32
}

// of draws a flow of a worker's, for packet i of a batch.
func (s share) of(worker uint32, i int) uint32 {
	flow := s.next(i)
	group := flow / kinds
	return (group-group%s.workers+worker%s.workers)*kinds + flow%kinds
}

func (s share) fill(what string) func([]forward.Frame) {
	switch what {
	case "nat":
		return func(frames []forward.Frame) {
			for i := range frames {
				f, reply := &frames[i], i&1 != 0
				flow := s.of(s.worker, i)
				k := &s.requests[flow%kinds]
				if reply {
					flow = s.of(s.worker+1, i)
					k = &s.replies[flow%kinds][serverOf(flow)]
				}
				f.Tail += k.write(f.Buf[f.Head:], flow, reply)
			}
		}
	case "connect":
		opening := fresh{src: s.source, first: 1<<16 + s.worker<<22}
		return opening.fill
	}
	return func(frames []forward.Frame) {
		for i := range frames {
			s.packet(&frames[i], s.of(s.worker, i))
		}
	}
}
