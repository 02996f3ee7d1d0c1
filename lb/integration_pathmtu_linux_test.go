package lb_test

import (
	"testing"

	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest/lab"
)

// Client and servers have links of 1500; a cable between two routers has 1400.
// Errors about what servers send go to the VIP.
func TestPathMTUDropOnTheClientsSideRecovers(t *testing.T) {
	p := newTestNetwork(t, 1400)
	p.addServers()
	_, stop := p.run(p.config())
	defer stop()
	p.each(t, p.crossNarrowLink)
	p.checkSums(t)
}

// Errors about what golb sends go to the client (NAT) or to golb's host (TUN).
func TestPathMTUDropBeforeTheServersRecovers(t *testing.T) {
	for name, ways := range map[string][]way{"nat": {{name: "nat", method: lb.NAT}}, "tun": tunnelWays(pair{})} {
		t.Run(name, func(t *testing.T) {
			p := newTestNetwork(t, 0)
			p.addFarServer(ways)
			_, stop := p.run(p.config())
			defer stop()
			p.each(t, p.crossNarrowLink)
			p.checkSums(t)
		})
	}
}

// crossNarrowLink transfers, both ways, more than the narrow link takes at once, and
// fails where the routers had nothing to say about it.
func (p *testNetwork) crossNarrowLink(t *testing.T, w way, f family) {
	before := [...]int{packetTooBigs(t, p.narrow[0]), packetTooBigs(t, p.narrow[1])}
	p.transfer(t, w, f, 2<<20)
	c := p.dialEcho(t, w, f)
	for _, size := range []int{1, 1300, 1352, 1353, 1372, 1373, 1452, 1472, 8192, 60_000} {
		echo(t, c, size)
	}
	for i, h := range p.narrow {
		// An IPv6 packet's tunnel over IPv4 goes without Don't Fragment: the router cuts.
		if fragmented := w.mixed && f == 1 && h.Name() == "inner"; !fragmented && packetTooBigs(t, h) == before[i] {
			t.Errorf("%s told nobody the MTU: this shows nothing", h.Name())
		}
	}
}

// packetTooBigs is how many errors about too long packets a router has sent, all its
// unreachables counted.
func packetTooBigs(t *testing.T, h *lab.Host) int {
	t.Helper()
	return counters(t, h)["Icmp OutDestUnreachs"] + counters6(t, h)["Icmp6OutPktTooBigs"]
}
