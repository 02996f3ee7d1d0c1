package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Host is a machine of the lab: a network namespace with a kernel stack of its own.
type Host struct {
	name string
	ns   *space

	mu       sync.Mutex
	resident *resident
	decaps   []*Decapsulator
	closed   bool
}

// Name is the name the host was made with.
func (h *Host) Name() string { return h.name }

// NS is the path of the host's namespace, for nsenter --net=PATH. It is valid until the lab is closed. From outside the
// lab's user namespace, if there is one, nsenter needs --user --target PID --preserve-credentials as well.
func (h *Host) NS() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(h.ns.fd)) }

// Do runs f inside the host, on the calling goroutine, and returns its error. Sockets and processes that f itself makes
// are the host's and stay so; goroutines that f starts are not in the host. Calls may nest.
func (h *Host) Do(f func() error) error { return h.ns.do(f) }

// AddAddr adds an address to an interface, lo included. It is usable, and found by neighbors, on return.
func (h *Host) AddAddr(ifname string, p netip.Prefix) error {
	err := h.ns.withLink(ifname, func(nl *netlink.Handle, link netlink.Link) error {
		return nl.AddrAdd(link, address(p))
	})
	if err == nil && p.Addr().Is6() {
		err = h.ns.awaitIPv6(ifname)
	}
	if err != nil {
		return fmt.Errorf("lab: %s: add %s to %s: %w", h.name, p, ifname, err)
	}
	return nil
}

// DelAddr removes an address from an interface.
func (h *Host) DelAddr(ifname string, p netip.Prefix) error {
	err := h.ns.withLink(ifname, func(nl *netlink.Handle, link netlink.Link) error {
		return nl.AddrDel(link, address(p))
	})
	if err != nil {
		return fmt.Errorf("lab: %s: remove %s from %s: %w", h.name, p, ifname, err)
	}
	return nil
}

func address(p netip.Prefix) *netlink.Addr {
	a := &netlink.Addr{IPNet: ipNet(p)}
	if p.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	return a
}

func (h *Host) addAddrs(cfg LinkConfig) error {
	for _, p := range cfg.Addrs {
		if err := h.AddAddr(cfg.name(), p); err != nil {
			return err
		}
	}
	return nil
}

// AddRoute routes dst through the gateway via, out of ifname. Either may be left out (zero Addr, empty name), not both.
func (h *Host) AddRoute(dst netip.Prefix, gateway netip.Addr, ifname string) error {
	r := &netlink.Route{Dst: ipNet(dst.Masked())}
	if gateway.IsValid() {
		r.Gw = gateway.AsSlice()
	}
	add := func(nl *netlink.Handle) error { return nl.RouteAdd(r) }
	var err error
	if ifname == "" {
		err = h.ns.rtnl(add)
	} else {
		err = h.ns.withLink(ifname, func(nl *netlink.Handle, link netlink.Link) error {
			r.LinkIndex = link.Attrs().Index
			return add(nl)
		})
	}
	if err != nil {
		return fmt.Errorf("lab: %s: route %s via %s dev %q: %w", h.name, dst, gateway, ifname, err)
	}
	return nil
}

// DefaultRoute routes everything of via's address family through via.
func (h *Host) DefaultRoute(gateway netip.Addr) error {
	all := netip.IPv6Unspecified()
	if gateway.Is4() {
		all = netip.IPv4Unspecified()
	}
	return h.AddRoute(netip.PrefixFrom(all, 0), gateway, "")
}

// Sysctl sets a kernel parameter of the host, as in net.ipv4.conf.all.arp_ignore. A key with slashes is taken as a path
// below /proc/sys, for interface names with dots.
func (h *Host) Sysctl(key, value string) error {
	if err := h.ns.sysctls([2]string{key, value}); err != nil {
		return fmt.Errorf("lab: %s: %w", h.name, err)
	}
	return nil
}

// SolveARPProblem sets a real server up for DSR or TUN: it holds the VIPs on lo and takes packets for them, but neither
// answers nor sends ARP for them (arp_ignore 1, arp_announce 2), and accepts what reaches it by another way than it would
// answer by (rp_filter 0 on every interface). Neighbor discovery needs no setting: the kernel answers it only for
// addresses of the interface that is asked.
func (h *Host) SolveARPProblem(vips ...netip.Addr) error {
	var links []netlink.Link
	err := h.ns.rtnl(func(nl *netlink.Handle) (err error) {
		links, err = nl.LinkList()
		return err
	})
	if err != nil {
		return fmt.Errorf("lab: %s: list interfaces: %w", h.name, err)
	}
	pairs := [][2]string{
		{"net/ipv4/conf/all/arp_ignore", "1"},
		{"net/ipv4/conf/all/arp_announce", "2"},
		{"net/ipv4/conf/all/rp_filter", "0"},
		{"net/ipv4/conf/default/rp_filter", "0"},
	}
	for _, link := range links {
		pairs = append(pairs, [2]string{"net/ipv4/conf/" + link.Attrs().Name + "/rp_filter", "0"})
	}
	if err := h.ns.sysctls(pairs...); err != nil {
		return fmt.Errorf("lab: %s: %w", h.name, err)
	}
	for _, vip := range vips {
		if err := h.AddAddr("lo", netip.PrefixFrom(vip, vip.BitLen())); err != nil {
			return err
		}
	}
	return nil
}

// Start starts cmd as a process of the host. The caller waits for it; it is killed when the lab is closed and when this
// process ends. cmd.SysProcAttr.Pdeathsig is set.
func (h *Host) Start(cmd *exec.Cmd) error {
	r, err := h.startResident()
	if err == nil {
		err = r.start(cmd)
	}
	if err != nil {
		return fmt.Errorf("lab: %s: start %s: %w", h.name, cmd.Path, err)
	}
	return nil
}

func (h *Host) startResident() (*resident, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, errClosed
	}
	if h.resident == nil {
		r, err := newResident(h.ns)
		if err != nil {
			return nil, err
		}
		h.resident = r
	}
	return h.resident, nil
}

// stopOnClose has Close stop d.
func (h *Host) stopOnClose(d *Decapsulator) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return errClosed
	}
	h.decaps = append(h.decaps, d)
	return nil
}

func (h *Host) close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	if h.resident != nil {
		h.resident.close()
	}
	var errs []error
	for _, d := range h.decaps {
		errs = append(errs, d.Stop())
	}
	return errors.Join(append(errs, h.ns.clear(), h.ns.close())...)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
