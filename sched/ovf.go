package sched

// ovf is weighted overflow (ip_vs_ovf.c): of the eligible servers that have no
// more active connections than their weight, the one with the greatest weight; of
// equals the first in the list. So a server of weight N gets up to N+1 active
// connections before they flow over to the next. UDP connections are never
// active and do not count.
//
// Cost of a pick: O(n), one cache line a server.
type ovf struct{ servers }

// Name implements Scheduler.
func (*ovf) Name() string { return "ovf" }

// Pick implements Scheduler.
func (o *ovf) Pick(*Flow) *Server {
	var best *Server
	var weight int32
	for _, s := range o.load() {
		w := s.Weight.Load()
		if w > weight && !s.Overloaded.Load() && s.Active.Load() <= int64(w) {
			best, weight = s, w
		}
	}
	return best
}
