package sched

// sed is shortest expected delay (ip_vs_sed.c): wlc with the load being the active
// connections plus the one to come. Inactive connections do not count. Of equals
// the first in the list wins.
//
// Cost of a pick: O(n), one cache line a server.
type sed struct{ servers }

// Name implements Scheduler.
func (*sed) Name() string { return "sed" }

// Pick implements Scheduler.
func (d *sed) Pick(*Flow) *Server { return shortestDelay(d.load(), false) }

// shortestDelay is sed's rule, and nq's where idle ends the search at the first
// eligible server without active connections.
func shortestDelay(list []*Server, idle bool) *Server {
	var best *Server
	var delay, weight int64
	for _, s := range list {
		w := int64(s.Weight.Load())
		if w <= 0 || s.Overloaded.Load() {
			continue
		}
		d := s.Active.Load() + 1
		if idle && d == 1 {
			return s
		}
		if best == nil || delay*w > d*weight {
			best, delay, weight = s, d, w
		}
	}
	return best
}
