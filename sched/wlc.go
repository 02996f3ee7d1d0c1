package sched

// wlc is weighted least connection (ip_vs_wlc.c), ip_vs's default: the eligible
// server with the smallest load for its weight, where load counts an active
// connection as 256 inactive ones. Loads are compared by cross-multiplication;
// of equals the first in the list wins, so among idle servers the newest.
//
// Cost of a pick: O(n), one cache line a server.
type wlc struct{ servers }

// Name implements Scheduler.
func (*wlc) Name() string { return "wlc" }

// Pick implements Scheduler.
func (w *wlc) Pick(*Flow) *Server { return leastLoaded(w.load()) }

// leastLoaded is wlc's rule, which lblc and lblcr share.
func leastLoaded(list []*Server) *Server {
	var best *Server
	var load, weight int64
	for _, s := range list {
		w := int64(s.Weight.Load())
		if w <= 0 || s.Overloaded.Load() {
			continue
		}
		l := overhead(s)
		if best == nil || load*w > l*weight {
			best, load, weight = s, l, w
		}
	}
	return best
}
