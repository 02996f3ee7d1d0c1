package sched

// fo is weighted failover (ip_vs_fo.c): the eligible server with the greatest
// weight; of equals the first in the list.
//
// Cost of a pick: O(n), four servers a cache line.
type fo struct{ servers }

func newFO(Options) (Scheduler, error) { return &fo{}, nil }

// Name implements Scheduler.
func (*fo) Name() string { return "fo" }

// Pick implements Scheduler.
func (o *fo) Pick(*Flow) *Server {
	servers, loads := o.current()
	best, weight := -1, int64(0)
	for i, s := range loads {
		w := s.weight.Load()
		if w <= weight { // as in every server that is overloaded
			continue
		}
		best, weight = i, w
	}
	return at(servers, best)
}
