package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"time"

	"github.com/vishvananda/netlink"
)

// Link is a cable between a host and a switch.
type Link struct {
	host   *Host
	ifname string
	sw     *Switch
	port   string
}

// What the lab waits for is a kernel work item away; a machine that needs longer than readyWait is not going to do it.
const (
	readyWait = 5 * time.Second
	readyPoll = 200 * time.Microsecond
)

// Attach plugs a host into a switch and returns when frames pass. A host may be attached more than once, under different
// interface names. Offloads stay as the kernel sets them: frames carry unfinished checksums and may be super-packets.
func (l *Lab) Attach(h *Host, s *Switch, cfg LinkConfig) (*Link, error) {
	k := &Link{host: h, ifname: cfg.name(), sw: s}
	if err := l.attach(k, cfg); err != nil {
		return nil, fmt.Errorf("lab: attach %s %s to %s: %w", h.name, k.ifname, s.name, err)
	}
	return k, nil
}

func (l *Lab) attach(k *Link, cfg LinkConfig) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return errClosed
	}
	k.sw.n++
	k.port = fmt.Sprintf("%.11s-%d", k.host.name, k.sw.n)
	port := LinkConfig{Name: k.port, MTU: cfg.MTU, Queues: cfg.Queues, GSOMaxSize: cfg.GSOMaxSize}
	if err := l.cableLocked(k.host.ns, cfg, k.sw.ns, port); err != nil {
		return err
	}
	err := k.sw.ns.withLink(k.port, func(nl *netlink.Handle, port netlink.Link) error {
		return nl.LinkSetMaster(port, k.sw.link)
	})
	if err != nil {
		return fmt.Errorf("join bridge: %w", err)
	}
	if err := errors.Join(k.sw.ns.setUp(k.port, true), k.host.ns.setUp(k.ifname, true)); err != nil {
		return err
	}
	if err := k.await(); err != nil {
		return err
	}
	return k.host.addAddrs(cfg)
}

// Connect runs a cable straight between two hosts and returns when frames pass.
func (l *Lab) Connect(a *Host, ca LinkConfig, b *Host, cb LinkConfig) error {
	if err := l.connect(a, ca, b, cb); err != nil {
		return fmt.Errorf("lab: connect %s %s to %s %s: %w", a.name, ca.name(), b.name, cb.name(), err)
	}
	return nil
}

func (l *Lab) connect(a *Host, ca LinkConfig, b *Host, cb LinkConfig) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return errClosed
	}
	if err := l.cableLocked(a.ns, ca, b.ns, cb); err != nil {
		return err
	}
	if err := errors.Join(a.ns.setUp(ca.name(), true), b.ns.setUp(cb.name(), true)); err != nil {
		return err
	}
	if err := errors.Join(a.ns.awaitCarrier(ca.name(), true), b.ns.awaitCarrier(cb.name(), true)); err != nil {
		return err
	}
	return errors.Join(a.addAddrs(ca), b.addAddrs(cb))
}

// cableLocked makes a veth pair with both ends in their namespaces from the start.
func (l *Lab) cableLocked(a *space, ca LinkConfig, b *space, cb LinkConfig) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.HardwareAddr = ca.name(), ca.MTU, l.macOf(ca)
	attrs.NumTxQueues, attrs.NumRxQueues = ca.Queues, ca.Queues
	veth := netlink.NewVeth(attrs)
	veth.PeerName, veth.PeerHardwareAddr, veth.PeerMTU = cb.name(), l.macOf(cb), uint32(cb.MTU)
	veth.PeerNumTxQueues, veth.PeerNumRxQueues = uint32(cb.Queues), uint32(cb.Queues)
	veth.PeerNamespace = netlink.NsFd(b.fd)
	if err := a.rtnl(func(nl *netlink.Handle) error { return nl.LinkAdd(veth) }); err != nil {
		return fmt.Errorf("make veth: %w", err)
	}
	return errors.Join(a.setGSOMaxSize(ca), b.setGSOMaxSize(cb))
}

// setGSOMaxSize bounds super-packets, those that are sent and those that GRO makes.
func (s *space) setGSOMaxSize(cfg LinkConfig) error {
	if cfg.GSOMaxSize == 0 {
		return nil
	}
	err := s.withLink(cfg.name(), func(nl *netlink.Handle, link netlink.Link) error {
		return errors.Join(nl.LinkSetGSOMaxSize(link, cfg.GSOMaxSize), nl.LinkSetGROMaxSize(link, cfg.GSOMaxSize),
			nl.LinkSetGSOIPv4MaxSize(link, cfg.GSOMaxSize), nl.LinkSetGROIPv4MaxSize(link, cfg.GSOMaxSize))
	})
	if err != nil {
		return fmt.Errorf("set sizes of super-packets on %s: %w", cfg.name(), err)
	}
	return nil
}

func (l *Lab) macOf(c LinkConfig) net.HardwareAddr {
	if c.MAC != nil {
		return c.MAC
	}
	return l.macLocked()
}

// SetUp mends (true) or cuts (false) the cable, at the switch: the host keeps its interface and addresses and sees the
// carrier go. It returns when frames pass, or when the host has noticed that they do not.
func (k *Link) SetUp(up bool) error {
	err := k.sw.ns.setUp(k.port, up)
	switch {
	case err != nil:
	case up:
		err = k.await()
	default:
		err = k.host.ns.awaitCarrier(k.ifname, false)
	}
	if err != nil {
		return fmt.Errorf("lab: link %s %s: %w", k.host.name, k.ifname, err)
	}
	return nil
}

// await returns when the host's end, the port and the bridge have seen the carrier; the bridge forwards from then on.
func (k *Link) await() error {
	return errors.Join(k.host.ns.awaitCarrier(k.ifname, true), k.sw.ns.awaitCarrier(k.port, true),
		k.sw.ns.awaitCarrier(bridgeName, true), k.host.ns.awaitIPv6(k.ifname))
}

// awaitCarrier returns when the kernel has acted on an interface's having carrier, or having none.
func (s *space) awaitCarrier(ifname string, want bool) error {
	deadline := time.Now().Add(readyWait)
	for {
		var state netlink.LinkOperState
		err := s.withLink(ifname, func(_ *netlink.Handle, link netlink.Link) error {
			state = link.Attrs().OperState
			return nil
		})
		if err != nil {
			return err
		}
		if (state == netlink.OperUp) == want {
			// The state may be read before the kernel has told the bridge and the neighbor tables of it, which it does
			// under a lock. Setting up what is up already waits for that lock.
			return s.setUp(ifname, true)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("interface %s: still %s after %s", ifname, state, readyWait)
		}
		time.Sleep(readyPoll)
	}
}

// bridgeWithoutFilter keeps bridged frames out of netfilter, which would reassemble and track them where the module
// br_netfilter is loaded.
func (s *space) bridgeWithoutFilter() error {
	for _, name := range []string{"arptables", "iptables", "ip6tables"} {
		err := s.sysctls([2]string{"net.bridge.bridge-nf-call-" + name, "0"})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
