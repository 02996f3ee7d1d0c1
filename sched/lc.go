package sched

import "math"

// lc is least connection (ip_vs_lc.c): the eligible server with the smallest
// overhead; of equals the first in the list. Weights count only as 0 or not.
//
// Cost of a pick: O(n), four servers a cache line.
type lc struct{ servers }

func newLC(Options) (Scheduler, error) { return &lc{}, nil }

// Name implements Scheduler.
func (*lc) Name() string { return "lc" }

// Pick implements Scheduler.
func (c *lc) Pick(*Flow) *Server {
	servers, loads := c.current()
	best, least := -1, int64(math.MaxInt64)
	for i, s := range loads {
		o := s.overhead()
		if o >= least || !s.eligible() {
			continue
		}
		best, least = i, o
	}
	return at(servers, best)
}
