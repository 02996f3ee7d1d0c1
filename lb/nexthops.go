package lb

import (
	"sync"
	"sync/atomic"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb/internal/dataplane"
)

// nextHops finds the next hops of addresses that are not servers', by the host's routes
// (dataplane.NextHops). It caches them until the routes change.
//
// The lookup of an address that is not cached asks the host, which takes some ten
// microseconds. The zero value has no routes.
type nextHops struct {
	mu      sync.RWMutex
	net     *network // nil: not running
	entries map[forward.Addr]*routedAddr
	hops    map[nextHop]*routedHop
}

type routedAddr struct {
	hop    *routedHop // nil: no route by the config's interfaces
	source forward.Addr
}

type routedHop struct {
	hop  atomic.Pointer[dataplane.Hop] // nil while the MAC is not known
	used bool                          // since the last reset
	stop func()
}

// maxRouted bounds the cache, so that a scan of addresses cannot use up memory.
const maxRouted = 1 << 14

// NextHop implements dataplane.NextHops.
func (x *nextHops) NextHop(dst forward.Addr) (hop *dataplane.Hop, source forward.Addr) {
	x.mu.RLock()
	e := x.entries[dst]
	x.mu.RUnlock()
	if e == nil {
		if e = x.find(dst); e == nil {
			return nil, forward.Addr{}
		}
	}
	if e.hop == nil {
		return nil, e.source
	}
	return e.hop.hop.Load(), e.source
}

// find asks the host and caches the answer; it returns nil where golb does not run.
func (x *nextHops) find(dst forward.Addr) *routedAddr {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.net == nil {
		return nil
	}
	if len(x.entries) >= maxRouted || len(x.hops) >= maxRouted {
		x.forgetLocked()
	}
	to := x.net.routeTo(dst.Netip())
	e := &routedAddr{source: forward.AddrFrom(to.route.Source)}
	if len(to.hops) > 0 {
		e.hop = x.hopLocked(to.hops[0])
	}
	x.entries[dst] = e
	return e
}

// hopLocked returns the cached next hop, or adds it and has its MAC resolved.
func (x *nextHops) hopLocked(at nextHop) *routedHop {
	if h := x.hops[at]; h != nil {
		h.used = true
		return h
	}
	h := &routedHop{used: true}
	x.hops[at] = h
	h.stop = x.net.links[at.port].Resolve(at.addr, func(mac [6]byte, ok bool) {
		if ok {
			h.hop.Store(&dataplane.Hop{MAC: mac, Port: at.port})
		}
	})
	return h
}

// reset empties the cache and uses the network n from now on, nil for none. Where n is the
// same as before, next hops used since the last reset keep their MACs: packets to them would
// be lost until they are resolved again.
func (x *nextHops) reset(n *network) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.net != n {
		x.forgetLocked()
		x.net = n
		return
	}
	x.entries = map[forward.Addr]*routedAddr{}
	for at, h := range x.hops {
		if !h.used {
			h.stop()
			delete(x.hops, at)
		}
		h.used = false
	}
}

// forgetLocked empties the cache.
func (x *nextHops) forgetLocked() {
	for _, h := range x.hops {
		h.stop()
	}
	x.entries, x.hops = map[forward.Addr]*routedAddr{}, map[nextHop]*routedHop{}
}
