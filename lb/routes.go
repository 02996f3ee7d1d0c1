package lb

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb/internal/dataplane"
)

// How packets reach servers: by the host's route to each, which may have several next hops,
// of which one that answers is used. A server without a route, or whose next hop does not
// answer, is down for as long as that is so (sourceRoute).

// ErrOwnHost is what Env.Route wraps for an address of the host itself: that of a server
// is a mistake of the config.
var ErrOwnHost = errors.New("an address of this host, and golb does not balance to its own host")

var errNotOneHost = errors.New("a broadcast, multicast or anycast address")

// nextHop is an address on a link.
type nextHop struct {
	port   int // index of the interface
	addr   netip.Addr
	pinned forward.MAC // where it is, as the config says; zero: that is asked
}

// serverRoute is the host's route to a server.
type serverRoute struct {
	route Route
	hops  []nextHop // by the config's interfaces, the kernel's choice first
	err   error     // why there are none
}

// routes looks up the routes to all servers of a config.
func (n *network) routes(cfg *Config) map[netip.Addr]serverRoute {
	found, pinned := map[netip.Addr]serverRoute{}, map[netip.Addr]forward.MAC{}
	cfg.eachServer(func(_ string, r *Server) {
		if !r.MAC.IsZero() {
			pinned[r.Address] = r.MAC
		}
	})
	cfg.eachServer(func(_ string, r *Server) {
		if _, ok := found[r.Address]; !ok {
			to := n.routeTo(r.Address)
			for i := range to.hops {
				if hop := &to.hops[i]; hop.addr == r.Address { // no router is between
					hop.pinned = pinned[r.Address]
				}
			}
			found[r.Address] = to
		}
	})
	return found
}

// eachServer calls do with all servers and fallback servers, and where they are in the
// config.
func (c *Config) eachServer(do func(path string, r *Server)) {
	for i := range c.Services {
		s := &c.Services[i]
		for j := range s.Servers {
			do(fmt.Sprintf("services[%d].servers[%d].address", i, j), &s.Servers[j])
		}
		if s.Fallback.hasServer() {
			do(fmt.Sprintf("services[%d].fallback.server.address", i), &s.Fallback.Server)
		}
	}
}

// neverReached returns the mistakes that no change of routes can mend.
func neverReached(cfg *Config, routes map[netip.Addr]serverRoute) error {
	v := &validator{}
	cfg.eachServer(func(path string, r *Server) {
		if err := routes[r.Address].err; errors.Is(err, ErrOwnHost) || errors.Is(err, errNotOneHost) {
			v.fail(path, r.Address, err.Error(), "the address of another host")
		}
	})
	return v.result()
}

// routeTo asks the host for the route to an address.
func (n *network) routeTo(dst netip.Addr) serverRoute {
	r, err := n.route(dst)
	if err != nil {
		return serverRoute{err: err}
	}
	to := serverRoute{route: r}
	for _, h := range append([]RouteHop{{r.Interface, r.Index, r.Gateway}}, r.Others...) {
		if port := n.portOf(h.Interface, h.Index); port >= 0 {
			addr := h.Gateway
			if !addr.IsValid() {
				addr = dst
			}
			to.hops = append(to.hops, nextHop{port: port, addr: addr})
		}
	}
	if len(to.hops) == 0 {
		to.err = fmt.Errorf("the route to it leaves by %s, and not by one of the config's interfaces: %v", r.Interface, n.portMap.Load().names)
	}
	return to
}

// refuseVRFs refuses interfaces whose routes are in another table than the main one.
func (n *network) refuseVRFs() error {
	v := &validator{}
	for i, f := range n.interfaces {
		if n.host == nil {
			break
		}
		if vrf := n.host.vrf(f.seen.host.Index); vrf != "" {
			v.fail(fmt.Sprintf("interfaces[%d]", i), n.names[i], "in the VRF "+vrf+", whose routes golb does not follow", "an interface in no VRF")
		}
	}
	return v.result()
}

// setRoutesLocked passes the servers' routes to the data plane, with the MACs of their
// next hops that are known. b.mu must be held.
func (n *network) setRoutesLocked(b *Balancer, routes map[netip.Addr]serverRoute) {
	n.serverRoutes = routes
	n.neighbors.assignLocked(b.serversLocked(), routes)
	n.neighbors.lookAtLinksLocked(n)
	for _, s := range b.serversLocked() {
		s.hop = nextHop{port: noHop}
		n.followHopLocked(b, s)
	}
	n.neighbors.closeResolvedLocked()
}

// noHop is the port of the next hop of a server that has none.
const noHop = -1

// followHopLocked chooses the next hop of a server anew, and says whether that fails the
// server. b.mu must be held.
func (n *network) followHopLocked(b *Balancer, s *server) {
	to, ok := n.serverRoutes[s.address]
	if !ok {
		return
	}
	nb := n.neighbors.chooseLocked(to.hops)
	if nb == nil {
		s.hop = nextHop{port: noHop}
		s.dp.SetMAC(forward.MAC{})
	} else {
		if s.hop != nb.hop {
			s.hop = nb.hop
			n.setPathLocked(b, s, &to)
		}
		s.dp.SetMAC(nb.mac)
	}
	problem := to.problem(nb, s, b.env.Now())
	b.setServerStateLocked(s, sourceRoute, problem != "", problem, time.Time{})
}

// setPathLocked passes the way by s.hop to the data plane.
func (n *network) setPathLocked(b *Balancer, s *server, to *serverRoute) {
	port := s.hop.port
	ports := make([]int, len(to.hops))
	for i, hop := range to.hops {
		ports[i] = hop.port
	}
	s.dp.SetRoute(dataplane.Route{
		Port: port, SrcMAC: n.macs[port], MTU: to.route.mtu(n.mtus[port]), Source: forward.AddrFrom(to.route.Source),
		OnLink: len(to.hops) == 1 && s.hop.addr == s.address, Ports: ports, PMTUDisc: orElse(b.cfg.Settings.PMTUDisc, true),
	})
}

// problem returns why packets do not reach a server by nb, "" where they may. Where a
// check of it passes, a neighbor that has gone silent is there all the same.
func (r *serverRoute) problem(nb *neighbor, s *server, now time.Time) string {
	switch {
	case nb == nil:
		return r.err.Error()
	case nb.cutOff(now):
		return fmt.Sprintf("no neighbor: interface %s: %s", nb.on, nb.link.InterfaceState)
	case nb.answers, !nb.mac.IsZero() && s.passes():
		return ""
	case nb.mac.IsZero() && !nb.overdue && s.failures[sourceRoute] == "":
		return "" // it may be about to answer
	case nb.hop.addr == s.address:
		return fmt.Sprintf("no neighbor: %s does not answer on %s", nb.hop.addr, nb.on)
	}
	return fmt.Sprintf("no neighbor: its gateway %s does not answer on %s", nb.hop.addr, nb.on)
}

// passes reports whether a check of the server's own address has not failed.
func (s *server) passes() bool {
	return slices.ContainsFunc(s.checks, func(c serverCheck) bool { return c.itself && c.reason == "" })
}
