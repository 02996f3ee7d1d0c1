package lb

import (
	"context"
	"net/netip"
	"sync"

	"github.com/golb/golb/forward"
)

// neighbours knows the next hops of servers: it asks the links for their MACs and
// writes what it learns into the servers' paths.
type neighbours struct {
	balancer *Balancer

	mu    sync.Mutex
	byHop map[nextHop]*neighbour
	known chan struct{} // closed when every hop has had a MAC
}

// nextHop is an address on a link.
type nextHop struct {
	port int // index of the interface
	addr netip.Addr
}

type neighbour struct {
	mac     forward.MAC
	servers []*server
	stop    func()
}

func newNeighbours(b *Balancer) *neighbours {
	return &neighbours{balancer: b, byHop: map[nextHop]*neighbour{}, known: make(chan struct{})}
}

// follow resolves the next hops of exactly these servers from now on.
func (x *neighbours) follow(n *network, servers []*server, pmtuDisc bool) {
	want := map[nextHop][]*server{}
	for _, s := range servers {
		if hop, r, ok := n.hopOf(s.address); ok {
			s.editPath(func(to *path) {
				to.port, to.src, to.mtu = hop.port, n.macs[hop.port], r.mtu(n.mtus[hop.port])
				to.source = forward.AddrFrom(r.Source)
				to.wrap = to.tunnel.forward(to.source, s.Addr, pmtuDisc)
			})
			want[hop] = append(want[hop], s)
		}
	}
	stops, asks := x.change(want)
	// Outside the lock: links call back.
	for _, stop := range stops {
		stop()
	}
	for _, hop := range asks {
		stop := n.links[hop.port].Resolve(hop.addr, func(mac [6]byte, ok bool) { x.learn(hop, mac, ok) })
		x.mu.Lock()
		x.byHop[hop].stop = stop
		x.mu.Unlock()
	}
}

// change takes over the hops that are wanted: those to stop resolving, those to
// start with.
func (x *neighbours) change(want map[nextHop][]*server) (stops []func(), asks []nextHop) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for hop, old := range x.byHop {
		if want[hop] == nil {
			stops = append(stops, old.stop)
			delete(x.byHop, hop)
		}
	}
	for hop, servers := range want {
		nb := x.byHop[hop]
		if nb == nil {
			nb = &neighbour{}
			x.byHop[hop] = nb
			asks = append(asks, hop)
		}
		nb.servers = servers
		nb.tell()
	}
	x.announceKnown()
	return stops, asks
}

// tell writes the neighbour's MAC into the paths of its servers.
func (nb *neighbour) tell() {
	for _, s := range nb.servers {
		s.editPath(func(to *path) { to.dst = nb.mac })
	}
}

// learn notes what a link found out. A neighbour that stopped answering keeps its
// MAC: the server's health, not ARP, says whether it gets packets.
func (x *neighbours) learn(hop nextHop, mac forward.MAC, ok bool) {
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
		nb.tell()
	}
	x.announceKnown()
	x.mu.Unlock()
	x.balancer.env.Logger.Info("neighbour", "address", hop.addr, "mac", mac.String(), "answers", ok)
	x.balancer.emit(Event{Kind: Neighbour, Reason: reason})
}

// announceKnown closes known once every next hop has a MAC. The lock is held.
func (x *neighbours) announceKnown() {
	for _, nb := range x.byHop {
		if nb.mac.IsZero() {
			return
		}
	}
	select {
	case <-x.known:
	default:
		close(x.known)
	}
}

// wait returns when all next hops are known, or ctx ends.
func (x *neighbours) wait(ctx context.Context) {
	select {
	case <-x.known:
	case <-ctx.Done():
	}
}
