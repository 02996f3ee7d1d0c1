package lb

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb/internal/dataplane"
)

// nextHops finds the next hops of addresses that are not servers', by the host's routes
// (dataplane.NextHops). It caches them until the routes change, or nobody uses them.
//
// Packets can ask for any address, so all is bounded: what is cached, how many neighbors
// are asked for at once, and how long one that does not answer is.
//
// The lookup of an address that is not cached asks the host, which takes some ten
// microseconds. The zero value has no routes.
type nextHops struct {
	mu      sync.RWMutex
	net     *network // nil: not running
	now     func() time.Time
	entries map[forward.Addr]*routedAddr
	hops    map[nextHop]*routedHop
	asking  []*routedHop // those that have not answered, and some that have, the oldest first
	aged    time.Time    // when unused ones were last dropped
}

type routedAddr struct {
	hops   []*routedHop // by preference; none: no route by the config's interfaces
	source forward.Addr
	used   atomic.Bool // since aged
}

type routedHop struct {
	at      nextHop
	hop     atomic.Pointer[dataplane.Hop] // nil while the MAC is not known
	silent  atomic.Bool                   // it no longer answers
	used    atomic.Bool                   // since aged
	dropped atomic.Bool                   // it is not followed any more
	asked   time.Time
	stop    func()
}

const (
	maxRouted    = 1 << 14 // addresses, and next hops, that are cached
	maxAsking    = 256     // neighbors that have not answered and are still asked for
	unusedForget = 30 * time.Second
)

// NextHop implements dataplane.NextHops.
func (x *nextHops) NextHop(dst forward.Addr) (hop *dataplane.Hop, source forward.Addr) {
	x.mu.RLock()
	e := x.entries[dst]
	x.mu.RUnlock()
	if e == nil || e.outdated() {
		if e = x.find(dst); e == nil {
			return nil, forward.Addr{}
		}
	}
	use(&e.used)
	return e.choose(), e.source
}

// use sets a flag; those that packets share are mostly set.
func use(used *atomic.Bool) {
	if !used.Load() {
		used.Store(true)
	}
}

// outdated reports whether a next hop of e is not followed any more.
func (e *routedAddr) outdated() bool {
	for _, h := range e.hops {
		if h.dropped.Load() {
			return true
		}
	}
	return false
}

// choose returns the first next hop that answers, or else one that did.
func (e *routedAddr) choose() (best *dataplane.Hop) {
	for _, h := range e.hops {
		use(&h.used)
		hop := h.hop.Load()
		if hop != nil && !h.silent.Load() {
			return hop
		}
		if best == nil {
			best = hop
		}
	}
	return best
}

// find asks the host and caches the answer; it returns nil where golb does not run.
func (x *nextHops) find(dst forward.Addr) *routedAddr {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.net == nil {
		return nil
	}
	for old := range x.entries {
		if len(x.entries) < maxRouted {
			break
		}
		delete(x.entries, old)
	}
	to := x.net.routeTo(dst.Netip())
	e := &routedAddr{source: forward.AddrFrom(to.route.Source)}
	for _, at := range to.hops {
		e.hops = append(e.hops, x.hopLocked(at))
	}
	x.entries[dst] = e
	return e
}

// hopLocked returns the cached next hop, or adds it and has its MAC resolved.
func (x *nextHops) hopLocked(at nextHop) *routedHop {
	if h := x.hops[at]; h != nil {
		return h
	}
	for _, old := range x.hops {
		if len(x.hops) < maxRouted {
			break
		}
		x.dropLocked(old)
	}
	x.stopAskingLocked(maxAsking - 1)
	h := &routedHop{at: at, asked: x.now()}
	x.hops[at] = h
	x.asking = append(x.asking, h)
	h.stop = x.net.links[at.port].Resolve(at.addr, func(mac [6]byte, ok bool) {
		if ok {
			h.hop.Store(&dataplane.Hop{MAC: mac, Port: at.port})
		}
		h.silent.Store(!ok)
	})
	return h
}

// stopAskingLocked drops next hops that do not answer: the oldest, so that at most so many
// are left, and those that had time enough.
func (x *nextHops) stopAskingLocked(most int) {
	kept := x.asking[:0]
	for _, h := range x.asking {
		if h.hop.Load() == nil && !h.dropped.Load() {
			kept = append(kept, h)
		}
	}
	clear(x.asking[len(kept):])
	now := x.now()
	for len(kept) > 0 && (len(kept) > most || now.Sub(kept[0].asked) >= neighborTimeout) {
		x.dropLocked(kept[0])
		kept = kept[1:]
	}
	x.asking = kept
}

func (x *nextHops) dropLocked(h *routedHop) {
	h.dropped.Store(true)
	h.stop()
	delete(x.hops, h.at)
}

// age drops what does not answer, and what was not used for a while.
func (x *nextHops) age() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.net == nil {
		return
	}
	x.stopAskingLocked(maxAsking)
	now := x.now()
	if now.Sub(x.aged) < unusedForget {
		return
	}
	x.aged = now
	for _, h := range x.hops {
		if !h.used.Swap(false) {
			x.dropLocked(h)
		}
	}
	for dst, e := range x.entries {
		if !e.used.Swap(false) {
			delete(x.entries, dst)
		}
	}
}

// reset has all routes be looked up anew, on the network n, nil for none. Where n is the same
// as before, next hops keep their MACs: packets to them would be lost until they are
// resolved again.
func (x *nextHops) reset(n *network) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.entries = map[forward.Addr]*routedAddr{}
	if x.net == n {
		return
	}
	for _, h := range x.hops {
		x.dropLocked(h)
	}
	x.net, x.hops, x.asking = n, map[nextHop]*routedHop{}, nil
	x.aged = x.now()
}
