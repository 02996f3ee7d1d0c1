package sched

import "sync"

// lblc is locality-based least connection (ip_vs_lblc.c), for caches: a destination
// address stays with the server that wlc picked for it first. It moves to another
// when that server is gone or has weight 0, or when it has more active connections
// than its weight while some server has fewer than half of its own. That a server
// has reached its threshold moves no destination, as in ip_vs.
//
// The cache says which destinations are forgotten.
//
// Cost of a pick: O(1) where the destination is known and its server has no more
// active connections than its weight, else O(n). Picks lock: those of one service go
// one at a time. A new destination may allocate; at most cacheMax are kept.
type lblc struct {
	servers
	now func() int64

	mu    sync.Mutex
	cache *cache[*Server]
}

func newLBLC(o Options) (Scheduler, error) {
	if err := o.checkCache(); err != nil {
		return nil, err
	}
	return &lblc{now: o.Now, cache: newCache[*Server](o.Expiration)}, nil
}

// Name implements Scheduler.
func (*lblc) Name() string { return "lblc" }

// Added implements Scheduler. Destinations of a server that was removed and is back
// stay with it.
func (l *lblc) Added(servers []*Server, s *Server) {
	l.servers.Added(servers, s)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cache.each(func(cached **Server) { replaceReturned(cached, s) })
}

// replaceReturned puts s in the place of *cached where that is gone and s is the same
// server, made anew by its owner. ip_vs has no need of it: there a server that the
// cache refers to stays in the trash, from which it is taken when it is added again.
func replaceReturned(cached **Server, s *Server) {
	if c := *cached; c.Gone() && c.Addr == s.Addr && c.Port == s.Port {
		*cached = s
	}
}

// Pick implements Scheduler. It uses f.Dst.
func (l *lblc) Pick(f *Flow) *Server {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	cached := l.cache.get(&f.Dst, now)
	if cached != nil {
		s := *cached
		if !s.Gone() && s.Weight() > 0 && !l.exceedsWeight(s) {
			return s
		}
	}
	s := l.leastOverhead()
	if s == nil {
		return nil
	}
	if cached == nil {
		cached = l.cache.put(&f.Dst, now)
	}
	*cached = s
	return s
}

// exceedsWeight reports whether s has more active connections than its weight while
// another server has fewer than half of its own (is_overloaded in ip_vs_lblc.c).
func (v *servers) exceedsWeight(s *Server) bool {
	if s.Active() <= int64(s.Weight()) {
		return false
	}
	_, loads := v.current()
	for _, l := range loads {
		if 2*l.active() < l.anyWeight() {
			return true
		}
	}
	return false
}
