package sched

// ovf is weighted overflow (ip_vs_ovf.c): of the eligible servers that have no
// more active connections than their weight, the one with the greatest weight; of
// equals the first in the list. So a server of weight N gets up to N+1 active
// connections before they flow over to the next. UDP connections are never
// active and do not count.
//
// Cost of a pick: O(n), four servers a cache line.
type ovf struct{ servers }

func newOVF(Options) (Scheduler, error) { return &ovf{}, nil }

// Name implements Scheduler.
func (*ovf) Name() string { return "ovf" }

// Pick implements Scheduler.
func (o *ovf) Pick(*Flow) *Server {
	servers, loads := o.current()
	best, weight := -1, int64(0)
	for i, s := range loads {
		w := s.weight.Load()
		if w <= weight || s.active() > w {
			continue
		}
		best, weight = i, w
	}
	return at(servers, best)
}
