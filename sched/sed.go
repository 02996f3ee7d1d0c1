package sched

import "math"

// sed is shortest expected delay (ip_vs_sed.c): wlc with the active connections plus
// the one to come in place of the overhead. Inactive connections do not count. Of
// equals the first in the list wins.
//
// Cost of a pick: O(n), four servers a cache line.
type sed struct{ servers }

func newSED(Options) (Scheduler, error) { return &sed{}, nil }

// Name implements Scheduler.
func (*sed) Name() string { return "sed" }

// Pick implements Scheduler.
func (d *sed) Pick(*Flow) *Server {
	servers, loads := d.current()
	return shortestDelay(servers, loads, math.MinInt64)
}

// shortestDelay is sed's rule, and nq's: the first eligible server that has no more
// than idle active connections ends the search. Its loops are those of leastOverhead.
func shortestDelay(servers []*Server, loads []*load, idle int64) *Server {
	best, i := -1, 0
	delay, weight := int64(1), int64(0) // worse than any server with a weight
	for {
		for ; i < len(loads); i++ {
			s := loads[i]
			a := s.active()
			if a <= idle {
				break
			}
			if s.weight.Load()*delay > (a+1)*weight {
				break
			}
		}
		if i >= len(loads) {
			return at(servers, best)
		}
		s := loads[i]
		if w := s.weight.Load(); w > 0 {
			a := s.active()
			if a <= idle {
				return servers[i]
			}
			best, delay, weight = i, a+1, w
		}
		i++
	}
}
