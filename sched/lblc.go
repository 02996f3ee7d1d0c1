package sched

import "sync"

// lblc is locality-based least connection (ip_vs_lblc.c), for caches: a destination
// address stays with the server that wlc once picked for it. It moves when that
// server is gone or has weight 0, or is locally overloaded: has more active
// connections than its weight while some server has fewer than half. A reached
// threshold does not move it, as in ip_vs.
//
// Which destinations are forgotten is told at cache.
//
// Cost of a pick: O(1) where the destination is known and its server not beyond
// its weight, else O(n). Picks of a service go one at a time. A destination not
// seen before may allocate; at most cacheMax are kept.
type lblc struct {
	servers
	now func() int64

	mu    sync.Mutex
	cache *cache[*Server]
}

// Name implements Scheduler.
func (*lblc) Name() string { return "lblc" }

// Added implements Scheduler. Destinations that know s from before know it again.
func (l *lblc) Added(list []*Server, s *Server) {
	l.servers.Added(list, s)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cache.values(func(known **Server) { adopt(known, s) })
}

// Pick implements Scheduler. It uses f.Dst.
func (l *lblc) Pick(f *Flow) *Server {
	list, now := l.load(), l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	known := l.cache.get(&f.Dst, now)
	if known != nil {
		s := *known
		if !s.Gone.Load() && s.Weight.Load() > 0 && !locallyOverloaded(s, list) {
			return s
		}
	}
	s := leastLoaded(list)
	if s == nil {
		return nil
	}
	if known == nil {
		known = l.cache.put(&f.Dst, now)
	}
	*known = s
	return s
}

// locallyOverloaded reports whether s has more active connections than its weight
// while another has less than half.
func locallyOverloaded(s *Server, list []*Server) bool {
	if s.Active.Load() <= int64(s.Weight.Load()) {
		return false
	}
	for _, o := range list {
		if 2*o.Active.Load() < int64(o.Weight.Load()) {
			return true
		}
	}
	return false
}
