package sched

// wlc is weighted least connection (ip_vs_wlc.c), ip_vs's default: the eligible
// server with the smallest overhead for its weight. Ratios are compared by
// cross-multiplication; of equals the first in the list wins, so among idle servers
// the newest.
//
// Cost of a pick: O(n), four servers a cache line.
type wlc struct{ servers }

func newWLC(Options) (Scheduler, error) { return &wlc{}, nil }

// Name implements Scheduler.
func (*wlc) Name() string { return "wlc" }

// Pick implements Scheduler.
func (w *wlc) Pick(*Flow) *Server { return w.leastOverhead() }

// leastOverhead is wlc's rule, which lblc and lblcr share.
//
// The inner loop changes nothing but i, so that the processor looks at several servers
// at once: with the branch in one loop, each waits for the products of the one before.
func (v *servers) leastOverhead() *Server {
	servers, loads := v.current()
	best, i := -1, 0
	overhead, weight := int64(1), int64(0) // worse than any server with a weight
	for {
		for ; i < len(loads); i++ {
			s := loads[i]
			if s.weight.Load()*overhead > s.overhead()*weight {
				break
			}
		}
		if i >= len(loads) {
			return at(servers, best)
		}
		s := loads[i]
		if w := s.weight.Load(); w > 0 {
			best, overhead, weight = i, s.overhead(), w
		}
		i++
	}
}
