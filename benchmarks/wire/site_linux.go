package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb/lbtest/lab"
)

// Who has which address. The client's network and the servers' are two, so that what servers send through their gateway
// passes the balancer; in a lab with one arm both are on one wire, as most balancers for DSR stand.
var (
	clientNet  = netip.MustParsePrefix("192.0.2.0/24")
	serverNet  = netip.MustParsePrefix("10.0.0.0/24")
	clientAt   = netip.MustParseAddr("192.0.2.10")
	balancerAt = netip.MustParseAddr("192.0.2.2")
	gatewayAt  = netip.MustParseAddr("10.0.0.1") // the balancer, for servers
	vip        = netip.MustParseAddrPort("192.0.2.100:80")
	servers    = []netip.Addr{
		netip.MustParseAddr("10.0.0.11"), netip.MustParseAddr("10.0.0.12"),
		netip.MustParseAddr("10.0.0.13"), netip.MustParseAddr("10.0.0.14"),
	}
)

// site is a lab: client, balancer and a host that is all servers.
type site struct {
	lab                      *lab.Lab
	client, balancer, server *lab.Host
	interfaces               []string // of the balancer
	gateway, serverMAC       forward.MAC
}

// newSite builds a lab. With two arms the balancer has a cable to the client (eth0) and one to the servers (eth1), and
// nothing else is there; with one, all are on a switch.
func newSite(arms int, r row) (_ *site, err error) {
	s := &site{interfaces: []string{"eth0"}}
	if s.lab, err = lab.New(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.lab.Close())
		}
	}()
	for name, h := range map[string]**lab.Host{"client": &s.client, "balancer": &s.balancer, "server": &s.server} {
		if *h, err = s.lab.Host(name); err != nil {
			return nil, err
		}
	}
	// A router with one arm tells clients of the short cut that would leave it out.
	for _, key := range []string{"all", "default"} {
		if err := s.balancer.Sysctl("net.ipv4.conf."+key+".send_redirects", "0"); err != nil {
			return nil, err
		}
	}
	if arms == 1 {
		err = s.plugIn()
	} else {
		s.interfaces = []string{"eth0", "eth1"}
		err = s.cable()
	}
	if err != nil {
		return nil, err
	}
	if err := s.route(arms, r); err != nil {
		return nil, err
	}
	if s.gateway, err = macOf(s.balancer, "eth0"); err == nil {
		s.serverMAC, err = macOf(s.server, "eth0")
	}
	return s, err
}

func at(addrs []netip.Addr, net netip.Prefix) []netip.Prefix {
	var list []netip.Prefix
	for _, a := range addrs {
		list = append(list, netip.PrefixFrom(a, net.Bits()))
	}
	return list
}

func (s *site) plugIn() error {
	sw, err := s.lab.Switch("switch")
	if err != nil {
		return err
	}
	front, back := at([]netip.Addr{balancerAt}, clientNet), at([]netip.Addr{gatewayAt}, serverNet)
	for _, h := range []struct {
		host  *lab.Host
		addrs []netip.Prefix
	}{
		{s.client, at([]netip.Addr{clientAt}, clientNet)},
		{s.balancer, append(front, back...)},
		{s.server, at(servers, serverNet)},
	} {
		if _, err := s.lab.Attach(h.host, sw, lab.LinkConfig{Addrs: h.addrs}); err != nil {
			return err
		}
	}
	return nil
}

func (s *site) cable() error {
	front := lab.LinkConfig{Addrs: at([]netip.Addr{balancerAt}, clientNet)}
	back := lab.LinkConfig{Name: "eth1", Addrs: at([]netip.Addr{gatewayAt}, serverNet)}
	return errors.Join(
		s.lab.Connect(s.client, lab.LinkConfig{Addrs: at([]netip.Addr{clientAt}, clientNet)}, s.balancer, front),
		s.lab.Connect(s.balancer, back, s.server, lab.LinkConfig{Addrs: at(servers, serverNet)}),
	)
}

// route says how client and servers reach each other, and prepares them for many connections.
func (s *site) route(arms int, r row) error {
	there, back := balancerAt, gatewayAt
	if r.returnsDirect && arms == 1 {
		back = netip.Addr{}
	}
	if r.name == rowDirect {
		there = netip.Addr{}
	}
	errs := []error{
		s.client.AddRoute(serverNet, there, "eth0"),
		s.server.AddRoute(clientNet, back, "eth0"),
		s.client.Sysctl("net.ipv4.ip_local_port_range", "1024 65535"),
		s.balancer.Sysctl("net.ipv4.ip_local_port_range", "1024 65535"),
	}
	for _, h := range []*lab.Host{s.client, s.balancer, s.server} {
		errs = append(errs, h.Sysctl("net.ipv4.tcp_max_syn_backlog", "4096"), h.Sysctl("net.core.somaxconn", "4096"))
	}
	return errors.Join(errs...)
}

func macOf(h *lab.Host, iface string) (mac forward.MAC, err error) {
	err = withLink(h, iface, func(nl *netlink.Handle, link netlink.Link) error {
		copy(mac[:], link.Attrs().HardwareAddr)
		return nil
	})
	return mac, err
}

// withLink calls f with an interface of a host.
func withLink(h *lab.Host, iface string, f func(*netlink.Handle, netlink.Link) error) error {
	return h.Do(func() error {
		nl, err := netlink.NewHandle()
		if err != nil {
			return err
		}
		defer nl.Close()
		link, err := nl.LinkByName(iface)
		if err != nil {
			return fmt.Errorf("%s %s: %w", h.Name(), iface, err)
		}
		return f(nl, link)
	})
}

// deafen gives the server another MAC address, so that its kernel drops at the door what is sent to the old one: a sink that
// costs the same for all and next to nothing. Neighbors that are known stay so for a while.
func (s *site) deafen() error {
	return withLink(s.server, "eth0", func(nl *netlink.Handle, link netlink.Link) error {
		return nl.LinkSetHardwareAddr(link, net.HardwareAddr{2, 0xde, 0xaf, 0, 0, 1})
	})
}

// knowServers tells the balancer's kernel the servers' MAC address for good.
func (s *site) knowServers(iface string) error {
	return withLink(s.balancer, iface, func(nl *netlink.Handle, link netlink.Link) error {
		var errs []error
		for _, a := range servers {
			errs = append(errs, nl.NeighSet(&netlink.Neigh{LinkIndex: link.Attrs().Index, State: netlink.NUD_PERMANENT,
				IP: a.AsSlice(), HardwareAddr: s.serverMAC[:]}))
		}
		return errors.Join(errs...)
	})
}

// knowVIP tells the client the balancer's MAC address for the VIP, where nobody answers ARP for it.
func (s *site) knowVIP() error {
	return withLink(s.client, "eth0", func(nl *netlink.Handle, link netlink.Link) error {
		return nl.NeighSet(&netlink.Neigh{LinkIndex: link.Attrs().Index, State: netlink.NUD_PERMANENT,
			IP: vip.Addr().AsSlice(), HardwareAddr: s.gateway[:]})
	})
}

// frames are what an interface of a host has received and sent.
func frames(h *lab.Host, iface string) (received, sent uint64, err error) {
	err = withLink(h, iface, func(_ *netlink.Handle, link netlink.Link) error {
		received, sent = link.Attrs().Statistics.RxPackets, link.Attrs().Statistics.TxPackets
		return nil
	})
	return received, sent, err
}
