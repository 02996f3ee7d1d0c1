package lb_test

import (
	"net"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/golb/golb/lb/lbtest/lab"
)

// Servers of NAT on golb's link have golb as their gateway for all that they do.
// The answers need not pass golb.
func TestNATServersReachOthersByGolb(t *testing.T) {
	p := newTestNetwork(t, 0)
	p.addServers()
	serveHTTP(t, p.client, "client", httpPort)
	_, stop := p.run(p.config())
	defer stop()
	oneArm := p.hosts[2]
	const size = 4 << 20
	want, err := sumOf(noise(size))
	must(t, err)
	for _, f := range families {
		t.Run(f.String(), func(t *testing.T) {
			c := newHTTPClient(oneArm)
			up(t, c, p.ways[0].client[f], size, want)
			down(t, c, p.ways[0].client[f], size, want)
		})
	}
	p.checkSums(t)
	p.checkHost(t)
}

// The clients' packets come by the edge; the host's routes lead back by another
// router.
func TestNATRepliesByRouteWhereToldTo(t *testing.T) {
	p := newTestNetwork(t, 0)
	p.addServers()
	outer, exit := p.narrow[0], p.router("exit")
	p.plug(exit, "eth0", p.front, frontNet, 4)
	p.cable(outer, "eth2", exit, "eth1", innerNet, 0)
	p.route(exit, subnet{}, innerNet.at(1))
	must(t, p.golb.Do(func() error {
		for _, f := range families {
			all := &net.IPNet{IP: make(net.IP, frontNet[f].Addr().BitLen()/8), Mask: net.CIDRMask(0, frontNet[f].Addr().BitLen())}
			if err := netlink.RouteReplace(&netlink.Route{Dst: all, Gw: frontNet.at(4)[f].AsSlice()}); err != nil {
				return err
			}
		}
		return nil
	}))
	p.ways = p.ways[1:3]
	const size = 1 << 20
	for _, byRoute := range []bool{false, true} {
		t.Run(map[bool]string{false: "back to where it came from", true: "by route"}[byRoute], func(t *testing.T) {
			cfg := p.config()
			cfg.Settings.ReplyByRoute = byRoute
			_, stop := p.run(cfg)
			defer stop()
			p.each(t, func(t *testing.T, w way, f family) {
				before := forwarded(t, exit, f)
				p.transfer(t, w, f, size)
				if n := forwarded(t, exit, f) - before; byRoute != (n > 0) {
					t.Errorf("%d packets went by the other router", n)
				}
			})
		})
	}
}

// forwarded is how many packets of a family a router has passed on.
func forwarded(t *testing.T, h *lab.Host, f family) int {
	t.Helper()
	if f == 0 {
		return counters(t, h)["Ip ForwDatagrams"]
	}
	return counters6(t, h)["Ip6OutForwDatagrams"]
}
