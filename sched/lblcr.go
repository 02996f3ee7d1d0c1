package sched

import (
	"slices"
	"sync"
)

// lblcr is locality-based least connection with replication (ip_vs_lblcr.c): lblc,
// but a destination address has a set of servers, of which the one with the smallest
// overhead for its weight is picked. Where that one has more active connections than
// its weight while some server of the service has fewer than half of its own, or none
// of the set is eligible, the server that wlc picks joins the set. A set of several
// that has not changed for the expiration loses the server with the greatest overhead.
//
// The cache says which destinations are forgotten.
//
// Cost of a pick: O(size of the set) where its best server has no more active
// connections than its weight, else O(n). Picks lock: those of one service go one at
// a time. A new destination, and a set that grows, may allocate; at most cacheMax sets
// are kept, none larger than twice the service (or minSetLimit).
type lblcr struct {
	servers
	now func() int64

	mu    sync.Mutex
	cache *cache[serverSet]
}

func newLBLCR(o Options) (Scheduler, error) {
	if err := o.checkCache(); err != nil {
		return nil, err
	}
	return &lblcr{now: o.Now, cache: newCache[serverSet](o.Expiration)}, nil
}

// Name implements Scheduler.
func (*lblcr) Name() string { return "lblcr" }

// Added implements Scheduler. A server that was removed and is back is in the sets
// that it was in.
func (l *lblcr) Added(servers []*Server, s *Server) {
	l.servers.Added(servers, s)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cache.each(func(set *serverSet) {
		for i := range set.servers {
			replaceReturned(&set.servers[i], s)
		}
	})
}

// Pick implements Scheduler. It uses f.Dst.
func (l *lblcr) Pick(f *Flow) *Server {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	set := l.cache.get(&f.Dst, now)
	if set != nil {
		s := set.min()
		if len(set.servers) > 1 && now-set.lastMod > l.cache.expiration {
			set.eraseMax(now)
		}
		if s != nil && !l.exceedsWeight(s) {
			return s
		}
	}
	s := l.leastOverhead()
	if s == nil {
		return nil
	}
	if set == nil {
		set = l.cache.put(&f.Dst, now)
	}
	servers, _ := l.current()
	set.insert(s, now, len(servers))
	return s
}

// serverSet is the servers of a destination, the latest inserted first
// (ip_vs_dest_set).
type serverSet struct {
	servers []*Server
	lastMod int64 // seconds
}

// min returns the eligible server with the smallest overhead for its weight, or nil
// (ip_vs_dest_set_min).
func (v *serverSet) min() *Server {
	var best *Server
	var overhead, weight int64
	for _, s := range v.servers {
		w := s.load.weight.Load()
		if w <= 0 || s.Gone() {
			continue
		}
		if o := s.Overhead(); best == nil || overhead*w > o*weight {
			best, overhead, weight = s, o, w
		}
	}
	return best
}

// eraseMax takes out the server with the greatest overhead for its weight, if any has
// a weight (ip_vs_dest_set_max, ip_vs_dest_set_erase).
func (v *serverSet) eraseMax(now int64) {
	most := -1
	var overhead, weight int64
	for i, s := range v.servers {
		w := s.load.anyWeight()
		if w == 0 {
			continue
		}
		if o := s.Overhead(); most < 0 || overhead*w < o*weight {
			most, overhead, weight = i, o, w
		}
	}
	if most >= 0 {
		v.servers = slices.Delete(v.servers, most, most+1)
		v.lastMod = now
	}
}

// minSetLimit is what a set may hold at least, servers that are gone included.
const minSetLimit = 16

// insert puts s at the head of a set that does not have it (ip_vs_dest_set_insert).
// Servers that are gone stay, for they may come back, until the set is twice as large
// as the service.
func (v *serverSet) insert(s *Server, now int64, serviceSize int) {
	if slices.Contains(v.servers, s) {
		return
	}
	if len(v.servers) >= max(2*serviceSize, minSetLimit) {
		v.servers = slices.DeleteFunc(v.servers, func(o *Server) bool { return o.Gone() })
	}
	v.servers = slices.Insert(v.servers, 0, s)
	v.lastMod = now
}
