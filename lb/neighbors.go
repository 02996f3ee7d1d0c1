package lb

import (
	"context"
	"fmt"
	"net/netip"
	"sync"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb/internal/dataplane"
)

// neighbors are the next hops of servers: it has the links resolve their MACs, and passes
// these to the data plane.
type neighbors struct {
	balancer *Balancer

	mu          sync.Mutex
	byHop       map[nextHop]*neighbor
	allResolved chan struct{} // closed when every hop has had a MAC
}

// nextHop is an address on a link.
type nextHop struct {
	port int // index of the interface
	addr netip.Addr
}

type neighbor struct {
	mac     forward.MAC
	servers []*dataplane.Server
	stop    func()
}

// hopRoute is the host's route to a server.
type hopRoute struct {
	hop   nextHop
	route Route
}

func newNeighbors(b *Balancer) *neighbors {
	return &neighbors{balancer: b, byHop: map[nextHop]*neighbor{}, allResolved: make(chan struct{})}
}

// routes finds the next hops of all servers of a config. v, unless it is nil, gets a mistake
// for each server that cannot be reached by the config's interfaces.
func (n *network) routes(cfg *Config, v *validator) map[netip.Addr]hopRoute {
	found := map[netip.Addr]hopRoute{}
	find := func(path string, addr netip.Addr) {
		if _, ok := found[addr]; ok {
			return
		}
		hop, r, err := n.hopOf(addr)
		switch {
		case err == nil && hop.port >= 0:
			found[addr] = hopRoute{hop, r}
		case v == nil:
		case err != nil:
			v.fail(path, addr, err.Error(), "an address that the host has a route to")
		default:
			v.fail(path, addr, "the route to it leaves by "+r.Interface, "an address behind one of the config's interfaces: "+fmt.Sprint(n.names))
		}
	}
	for i := range cfg.Services {
		s := &cfg.Services[i]
		for j := range s.Servers {
			find(fmt.Sprintf("services[%d].servers[%d].address", i, j), s.Servers[j].Address)
		}
		if s.Fallback.hasServer() {
			find(fmt.Sprintf("services[%d].fallback.server.address", i), s.Fallback.Server.Address)
		}
	}
	return found
}

// hopOf asks the host for the route to an address; the hop's port is -1 where it leaves by
// an interface that the config does not name.
func (n *network) hopOf(addr netip.Addr) (hop nextHop, r Route, err error) {
	r, err = n.route(addr)
	if err != nil {
		return hop, r, err
	}
	if r.Gateway.IsValid() {
		addr = r.Gateway
	}
	return nextHop{n.index(r.Interface), addr}, r, nil
}

// setRoutesLocked passes the servers' routes to the data plane, and the MACs of their next
// hops that are known. b.mu must be held.
func (n *network) setRoutesLocked(b *Balancer, routes map[netip.Addr]hopRoute) {
	pmtuDisc := orElse(b.cfg.Settings.PMTUDisc, true)
	byHop := map[nextHop][]*dataplane.Server{}
	for _, s := range b.serversLocked() {
		r, ok := routes[s.address]
		if !ok {
			continue
		}
		port := r.hop.port
		s.dp.SetRoute(dataplane.Route{
			Port: port, SrcMAC: n.macs[port], MTU: r.route.mtu(n.mtus[port]), Source: forward.AddrFrom(r.route.Source), OnLink: !r.route.Gateway.IsValid(), PMTUDisc: pmtuDisc,
		})
		byHop[r.hop] = append(byHop[r.hop], s.dp)
	}
	n.neighbors.assign(byHop)
}

// resolve has the links resolve the next hops of routes that they do not resolve yet.
func (x *neighbors) resolve(n *network, routes map[netip.Addr]hopRoute) {
	var fresh []nextHop
	x.mu.Lock()
	for _, r := range routes {
		if x.byHop[r.hop] == nil {
			x.byHop[r.hop] = &neighbor{}
			fresh = append(fresh, r.hop)
		}
	}
	x.mu.Unlock()
	// Without the lock, since links call onMAC.
	for _, hop := range fresh {
		stop := n.links[hop.port].Resolve(hop.addr, func(mac [6]byte, ok bool) { x.onMAC(hop, mac, ok) })
		x.mu.Lock()
		x.byHop[hop].stop = stop
		x.mu.Unlock()
	}
}

// assign sets the servers behind each hop.
func (x *neighbors) assign(byHop map[nextHop][]*dataplane.Server) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for hop, nb := range x.byHop {
		nb.servers = byHop[hop]
		nb.setMAC()
	}
	x.closeResolvedLocked()
}

// stopUnused has the links no longer resolve hops that no server is behind.
func (x *neighbors) stopUnused() {
	var stops []func()
	x.mu.Lock()
	for hop, nb := range x.byHop {
		if len(nb.servers) == 0 {
			stops = append(stops, nb.stop)
			delete(x.byHop, hop)
		}
	}
	x.closeResolvedLocked()
	x.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
}

// setMAC passes the neighbor's MAC to the data plane.
func (nb *neighbor) setMAC() {
	for _, s := range nb.servers {
		s.SetMAC(nb.mac)
	}
}

// onMAC stores the MAC that a link has resolved. A neighbor that stops answering keeps its
// MAC: whether a server gets packets is decided by its health, not by ARP.
func (x *neighbors) onMAC(hop nextHop, mac forward.MAC, ok bool) {
	x.mu.Lock()
	nb := x.byHop[hop]
	if nb == nil {
		x.mu.Unlock()
		return
	}
	reason := hop.addr.String() + " no longer answers"
	if ok {
		reason = hop.addr.String() + " is at " + mac.String()
		nb.mac = mac
		nb.setMAC()
	}
	x.closeResolvedLocked()
	x.mu.Unlock()
	x.balancer.tell(Event{Kind: EventNeighbor, Reason: reason})
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
