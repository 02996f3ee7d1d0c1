package lb

import (
	"context"
	"fmt"
	"net/netip"
	"sync"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb/internal/dataplane"
)

// neighbors knows the next hops of servers: it has the links resolve their MACs and
// shows these to the workers.
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

// hopRoute is how the host reaches a server.
type hopRoute struct {
	hop   nextHop
	route Route
}

func newNeighbors(b *Balancer) *neighbors {
	return &neighbors{balancer: b, byHop: map[nextHop]*neighbor{}, allResolved: make(chan struct{})}
}

// routes finds the next hops of all servers of a config, and notes the servers that no
// interface leads to; v is nil where nobody wants to know.
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

// hopOf asks the host for the way to an address; the hop's port is -1 where it does not
// leave by one of our interfaces.
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

// setRoutesLocked shows the servers' routes to the workers, and their next hops' MACs as
// far as these are known. The balancer's lock is held.
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
			Port: port, SrcMAC: n.macs[port], MTU: r.route.mtu(n.mtus[port]), Source: forward.AddrFrom(r.route.Source), PMTUDisc: pmtuDisc,
		})
		byHop[r.hop] = append(byHop[r.hop], s.dp)
	}
	n.neighbors.assign(byHop)
}

// resolve has the links resolve the next hops of routes, beside those that they resolve
// already.
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
	// Outside the lock: links call back.
	for _, hop := range fresh {
		stop := n.links[hop.port].Resolve(hop.addr, func(mac [6]byte, ok bool) { x.onMAC(hop, mac, ok) })
		x.mu.Lock()
		x.byHop[hop].stop = stop
		x.mu.Unlock()
	}
}

// assign says which servers are behind which hop, and no others.
func (x *neighbors) assign(byHop map[nextHop][]*dataplane.Server) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for hop, nb := range x.byHop {
		nb.servers = byHop[hop]
		nb.setMAC()
	}
	x.closeKnownLocked()
}

// stopUnused ends the resolving of hops that no server is behind.
func (x *neighbors) stopUnused() {
	var stops []func()
	x.mu.Lock()
	for hop, nb := range x.byHop {
		if len(nb.servers) == 0 {
			stops = append(stops, nb.stop)
			delete(x.byHop, hop)
		}
	}
	x.closeKnownLocked()
	x.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
}

// setMAC shows the neighbor's MAC to the workers.
func (nb *neighbor) setMAC() {
	for _, s := range nb.servers {
		s.SetMAC(nb.mac)
	}
}

// onMAC notes what a link found out. A neighbor that stopped answering keeps its
// MAC: the server's health, not ARP, decides whether it gets packets.
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
	x.closeKnownLocked()
	x.mu.Unlock()
	x.balancer.env.Logger.Info("neighbor", "address", hop.addr, "mac", mac.String(), "answers", ok)
	x.balancer.emit(Event{Kind: EventNeighbor, Reason: reason})
}

// closeKnownLocked closes known once every next hop has a MAC.
func (x *neighbors) closeKnownLocked() {
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

// wait returns when all next hops are known, or ctx ends.
func (x *neighbors) wait(ctx context.Context) {
	select {
	case <-x.allResolved:
	case <-ctx.Done():
	}
}
