package sched

// fo is weighted failover (ip_vs_fo.c): the eligible server with the greatest
// weight; of equals the first in the list.
//
// Cost of a pick: O(n), one cache line a server.
type fo struct{ servers }

// Name implements Scheduler.
func (*fo) Name() string { return "fo" }

// Pick implements Scheduler.
func (o *fo) Pick(*Flow) *Server {
	var best *Server
	var weight int32
	for _, s := range o.load() {
		if w := s.Weight.Load(); w > weight && !s.Overloaded.Load() {
			best, weight = s, w
		}
	}
	return best
}
