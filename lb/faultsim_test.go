package lb_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest"
	"github.com/golb/golb/lb/lbtest/seeded"
)

// TestTrafficFollowsTheFaultsOfAHost plays random sequences of faults of routes,
// neighbors, interfaces and routers, and holds golb against a model of what should flow:
// what can be reached gets its traffic, what cannot is down, and at the end all is as at
// the beginning.
func TestTrafficFollowsTheFaultsOfAHost(t *testing.T) {
	const sequences = 3 // for each of rapid's checks
	seeded.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		for n := range uint64(sequences) {
			var problem string
			synctest.Test(t, func(t *testing.T) {
				s := newFaultSim(t, rand.New(rand.NewPCG(seed, n)))
				defer s.run(s.config())()
				problem = s.play()
			})
			if problem != "" {
				rt.Fatal(problem)
			}
		}
	})
}

const simServers = 3

// simHop is a neighbor on an interface.
type simHop struct {
	on   string
	addr netip.Addr
}

// simFlow is a connection, and the server that it is at.
type simFlow struct {
	client netip.AddrPort
	server int
}

// faultSim is a faulty host, and what its network should do.
type faultSim struct {
	*faultyHost
	random *rand.Rand
	did    []string

	hops   [simServers][]simHop // the next hops of each server's route
	at     map[simHop]forward.MAC
	up     map[string]bool // interfaces
	router forward.MAC     // that the client's packets come by, and that has routerAddr
	failed bool            // another router has taken over since the client was heard of
	direct bool            // no route leads to clients

	flows, natFlows []simFlow
	clients         int
}

var (
	simVIP      = netip.MustParseAddr("192.0.2.82") // of the NAT service
	simGateways = []simHop{
		{"back", netip.MustParseAddr("10.0.1.1")}, {"front", netip.MustParseAddr("192.0.2.1")},
		{"back", netip.MustParseAddr("10.0.1.2")}, {"back", netip.MustParseAddr("fe80::9")},
	}
)

func newFaultSim(t *testing.T, random *rand.Rand) *faultSim {
	s := &faultSim{faultyHost: newFaultyHost(t), random: random, at: map[simHop]forward.MAC{}, up: map[string]bool{"front": true, "back": true}}
	for n := range simServers {
		s.setRoute(n, s.onLink(n, "back"))
	}
	s.setRouter(firstRouter)
	s.setClientRoute(true)
	return s
}

func (s *faultSim) config() lb.Config {
	nat := service(simVIP, simServers)
	nat.Method, nat.Protocol = lb.NAT, lb.UDP
	return lb.Config{Services: []lb.Service{service(vip4, simServers), nat}}
}

// note adds to what was done, for people.
func (s *faultSim) note(format string, args ...any) {
	s.did = append(s.did, fmt.Sprintf(format, args...))
}

func (s *faultSim) onLink(n int, on string) []simHop { return []simHop{{on, server4(n + 1)}} }

// setRoute gives a server's address a route with these next hops.
func (s *faultSim) setRoute(n int, hops []simHop) {
	s.note("server %d by %v", n+1, hops)
	s.hops[n] = hops
	if len(hops) == 0 {
		s.route(server4(n+1), lb.Route{}, errNoRoute)
		return
	}
	list := make([]lb.RouteHop, len(hops))
	for i, h := range hops {
		list[i] = lb.RouteHop{Interface: h.on, Gateway: h.addr}
		if h.addr == server4(n+1) {
			list[i].Gateway = netip.Addr{}
		}
	}
	s.route(server4(n+1), lb.Route{Interface: list[0].Interface, Gateway: list[0].Gateway, Others: list[1:], Source: server4(200)}, nil)
}

// setNeighbor puts a neighbor at a MAC; the zero MAC is none.
func (s *faultSim) setNeighbor(h simHop, mac forward.MAC) {
	s.note("%v is at %v", h, mac)
	s.at[h] = mac
	s.links[h.on].set(h.addr, faultyNeighbor{mac: mac, silent: mac.IsZero()})
}

func (s *faultSim) setRouter(mac forward.MAC) {
	s.note("clients come by %v", mac)
	s.failed = s.failed || s.router != mac
	s.router = mac
	s.links["front"].set(routerAddr, faultyNeighbor{mac: mac})
}

func (s *faultSim) setClientRoute(there bool) {
	s.note("a route to clients: %v", there)
	s.direct = !there
	for n := range 256 {
		s.mu.Lock()
		s.routes[s.clientAt(n).Addr()] = faultyRoute{lb.Route{Interface: "front", Gateway: routerAddr}, nil}
		if !there {
			s.routes[s.clientAt(n).Addr()] = faultyRoute{lb.Route{}, errNoRoute}
		}
		s.mu.Unlock()
	}
	s.route(s.clientAt(0).Addr(), s.routes[s.clientAt(0).Addr()].Route, s.routes[s.clientAt(0).Addr()].err)
}

func (s *faultSim) clientAt(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(n)}), uint16(2000+n>>8))
}

func (s *faultSim) newClient() netip.AddrPort {
	s.clients++
	return s.clientAt(s.clients)
}

// setInterface changes an interface's state.
func (s *faultSim) setInterface(name, state string) {
	s.note("interface %s: %s", name, state)
	i, there := s.ifaces[name]
	if !there {
		i = lb.HostInterface{Index: 10 + s.random.IntN(1<<30), Name: name, MAC: faultyMACs[name], MTU: 1500}
	}
	i.Up, i.Carrier = true, true
	switch state {
	case "gone":
		s.up[name] = false
		s.iface(name, nil)
		return
	case "down":
		i.Up, i.Carrier = false, false
	case "no carrier":
		i.Carrier = false
	case "renamed":
		if there { // else it is another
			i.Name = name + "-too"
		}
	case "new MAC":
		i.MAC = s.someMAC()
	}
	s.up[name] = i.Up && i.Carrier
	s.iface(name, &i)
}

func (s *faultSim) someMAC() forward.MAC {
	return forward.MAC{2, 0x77, byte(s.random.Uint32()), byte(s.random.Uint32()), byte(s.random.Uint32()), 1}
}

// macOf is where a neighbor is by default.
func (s *faultSim) macOf(h simHop) forward.MAC {
	mac, changed := s.at[h]
	if !changed {
		mac = serverMAC(h.addr)
	}
	return mac
}

// way returns the next hop by which a server is to be reached; ok is false where it is not.
func (s *faultSim) way(n int) (h simHop, ok bool) {
	for _, h := range s.hops[n] {
		if s.up[h.on] && !s.macOf(h).IsZero() {
			return h, true
		}
	}
	return h, false
}

// fault does one thing to the network.
func (s *faultSim) fault() {
	n := s.random.IntN(simServers)
	hops := append(slices.Clone(simGateways), s.onLink(n, "back")[0], s.onLink(n, "front")[0])
	switch s.random.IntN(12) {
	case 0:
		s.setRoute(n, nil)
	case 1:
		s.setRoute(n, []simHop{{"mgmt0", simGateways[0].addr}})
	case 2, 3:
		s.setRoute(n, hops[s.random.IntN(len(hops)):][:1])
	case 4:
		several := slices.Clone(simGateways)
		s.random.Shuffle(len(several), func(i, j int) { several[i], several[j] = several[j], several[i] })
		s.setRoute(n, several[:2+s.random.IntN(3)])
	case 5, 6:
		s.setNeighbor(hops[s.random.IntN(len(hops))], forward.MAC{})
	case 7:
		s.setNeighbor(hops[s.random.IntN(len(hops))], s.someMAC())
	case 8:
		s.setRouter([]forward.MAC{firstRouter, secondRouter}[s.random.IntN(2)])
	case 9:
		s.setClientRoute(s.random.IntN(3) > 0)
	case 10:
		states := []string{"gone", "down", "no carrier", "renamed", "new MAC", "up"}
		s.setInterface([]string{"front", "back"}[s.random.IntN(2)], states[s.random.IntN(len(states))])
	case 11:
		s.note("reload")
		if err := s.balancer.Apply(s.t.Context(), s.cfg); err != nil {
			s.t.Errorf("after %s: %v", strings.Join(s.did, "; "), err)
		}
	}
}

// play does faults until something is wrong, and returns what.
func (s *faultSim) play() (problem string) {
	for range 12 {
		for range 1 + s.random.IntN(3) {
			s.fault()
			time.Sleep(time.Duration(s.random.IntN(2000)) * time.Millisecond)
		}
		if problem := s.check(); problem != "" {
			return fmt.Sprintf("%s\nafter %s", problem, strings.Join(s.did, "\n"))
		}
	}
	s.note("all is well")
	for _, name := range []string{"front", "back"} {
		s.setInterface(name, "up")
	}
	for h := range s.at {
		s.setNeighbor(h, serverMAC(h.addr))
	}
	for n := range simServers {
		s.setRoute(n, s.onLink(n, "back"))
	}
	if problem := s.check(); problem != "" {
		return fmt.Sprintf("%s\nafter %s", problem, strings.Join(s.did, "\n"))
	}
	return ""
}

// check holds states and traffic against the model.
func (s *faultSim) check() (problem string) {
	time.Sleep(settle)
	synctest.Wait()
	for service := range 2 {
		for n, reason := range s.reasons(service) {
			if _, ok := s.way(n); ok != (reason == "") {
				return fmt.Sprintf("server %d of service %d should be up: %v, and is down for %q", n+1, service, ok, reason)
			}
		}
	}
	if !s.up["front"] {
		return "" // no client reaches golb
	}
	for _, check := range []func() string{s.checkNew, s.checkFlows, s.checkReplies} {
		if problem := check(); problem != "" {
			return problem
		}
	}
	return ""
}

// arrives returns why a packet did not go to a server, "" where it did.
func (s *faultSim) arrives(got sentFrame, n int) string {
	h, ok := s.way(n)
	if !ok {
		return fmt.Sprintf("it is at server %d, which cannot be reached", n+1)
	}
	if src := forward.MAC(append(got.data, make([]byte, 12)...)[6:]); got.wire != h.on || got.to != s.macOf(h) || src != s.ifaces[h.on].MAC {
		return fmt.Sprintf("it left by %q from %v to %v, want by %s to %v, for server %d", got.wire, src, got.to, h.on, s.macOf(h), n+1)
	}
	return ""
}

// serverOf returns which server a client's connection is at.
func (s *faultSim) serverOf(client netip.AddrPort) (n int, ok bool) {
	for c := range s.balancer.Connections {
		if c.Client == client {
			return int(c.Server.Addr().As4()[3]) - 1, true
		}
	}
	return 0, false
}

func (s *faultSim) anyReachable() bool {
	for n := range simServers {
		if _, ok := s.way(n); ok {
			return true
		}
	}
	return false
}

// checkNew has clients connect to both services.
func (s *faultSim) checkNew() string {
	for range simServers {
		for _, dst := range []netip.AddrPort{netip.AddrPortFrom(vip4, 80), netip.AddrPortFrom(simVIP, 80)} {
			p := lbtest.Packet{SrcMAC: s.router, DstMAC: faultyMACs["front"], Src: s.newClient(), Dst: dst, Flags: forward.FlagSYN}
			flows := &s.flows
			if dst.Addr() == simVIP {
				p.Protocol, flows = lb.UDP, &s.natFlows
			}
			got := s.send("front", p)
			n, ok := s.serverOf(p.Src)
			switch {
			case !s.anyReachable() && !ok && (got.data == nil || got.to == s.router):
				continue
			case !ok:
				return fmt.Sprintf("a client of %v got no server", dst)
			}
			if problem := s.arrives(got, n); problem != "" {
				return fmt.Sprintf("first packet to %v: %s", dst, problem)
			}
			*flows = append(*flows, simFlow{p.Src, n})
		}
	}
	return ""
}

// checkFlows has clients with connections send.
func (s *faultSim) checkFlows() string {
	for _, f := range s.flows {
		got := s.segment(f.client)
		if n, ok := s.serverOf(f.client); !ok || n != f.server {
			return fmt.Sprintf("the connection of %v with server %d is at server %d: %v", f.client, f.server+1, n+1, ok)
		}
		if _, ok := s.way(f.server); !ok {
			continue
		}
		if problem := s.arrives(got, f.server); problem != "" {
			return "packet of a connection: " + problem
		}
	}
	return ""
}

// checkReplies has servers of NAT send to their clients, before these have sent and after.
func (s *faultSim) checkReplies() string {
	failed := s.failed
	s.failed = false
	for _, f := range s.natFlows {
		way, ok := s.way(f.server)
		if !ok {
			continue
		}
		reply := func() sentFrame {
			return s.send(way.on, lbtest.Packet{
				SrcMAC: serverMAC(server4(f.server + 1)), DstMAC: faultyMACs[way.on], Src: netip.AddrPortFrom(server4(f.server+1), 80), Dst: f.client, Protocol: lb.UDP,
			})
		}
		if failed && !s.direct { // the client only receives
			reply()
			time.Sleep(silence)
			reply() // it may be the first that asks for the route
			if got := reply(); got.to != s.router || got.wire != "front" {
				return fmt.Sprintf("reply to a silent client: to %v by %q, want to %v", got.to, got.wire, s.router)
			}
		}
		got := s.send("front", lbtest.Packet{
			SrcMAC: s.router, DstMAC: faultyMACs["front"], Src: f.client, Dst: netip.AddrPortFrom(simVIP, 80), Protocol: lb.UDP,
		})
		if problem := s.arrives(got, f.server); problem != "" {
			return "request: " + problem
		}
		if got := reply(); got.to != s.router || got.wire != "front" {
			return fmt.Sprintf("reply: to %v by %q, want to %v", got.to, got.wire, s.router)
		}
	}
	return ""
}
