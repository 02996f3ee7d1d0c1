package lb_test

import (
	"net"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest/lab"
)

// Two routers lead to the server. The one in use stops forwarding, and the host's
// routes change to the other.
func TestRouteChangesAreFollowed(t *testing.T) {
	for name, ways := range map[string][]way{"nat": {{name: "nat", method: lb.NAT}}, "tun": {{name: "ipip", method: lb.TUN}}} {
		t.Run(name, func(t *testing.T) {
			p := newTestNetwork(t, 0)
			first, second, far := p.router("first"), p.router("second"), p.host("far")
			lan := newSwitch(t, p.lab, "lan")
			p.plug(first, "eth0", p.front, frontNet, 3)
			p.plug(second, "eth0", p.front, frontNet, 4)
			p.plug(first, "eth1", lan, farNet, 1)
			p.plug(second, "eth1", lan, farNet, 2)
			p.plug(far, "eth0", lan, farNet, 10)
			p.route(p.golb, farNet, frontNet.at(3))
			p.route(far, subnet{}, farNet.at(2))
			p.ways = ways
			p.ways[0].server = farNet.at(10)
			p.assignAddrs()
			if p.ways[0].method == lb.NAT {
				p.route(second, subnet{}, golbAt)
				p.serveNAT(far, farNet.at(10))
			} else {
				p.route(second, subnet{}, edgeAt)
				p.serveVIPs(far)
			}
			_, stop := p.run(p.config())
			defer stop()
			p.each(t, func(t *testing.T, w way, f family) { p.transfer(t, w, f, 1<<20) })
			must(t, first.Sysctl("net.ipv4.ip_forward", "0"))
			must(t, first.Sysctl("net.ipv6.conf.all.forwarding", "0"))
			must(t, p.golb.Do(func() error {
				for _, f := range families {
					dst := &net.IPNet{IP: farNet[f].Addr().AsSlice(), Mask: net.CIDRMask(farNet[f].Bits(), farNet[f].Addr().BitLen())}
					if err := netlink.RouteReplace(&netlink.Route{Dst: dst, Gw: frontNet.at(4)[f].AsSlice()}); err != nil {
						return err
					}
				}
				return nil
			}))
			p.each(t, func(t *testing.T, w way, f family) { p.transfer(t, w, f, 1<<20) })
		})
	}
}

// The kernel of a server says so where it has been told to (arp_notify), as it does
// when an address moves to another machine.
func TestServersNewMACIsFollowed(t *testing.T) {
	p := newTestNetwork(t, 0)
	p.addServers()
	_, stop := p.run(p.config())
	defer stop()
	try := func(t *testing.T, w way, f family) { p.transfer(t, w, f, 1<<20) }
	p.each(t, try)
	for i, h := range p.hosts[1:] {
		must(t, h.Sysctl("net.ipv4.conf.eth0.arp_notify", "1"))
		must(t, h.Sysctl("net.ipv6.conf.eth0.ndisc_notify", "1"))
		must(t, h.Do(func() error {
			eth0, err := netlink.LinkByName("eth0")
			if err != nil {
				return err
			}
			return netlink.LinkSetHardwareAddr(eth0, net.HardwareAddr{2, 0, 0, 0, 9, byte(i)})
		}))
	}
	p.each(t, try)
}

func TestClampMSSFitsThePath(t *testing.T) {
	p := newTestNetwork(t, 0)
	p.addServers()
	cfg := p.config()
	cfg.Settings.ClampMSS = true
	must(t, p.golb.Do(func() error {
		for _, f := range families {
			at := backNet.at(11)[f]
			dst := &net.IPNet{IP: at.AsSlice(), Mask: net.CIDRMask(at.BitLen(), at.BitLen())}
			eth1, err := netlink.LinkByName("eth1")
			if err != nil {
				return err
			}
			if err := netlink.RouteAdd(&netlink.Route{Dst: dst, LinkIndex: eth1.Attrs().Index, MTU: 1400}); err != nil {
				return err
			}
		}
		return nil
	}))
	_, stop := p.run(cfg)
	defer stop()
	direct, twoArm := p.hosts[1], p.hosts[3]
	p.each(t, func(t *testing.T, w way, f family) {
		header := []int{40, 60}[f]
		server, iface, want := direct, "golb-dec0", 1500-header
		switch w.method {
		case lb.DSR:
			iface = "eth0"
		case lb.NAT:
			iface = "eth0"
			if w.server == backNet.at(11) {
				server, want = twoArm, 1400-header
			} else {
				server = p.hosts[2]
			}
		case lb.TUN:
			want -= overhead(w, f)
		}
		mss := offeredMSS(t, server, iface, func() { p.transfer(t, w, f, 1<<16) })
		if mss != want {
			t.Errorf("%s saw an offer of %d bytes, want %d", server.Name(), mss, want)
		}
	})
}

// overhead is how long a tunnel's headers are.
func overhead(w way, f family) int {
	n := 20
	if w.remote(f).Is6() {
		n = 40
	}
	switch {
	case w.tunnel.Type == lb.GUE:
		n += 8 + 4
	case w.tunnel.Type == lb.GRE && w.tunnel.Checksum:
		n += 8
	case w.tunnel.Type == lb.GRE:
		n += 4
	}
	return n
}

// offeredMSS is that of the first SYN that the host receives on an interface while
// do runs.
func offeredMSS(t *testing.T, h *lab.Host, iface string, do func()) int {
	t.Helper()
	c := listen(t, h, iface)
	do()
	buf := make([]byte, 1<<16)
	must(t, c.SetReadDeadline(time.Now().Add(giveUpAfter)))
	for {
		n, _, err := c.ReadFrom(buf)
		must(t, err)
		frame := gopacket.NewPacket(buf[:n], layers.LayerTypeEthernet, gopacket.NoCopy)
		tcp, ok := frame.Layer(layers.LayerTypeTCP).(*layers.TCP)
		if !ok || !tcp.SYN || tcp.ACK {
			continue
		}
		for _, o := range tcp.Options {
			if o.OptionType == layers.TCPOptionKindMSS {
				return int(o.OptionData[0])<<8 | int(o.OptionData[1])
			}
		}
	}
}

// listen captures the frames of a host's interface.
func listen(t *testing.T, h *lab.Host, iface string) *packet.Conn {
	t.Helper()
	var c *packet.Conn
	must(t, h.Do(func() error {
		link, err := net.InterfaceByName(iface)
		if err != nil {
			return err
		}
		c, err = packet.Listen(link, packet.Raw, unix.ETH_P_ALL, nil)
		return err
	}))
	t.Cleanup(func() { c.Close() })
	return c
}
