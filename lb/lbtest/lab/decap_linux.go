package lab

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"github.com/vishvananda/netlink"
)

// Interfaces that carry inner packets into a host's stack: what is sent on the second is received on the first.
const (
	decapIn  = "golb-dec0"
	decapOut = "golb-dec1"
)

// Decapsulator takes packets out of their tunnels for a host whose kernel has no tunnel devices.
type Decapsulator struct {
	host    *Host
	sockets []*decapSocket
	inject  *os.File
	header  [injectHeader]byte
	made    bool   // the interfaces
	badUDP  uint64 // the kernel's count at the start

	readers sync.WaitGroup
	stopped sync.Once
	stopErr error

	count struct{ partial, partialGRE, largest, malformed, badChecksum atomic.Uint64 }
}

// Decapsulate makes the host a server for tunnels: IPIP (IPv4 and IPv6 in either), GRE and GUE packets addressed to it
// lose their outer header and enter its stack as if received on interface golb-dec0. The host answers from its own
// addresses (the VIP on lo) by its own routes. Outer fragments are reassembled by the host's kernel, which answers
// nothing to the outer packets: their protocols and the GUE port have sockets. A kernel with tunnel modules loaded answers
// them with ICMP port unreachable all the same; there use its devices.
//
// It runs until Stop or the lab's Close.
func (h *Host) Decapsulate(cfg DecapConfig) (*Decapsulator, error) {
	d := &Decapsulator{host: h}
	err := d.start(cfg)
	if err == nil {
		err = h.stopOnClose(d)
	}
	if err != nil {
		return nil, fmt.Errorf("lab: %s: decapsulate: %w", h.name, errors.Join(err, d.Stop()))
	}
	return d, nil
}

func (d *Decapsulator) start(cfg DecapConfig) error {
	if err := d.makeInterfaces(); err != nil {
		return err
	}
	if err := d.host.Do(func() error { return d.open(cfg) }); err != nil {
		return err
	}
	_, bad, err := d.kernelCounts()
	if err != nil {
		return err
	}
	d.badUDP = bad
	for _, s := range d.sockets {
		d.readers.Go(func() { d.read(s) })
	}
	return nil
}

// Stop ends decapsulation and removes the interfaces. Further calls do nothing.
func (d *Decapsulator) Stop() error {
	d.stopped.Do(func() {
		for _, s := range d.sockets {
			d.stopErr = errors.Join(d.stopErr, s.file.Close())
		}
		d.readers.Wait()
		for _, s := range d.sockets {
			d.stopErr = errors.Join(d.stopErr, s.err)
		}
		if d.inject != nil {
			d.stopErr = errors.Join(d.stopErr, d.inject.Close())
		}
		if !d.made {
			return
		}
		err := d.host.ns.withLink(decapIn, func(nl *netlink.Handle, link netlink.Link) error { return nl.LinkDel(link) })
		if !errors.As(err, new(netlink.LinkNotFoundError)) {
			d.stopErr = errors.Join(d.stopErr, err)
		}
	})
	return d.stopErr
}

// makeInterfaces makes a veth pair within the host. A TUN device would do, but its device node is closed to ordinary
// users on some systems.
func (d *Decapsulator) makeInterfaces() error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = decapIn, maxPacket
	veth := netlink.NewVeth(attrs)
	veth.PeerName, veth.PeerMTU = decapOut, maxPacket
	ns := d.host.ns
	if err := ns.rtnl(func(nl *netlink.Handle) error { return nl.LinkAdd(veth) }); err != nil {
		return fmt.Errorf("make %s: %w", decapIn, err)
	}
	d.made = true
	settings := [][2]string{{"net/ipv4/conf/" + decapIn + "/rp_filter", "0"}}
	if kernelHasIPv6() {
		// No addresses, so nothing of their own on these interfaces.
		settings = append(settings, [2]string{"net/ipv6/conf/" + decapIn + "/addr_gen_mode", "1"},
			[2]string{"net/ipv6/conf/" + decapOut + "/disable_ipv6", "1"})
	}
	return errors.Join(ns.sysctls(settings...), ns.setUp(decapOut, true), ns.setUp(decapIn, true),
		ns.awaitCarrier(decapIn, true), ns.awaitCarrier(decapOut, true))
}
