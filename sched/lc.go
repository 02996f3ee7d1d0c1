package sched

// lc is least connection (ip_vs_lc.c): the eligible server with the smallest
// load, where an active connection counts as 256 inactive ones; of equals the
// first in the list. Weights count only as 0 or not.
//
// Cost of a pick: O(n), one cache line a server.
type lc struct{ servers }

// Name implements Scheduler.
func (*lc) Name() string { return "lc" }

// Pick implements Scheduler.
func (l *lc) Pick(*Flow) *Server {
	var best *Server
	var least int64
	for _, s := range l.load() {
		if !s.eligible() {
			continue
		}
		if load := overhead(s); best == nil || load < least {
			best, least = s, load
		}
	}
	return best
}
