package sched

import (
	"slices"
	"sync"
)

// lblcr is locality-based least connection with replication (ip_vs_lblcr.c): lblc,
// but a destination address has a set of servers, of which the least loaded for
// its weight is picked. Where that one is locally overloaded, or none of the set is
// eligible, the server that wlc picks joins the set. A set of several that has
// not changed for the expiration loses its most loaded server.
//
// Which destinations are forgotten is told at cache.
//
// Cost of a pick: O(size of the set) where its best is not beyond its weight, else
// O(n). Picks of a service go one at a time. A destination not seen before, and a
// set that grows, may allocate; at most cacheMax sets are kept, none larger than
// twice the service (setSlack).
type lblcr struct {
	servers
	now func() int64

	mu    sync.Mutex
	cache *cache[serverSet]
}

// serverSet holds servers, latest joined first.
type serverSet struct {
	list    []*Server
	changed int64 // seconds
}

// Name implements Scheduler.
func (*lblcr) Name() string { return "lblcr" }

// Added implements Scheduler. Sets that had s know it again.
func (l *lblcr) Added(list []*Server, s *Server) {
	l.servers.Added(list, s)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cache.values(func(set *serverSet) {
		for i := range set.list {
			adopt(&set.list[i], s)
		}
	})
}

// Pick implements Scheduler. It uses f.Dst.
func (l *lblcr) Pick(f *Flow) *Server {
	list, now := l.load(), l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	set := l.cache.get(&f.Dst, now)
	if set != nil {
		best := set.best()
		if len(set.list) > 1 && now-set.changed > l.cache.expiration {
			set.shrink(now)
		}
		if best != nil && !locallyOverloaded(best, list) {
			return best
		}
	}
	s := leastLoaded(list)
	if s == nil {
		return nil
	}
	if set == nil {
		set = l.cache.put(&f.Dst, now)
	}
	set.join(s, now, len(list))
	return s
}

// best returns the eligible server with the least load for its weight, or nil.
func (v *serverSet) best() *Server {
	var best *Server
	var load, weight int64
	for _, s := range v.list {
		w := int64(s.Weight.Load())
		if w <= 0 || s.Overloaded.Load() || s.Gone.Load() {
			continue
		}
		l := overhead(s)
		if best == nil || load*w > l*weight {
			best, load, weight = s, l, w
		}
	}
	return best
}

// shrink takes the server with the greatest load for its weight out, if any has a
// weight.
func (v *serverSet) shrink(now int64) {
	most := -1
	var load, weight int64
	for i, s := range v.list {
		w := int64(s.Weight.Load())
		if w <= 0 {
			continue
		}
		l := overhead(s)
		if most < 0 || load*w < l*weight {
			most, load, weight = i, l, w
		}
	}
	if most >= 0 {
		v.list = slices.Delete(v.list, most, most+1)
		v.changed = now
	}
}

// setSlack is how many servers a set may have at least, those that are gone included.
const setSlack = 16

// join adds s if it is not in the set. Servers that are gone stay, since ip_vs
// knows them again should they return, until the set is twice as large as the service.
func (v *serverSet) join(s *Server, now int64, limit int) {
	if slices.Contains(v.list, s) {
		return
	}
	if len(v.list) >= max(2*limit, setSlack) {
		v.list = slices.DeleteFunc(v.list, func(o *Server) bool { return o.Gone.Load() })
	}
	v.list = slices.Insert(v.list, 0, s)
	v.changed = now
}
