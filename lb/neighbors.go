package lb

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/golb/golb/forward"
)

// neighbors are the next hops of servers: it has the links resolve their MACs, and passes
// these to the data plane. Balancer.mu guards it.
type neighbors struct {
	balancer    *Balancer
	byHop       map[nextHop]*neighbor
	links       []linkState   // by number of the interface
	allResolved chan struct{} // closed when every hop has had a MAC
}

type neighbor struct {
	hop     nextHop
	on      string      // name of the interface
	mac     forward.MAC // the last known, zero where it has never been
	answers bool        // it is at mac, as far as is known
	asked   time.Time   // when that began
	overdue bool        // it should have answered by now
	link    *linkState
	servers []*server // that may be reached by it
	stop    func()
}

// neighborTimeout is how long a neighbor that was never heard of has to answer: the
// kernel's three questions, a second apart.
const neighborTimeout = 3 * time.Second

// askingTime is what is added to that for each neighbor: many are not asked at once, for
// the sake of the network.
const askingTime = 4 * time.Millisecond

func newNeighbors(b *Balancer) *neighbors {
	return &neighbors{balancer: b, byHop: map[nextHop]*neighbor{}, links: make([]linkState, len(b.cfg.Interfaces)), allResolved: make(chan struct{})}
}

// atLocked returns the next hops that are at a MAC on an interface. b.mu must be held.
func (x *neighbors) atLocked(on string, mac forward.MAC) (hops []netip.Addr) {
	for hop, nb := range x.byHop {
		if nb.on == on && nb.mac == mac {
			hops = append(hops, hop.addr)
		}
	}
	slices.SortFunc(hops, netip.Addr.Compare)
	return hops
}

// resolve has the links resolve the next hops of routes that they do not resolve yet.
func (x *neighbors) resolve(n *network, routes map[netip.Addr]serverRoute) {
	var fresh []*neighbor
	x.balancer.mu.Lock()
	for _, r := range routes {
		for _, hop := range r.hops {
			if x.byHop[hop] == nil {
				nb := &neighbor{hop: hop, on: n.names[hop.port], link: &x.links[hop.port], asked: x.balancer.env.Now()}
				x.byHop[hop] = nb
				if !hop.pinned.IsZero() {
					nb.mac, nb.answers, nb.stop = hop.pinned, true, func() {}
					continue
				}
				fresh = append(fresh, nb)
			}
		}
	}
	x.balancer.mu.Unlock()
	// Without the lock, since links call onMAC.
	for _, nb := range fresh {
		nb.stop = n.links[nb.hop.port].Resolve(nb.hop.addr, func(mac [6]byte, ok bool) { x.onMAC(n, nb, mac, ok) })
	}
}

// assignLocked sets the servers that may be reached by each hop.
func (x *neighbors) assignLocked(servers []*server, routes map[netip.Addr]serverRoute) {
	for _, nb := range x.byHop {
		nb.servers = nil
	}
	for _, s := range servers {
		for _, hop := range routes[s.address].hops {
			nb := x.byHop[hop]
			nb.servers = append(nb.servers, s)
		}
	}
}

// linkState is the state of an interface.
type linkState struct {
	InterfaceState
	since time.Time // when it went out of use; zero where it is up
}

// lookAtLinksLocked notes the state of the interfaces.
func (x *neighbors) lookAtLinksLocked(n *network) {
	for i, f := range n.interfaces {
		l := &x.links[i]
		l.InterfaceState = f.seen.state()
		switch {
		case l.InterfaceState == InterfaceUp:
			l.since = time.Time{}
		case l.since.IsZero():
			l.since = x.balancer.env.Now()
		}
	}
}

// cutOff reports whether the neighbor's interface has been out of use for longer than a
// neighbor may be silent.
func (nb *neighbor) cutOff(now time.Time) bool {
	return !nb.link.since.IsZero() && now.Sub(nb.link.since) >= neighborTimeout
}

// reachable reports whether packets to the neighbor arrive, as far as is known.
func (nb *neighbor) reachable() bool { return nb.answers && nb.link.InterfaceState == InterfaceUp }

// chooseLocked returns the first of some next hops that is reachable, or else one that may, or
// else the first; nil where there are none.
func (x *neighbors) chooseLocked(hops []nextHop) (best *neighbor) {
	for _, hop := range hops {
		nb := x.byHop[hop]
		switch {
		case nb.reachable():
			return nb
		case best == nil, best.mac.IsZero() && !nb.mac.IsZero():
			best = nb
		}
	}
	return best
}

// stopUnused has the links no longer resolve hops that no server is behind.
func (x *neighbors) stopUnused() {
	var stops []func()
	x.balancer.mu.Lock()
	for hop, nb := range x.byHop {
		if len(nb.servers) == 0 {
			stops = append(stops, nb.stop)
			delete(x.byHop, hop)
		}
	}
	x.closeResolvedLocked()
	x.balancer.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
}

// onMAC notes what a link says of a neighbor. One that no longer answers keeps its MAC:
// packets go there as long as there is nothing better.
func (x *neighbors) onMAC(n *network, nb *neighbor, mac forward.MAC, ok bool) {
	b := x.balancer
	b.mu.Lock()
	if x.byHop[nb.hop] != nb {
		b.mu.Unlock()
		return
	}
	reason := nb.hop.addr.String() + " no longer answers"
	nb.answers = ok
	if ok {
		reason = nb.hop.addr.String() + " is at " + mac.String()
		nb.mac = mac
	}
	x.followLocked(n, nb)
	x.closeResolvedLocked()
	b.mu.Unlock()
	b.tell(Event{Kind: EventNeighbor, Reason: reason})
	b.report()
}

// followLocked chooses the next hops anew of all servers that may be reached by nb.
func (x *neighbors) followLocked(n *network, nb *neighbor) {
	for _, s := range nb.servers {
		n.followHopLocked(x.balancer, s)
	}
}

// expireLocked does what becomes due with time for neighbors that do not answer.
func (x *neighbors) expireLocked(n *network) {
	now := x.balancer.env.Now()
	x.lookAtLinksLocked(n)
	timeout := neighborTimeout + time.Duration(len(x.byHop))*askingTime
	for _, nb := range x.byHop {
		if !nb.reachable() {
			nb.overdue = now.Sub(nb.asked) >= timeout
			x.followLocked(n, nb) // their checks may have failed or passed since
		}
	}
}

// closeResolvedLocked closes allResolved once every next hop has a MAC.
func (x *neighbors) closeResolvedLocked() {
	for _, nb := range x.byHop {
		if nb.mac.IsZero() {
			return
		}
	}
	select {
	case <-x.allResolved:
	default:
		close(x.allResolved)
	}
}

// wait returns when every next hop has a MAC, or ctx ends.
func (x *neighbors) wait(ctx context.Context) {
	select {
	case <-x.allResolved:
	case <-ctx.Done():
	}
}
