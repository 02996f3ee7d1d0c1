package lb_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest/lab"
)

// family is 0 for IPv4, 1 for IPv6.
type family int

func (f family) String() string { return [...]string{"IPv4", "IPv6"}[f] }

var families = []family{0, 1}

// pair is an IPv4 and an IPv6 address that belong together.
type pair [2]netip.Addr

// subnet is an IPv4 and an IPv6 network that belong together.
type subnet [2]netip.Prefix

func subnetOf(v4, v6 string) subnet {
	return subnet{netip.MustParsePrefix(v4), netip.MustParsePrefix(v6)}
}

// at is the addresses of host n.
func (s subnet) at(n int) pair {
	a4, a6 := s[0].Addr().As4(), s[1].Addr().As16()
	a4[3], a6[15] = byte(n), byte(n)
	return pair{netip.AddrFrom4(a4), netip.AddrFrom16(a6)}
}

func (s subnet) prefixes(n int) []netip.Prefix {
	at := s.at(n)
	return []netip.Prefix{netip.PrefixFrom(at[0], s[0].Bits()), netip.PrefixFrom(at[1], s[1].Bits())}
}

var (
	clientNet = subnetOf("198.51.100.0/24", "2001:db8:c::/64")
	transit   = subnetOf("203.0.113.0/24", "2001:db8:e::/64")
	frontNet  = subnetOf("192.0.2.0/24", "2001:db8::/64")
	backNet   = subnetOf("10.0.0.0/24", "fd00:b::/64")
	innerNet  = subnetOf("10.1.0.0/24", "fd00:1::/64")
	farNet    = subnetOf("10.2.0.0/24", "fd00:2::/64")

	edgeAt, golbAt, innerAt = frontNet.at(1), frontNet.at(2), frontNet.at(3)
)

// way is a method with all that belongs to it, and a VIP of each family.
type way struct {
	name   string
	method lb.Method
	tunnel lb.Tunnel
	mixed  bool // the tunnel's outer header is of the other family
	server pair
	// Of each way its own, so that a path MTU that is learnt for one is learnt for no other.
	client, vips pair
}

// The ports of services, and those of NAT's servers.
const (
	httpPort, natHTTPPort = 80, 8080
	echoPort, natEchoPort = 7, 7007
	guePort               = 6080
)

// tunnelWays are all tunnels to one server.
func tunnelWays(server pair) []way {
	var ways []way
	for _, mixed := range []bool{false, true} {
		for _, t := range []lb.Tunnel{
			{Type: lb.IPIP},
			{Type: lb.GUE, Port: guePort}, {Type: lb.GUE, Port: guePort, Checksum: true},
			{Type: lb.GRE}, {Type: lb.GRE, Checksum: true},
		} {
			w := way{name: t.Type.String(), method: lb.TUN, tunnel: t, mixed: mixed, server: server}
			if t.Checksum {
				w.name += " with checksum"
			}
			if mixed {
				w.name += " over the other family"
			}
			ways = append(ways, w)
		}
	}
	return ways
}

// remote is the server's address for packets of family f.
func (w way) remote(f family) netip.Addr {
	if w.mixed {
		f = 1 - f
	}
	return w.server[f]
}

func (w way) service(f family, proto lb.Protocol) lb.Service {
	s := lb.Service{
		VIP: w.vips[f], Protocol: proto, Port: httpPort, Method: w.method, Tunnel: w.tunnel,
		Check:   lb.Check{Type: "none"},
		Servers: []lb.Server{{Address: w.remote(f)}},
	}
	if proto == lb.UDP {
		s.Port = echoPort
	}
	if w.method == lb.NAT {
		s.Servers[0].Port = natHTTPPort
		if proto == lb.UDP {
			s.Servers[0].Port = natEchoPort
		}
	}
	return s
}

// testNetwork is a lab with servers of every method: client — outer — edge — golb and
// servers on the front switch. Replies to the client pass the edge too.
type testNetwork struct {
	site
	lab    *lab.Lab
	cables lab.LinkConfig // MTU and GSOMaxSize of all but narrow ones
	front  *lab.Switch
	hosts  []*lab.Host // golb's excepted, all that are ends of connections
	narrow []*lab.Host // routers to both sides of a narrow link
	decaps []*lab.Decapsulator
	ways   []way
}

// newTestNetwork builds all but servers. narrow is the MTU of the cable between outer and
// edge; 0 means 1500, the MTU of all others.
func newTestNetwork(t *testing.T, narrow int) *testNetwork {
	t.Helper()
	return buildTestNetwork(t, lab.LinkConfig{}, narrow)
}

func buildTestNetwork(t *testing.T, cables lab.LinkConfig, narrow int) *testNetwork {
	t.Helper()
	if err := lab.Unavailable(); err != nil {
		t.Skip(err)
	}
	l, err := lab.New()
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	p := &testNetwork{site: site{t: t}, lab: l, cables: cables, front: newSwitch(t, l, "front")}
	outer, edge := p.router("outer"), p.router("edge")
	p.client, p.golb = p.host("client"), p.host("golb")
	p.hosts = append(p.hosts, p.client)
	p.narrow = []*lab.Host{outer, edge}
	p.cable(outer, "eth0", p.client, "eth0", clientNet, cables.MTU)
	p.cable(outer, "eth1", edge, "eth0", transit, narrow)
	p.plug(edge, "eth1", p.front, frontNet, 1)
	p.plug(p.golb, "eth0", p.front, frontNet, 2)
	p.route(p.client, subnet{}, clientNet.at(1))
	p.route(outer, subnet{}, transit.at(2))
	p.route(edge, clientNet, transit.at(1))
	p.route(p.golb, subnet{}, edgeAt)
	return p
}

// addServers adds a server for DSR and TUN, one for NAT on the front switch, and one
// for NAT behind golb.
func (p *testNetwork) addServers() {
	direct, oneArm, twoArm := p.host("direct"), p.host("onearm"), p.host("twoarm")
	back := newSwitch(p.t, p.lab, "back")
	p.plug(direct, "eth0", p.front, frontNet, 11)
	p.plug(oneArm, "eth0", p.front, frontNet, 12)
	p.plug(p.golb, "eth1", back, backNet, 1)
	p.plug(twoArm, "eth0", back, backNet, 11)
	p.route(direct, subnet{}, edgeAt)
	p.route(oneArm, subnet{}, golbAt)
	p.route(twoArm, subnet{}, backNet.at(1))
	p.ways = append([]way{
		{name: "dsr", method: lb.DSR, server: frontNet.at(11)},
		{name: "nat one-arm", method: lb.NAT, server: frontNet.at(12)},
		{name: "nat two-arm", method: lb.NAT, server: backNet.at(11)},
	}, tunnelWays(frontNet.at(11))...)
	p.assignAddrs()
	p.serveVIPs(direct)
	p.serveNAT(oneArm, frontNet.at(12))
	p.serveNAT(twoArm, backNet.at(11))
}

// addFarServer adds a server beyond two routers, with an MTU of 1400 between them.
func (p *testNetwork) addFarServer(ways []way) {
	inner, innermost, far := p.router("inner"), p.router("innermost"), p.host("far")
	p.plug(inner, "eth0", p.front, frontNet, 3)
	p.cable(inner, "eth1", innermost, "eth0", innerNet, 1400)
	p.cable(innermost, "eth1", far, "eth0", farNet, p.cables.MTU)
	p.route(p.golb, farNet, innerAt)
	p.route(inner, farNet, innerNet.at(2))
	p.route(innermost, subnet{}, innerNet.at(1))
	p.route(far, subnet{}, farNet.at(1))
	p.narrow = []*lab.Host{inner, innermost}
	p.ways = ways
	p.assignAddrs()
	for i := range p.ways {
		p.ways[i].server = farNet.at(10 + i)
		p.add(far, farNet, 10+i)
	}
	if ways[0].method == lb.NAT {
		p.route(inner, subnet{}, golbAt)
		p.serveNAT(far, p.ways[0].server)
	} else {
		p.route(inner, subnet{}, edgeAt)
		p.serveVIPs(far)
	}
}

// assignAddrs gives each way addresses of its own.
func (p *testNetwork) assignAddrs() {
	for i := range p.ways {
		p.ways[i].client, p.ways[i].vips = clientNet.at(100+i), frontNet.at(100+i)
		p.add(p.client, clientNet, 100+i)
	}
}

// add adds host n's addresses to h.
func (p *testNetwork) add(h *lab.Host, net subnet, n int) {
	p.t.Helper()
	for _, prefix := range net.prefixes(n) {
		must(p.t, h.AddAddr("eth0", prefix))
	}
}

// serveVIPs makes h a server for DSR and TUN.
func (p *testNetwork) serveVIPs(h *lab.Host) {
	var all []netip.Addr
	for _, w := range p.ways {
		if w.method != lb.NAT {
			all = append(all, w.vips[:]...)
		}
	}
	must(p.t, h.SolveARPProblem(all...))
	d, err := h.Decapsulate(lab.DecapConfig{GUEPort: guePort})
	must(p.t, err)
	p.decaps = append(p.decaps, d)
	serveHTTP(p.t, h, h.Name(), httpPort)
	for _, vip := range all {
		serveEcho(p.t, h, netip.AddrPortFrom(vip, echoPort))
	}
	p.hosts = append(p.hosts, h)
}

// serveNAT makes h a server for NAT.
func (p *testNetwork) serveNAT(h *lab.Host, at pair) {
	serveHTTP(p.t, h, h.Name(), natHTTPPort)
	for _, addr := range at {
		serveEcho(p.t, h, netip.AddrPortFrom(addr, natEchoPort))
	}
	p.hosts = append(p.hosts, h)
}

// config has services for HTTP and for echo on the VIPs of all ways.
func (p *testNetwork) config() lb.Config {
	cfg := lb.Config{Interfaces: []string{"eth0"}, MaxConnections: 1 << 16}
	for _, w := range p.ways {
		if w.server == backNet.at(11) {
			cfg.Interfaces = []string{"eth0", "eth1"}
		}
		for _, f := range families {
			cfg.Services = append(cfg.Services, w.service(f, lb.TCP), w.service(f, lb.UDP))
		}
	}
	return cfg
}

// each runs a test for every way and family.
func (p *testNetwork) each(t *testing.T, test func(t *testing.T, w way, f family)) {
	for _, w := range p.ways {
		for _, f := range families {
			t.Run(fmt.Sprintf("%s/%s", w.name, f), func(t *testing.T) { test(t, w, f) })
		}
	}
}

func (p *testNetwork) host(name string) *lab.Host {
	p.t.Helper()
	h, err := p.lab.Host(name)
	must(p.t, err)
	return h
}

func (p *testNetwork) router(name string) *lab.Host {
	p.t.Helper()
	h := p.host(name)
	must(p.t, h.Sysctl("net.ipv4.ip_forward", "1"))
	must(p.t, h.Sysctl("net.ipv6.conf.all.forwarding", "1"))
	return h
}

func newSwitch(t *testing.T, l *lab.Lab, name string) *lab.Switch {
	t.Helper()
	sw, err := l.Switch(name)
	must(t, err)
	return sw
}

func (p *testNetwork) plug(h *lab.Host, ifname string, sw *lab.Switch, net subnet, n int) {
	p.t.Helper()
	cfg := p.cables
	cfg.Name, cfg.Addrs = ifname, net.prefixes(n)
	_, err := p.lab.Attach(h, sw, cfg)
	must(p.t, err)
}

// cable connects a, host 1 of net, with b, host 2.
func (p *testNetwork) cable(a *lab.Host, ifa string, b *lab.Host, ifb string, net subnet, mtu int) {
	p.t.Helper()
	cfg := p.cables
	cfg.MTU = mtu
	near, far := cfg, cfg
	near.Name, near.Addrs = ifa, net.prefixes(1)
	far.Name, far.Addrs = ifb, net.prefixes(2)
	must(p.t, p.lab.Connect(a, near, b, far))
}

// route routes net, or everything where that is zero.
func (p *testNetwork) route(h *lab.Host, net subnet, gateway pair) {
	p.t.Helper()
	for i, addr := range gateway {
		if net == (subnet{}) {
			must(p.t, h.DefaultRoute(addr))
		} else {
			must(p.t, h.AddRoute(net[i], addr, ""))
		}
	}
}
