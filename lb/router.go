package lb

import (
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/golb/golb/forward"
)

// router finds the way to addresses that are no server's, by the host's routes: to
// clients, where replies do not just go back, and for what servers of method NAT
// send themselves. It remembers what it found until the routes change.
//
// A lookup of something new asks the host, and costs that packet some ten
// microseconds. The zero value has no routes.
type router struct {
	mu      sync.RWMutex
	net     *network // nil: not running
	entries map[forward.Addr]*routed
	hops    map[nextHop]*routedHop
}

type routed struct {
	hop    *routedHop // nil: no way by our ports
	source forward.Addr
}

type routedHop struct {
	via  atomic.Pointer[via] // nil while the MAC is not known
	used bool                // since the last reset
	stop func()
}

// maxRouted bounds what is remembered: a scan of addresses costs no more memory.
const maxRouted = 1 << 14

// lookup returns the next hop to dst, or nil where there is none, or while its MAC
// is not known. It must not be changed.
func (r *router) lookup(dst forward.Addr) *via {
	e := r.entry(dst)
	if e == nil || e.hop == nil {
		return nil
	}
	return e.hop.via.Load()
}

// source returns the host's address towards dst, or the zero Addr.
func (r *router) source(dst forward.Addr) forward.Addr {
	if e := r.entry(dst); e != nil {
		return e.source
	}
	return forward.Addr{}
}

func (r *router) entry(dst forward.Addr) *routed {
	r.mu.RLock()
	e := r.entries[dst]
	r.mu.RUnlock()
	if e != nil {
		return e
	}
	return r.find(dst)
}

// find asks the host.
func (r *router) find(dst forward.Addr) *routed {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.net == nil {
		return nil
	}
	if len(r.entries) >= maxRouted || len(r.hops) >= maxRouted {
		r.forget()
	}
	hop, route, ok := r.net.hopOf(dst.Netip())
	e := &routed{source: forward.AddrFrom(route.Source)}
	if ok {
		e.hop = r.hop(hop)
	}
	r.entries[dst] = e
	return e
}

// hop has the next hop's MAC resolved. The lock is held.
func (r *router) hop(at nextHop) *routedHop {
	if h := r.hops[at]; h != nil {
		h.used = true
		return h
	}
	h := &routedHop{used: true}
	r.hops[at] = h
	h.stop = r.net.links[at.port].Resolve(at.addr, func(mac [6]byte, ok bool) {
		if ok {
			h.via.Store(&via{mac, at.port})
		}
	})
	return h
}

// reset forgets the routes and uses the ports and links of n from now on; nil ends
// it. The MACs of next hops that were in use stay known, since packets that go their
// way would be lost meanwhile.
func (r *router) reset(n *network) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.net != n {
		r.forget()
		r.net = n
		return
	}
	r.entries = map[forward.Addr]*routed{}
	for at, h := range r.hops {
		if !h.used {
			h.stop()
			delete(r.hops, at)
		}
		h.used = false
	}
}

// forget drops all entries. The lock is held.
func (r *router) forget() {
	for _, h := range r.hops {
		h.stop()
	}
	r.entries, r.hops = map[forward.Addr]*routed{}, map[nextHop]*routedHop{}
}

// hopOf asks for the way to an address; ok is false where no port leads there.
func (n *network) hopOf(addr netip.Addr) (hop nextHop, r Route, ok bool) {
	r, err := n.route(addr)
	if err != nil {
		return hop, r, false
	}
	if r.Gateway.IsValid() {
		addr = r.Gateway
	}
	port := n.index(r.Interface)
	return nextHop{port, addr}, r, port >= 0
}
