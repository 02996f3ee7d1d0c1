package arp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// ErrNoIPv6 is the error of SetVIPs where IPv6 VIPs need what the interface does not have.
var ErrNoIPv6 = errors.New("no IPv6 on the interface")

// VIP is an address that a link answers for, and the MAC that it says the address is
// at. VIPs of one link may have different MACs, as those of several VRRP routers do
// (RFC 9568 §7.3: 00:00:5e:00:01:VRID for IPv4, 00:00:5e:00:02:VRID for IPv6).
type VIP struct {
	Addr netip.Addr
	// MAC is the Ethernet source of all that is sent for the VIP, and the hardware
	// address in it. Zero means Config.MAC. While a VIP is set, the interface receives
	// frames to its MAC.
	MAC [6]byte
}

// SetVIPs makes the link answer for exactly these VIPs from now on. It announces
// nothing: that is Announce. A VIP that the host knows of but does not have now, such as
// that of a standby, is left out: the link then neither answers for it nor announces nor
// defends it.
//
// SetVIPs fails where an address cannot be one of a host, a MAC is a group's, or the
// interface does not take a multicast group or MAC; the link then goes on exactly as
// before. The error is ErrNoIPv6 where there are IPv6 VIPs and the interface has no IPv6.
func (l *Link) SetVIPs(vips []VIP) error {
	macs := make(map[netip.Addr]mac, len(vips))
	var need []membership
	for _, v := range vips {
		a, at, err := l.checkVIP(v)
		if err != nil {
			return fmt.Errorf("arp: VIP on %s: %w", l.cfg.Interface, err)
		}
		if other, ok := macs[a]; ok && other != at {
			return fmt.Errorf("arp: VIP on %s: address %s is given twice, at %s and at %s",
				l.cfg.Interface, a, placeOf(other), placeOf(at))
		}
		macs[a] = at
		need = appendMemberships(need, a, at)
	}
	l.setting.Lock()
	defer l.setting.Unlock()
	joined, err := l.join(need)
	if err != nil {
		return err
	}
	l.do(func(m *machine, _ time.Time) { m.setVIPs(macs) })
	for m := range l.joined {
		if !joined[m] {
			l.leave(m)
		}
	}
	l.joined = joined
	return nil
}

// checkVIP returns the address in the one form that the machine knows, and the MAC, zero
// for the interface's own.
func (l *Link) checkVIP(v VIP) (netip.Addr, mac, error) {
	a, err := checkAddr(v.Addr)
	if err == nil {
		err = checkMAC(v.MAC)
	}
	if v.MAC == (mac{}) {
		return a, l.cfg.MAC, err
	}
	return a, v.MAC, err
}

func placeOf(at mac) string {
	if at == (mac{}) {
		return "the interface's MAC"
	}
	return hardware(at).String()
}

// appendMemberships appends what the interface has to receive for a VIP.
func appendMemberships(to []membership, addr netip.Addr, at mac) []membership {
	if addr.Is6() {
		to = append(to, membership{group: solicitedNode(addr)})
	}
	if at != (mac{}) {
		to = append(to, membership{mac: at})
	}
	return to
}

// join joins those of need that are not joined yet, and returns need as a set. Where one
// fails, those before it are left again.
func (l *Link) join(need []membership) (map[membership]bool, error) {
	set := make(map[membership]bool, len(need))
	var fresh []membership
	for _, m := range need {
		if !set[m] && !l.joined[m] {
			if err := l.wire.Join(m); err != nil {
				for _, f := range fresh {
					l.leave(f)
				}
				return nil, fmt.Errorf("arp: receive for %s on %s: %w", m, l.cfg.Interface, err)
			}
			fresh = append(fresh, m)
		}
		set[m] = true
	}
	return set, nil
}

// leave is for what nobody needs any more. A failure costs frames that nobody wants.
func (l *Link) leave(m membership) {
	if err := l.wire.Leave(m); err != nil && !errors.Is(err, net.ErrClosed) {
		l.cfg.Logger.Warn("arp: membership not left", "interface", l.cfg.Interface, "membership", m.String(), "error", err)
	}
}

// Probe asks whether another host on the link has one of the addresses (RFC 5227 §2.1,
// RFC 4862 §5.4). Any number of them, in one call or several, takes Config.ProbeTime.
// The error joins one *ConflictError for each address that another host claims; nil says
// that none did, or that ProbeTime is negative. On a link that is down, or goes down, the
// error is ErrLinkDown. Probe waits for Run where it is not running yet.
//
// Another host's probe for the same address is no claim, though RFC 5227 §2.1.1 would
// have it so: switches send them to every host to track devices. Two hosts that probe at
// once both get the address, and hear of each other when they announce it.
func (l *Link) Probe(ctx context.Context, addrs ...netip.Addr) error {
	addrs, err := l.check(addrs)
	if err != nil || l.cfg.ProbeTime < 0 {
		return err
	}
	return l.await(ctx, "probe", addrs, func(m *machine, addr netip.Addr, end chan error, now time.Time) {
		m.probe(addr, end, now)
	})
}

// Announce says on the wire that the addresses, which must be among those of SetVIPs,
// are here: by a gratuitous ARP request and reply to all (RFC 5227 §2.3, RFC 5944
// §4.6), or an unsolicited neighbour advertisement with the override flag to all nodes
// (RFC 4861 §7.2.6), AnnounceCount times, AnnounceInterval apart. It returns after the
// last; the announcements go on where ctx ends before. An address that SetVIPs removes
// meanwhile is announced no more, and is an error. While the link is down they are
// lost, but Run makes them anew when it is up.
func (l *Link) Announce(ctx context.Context, vips ...netip.Addr) error {
	addrs, err := l.check(vips)
	if err != nil {
		return err
	}
	return l.await(ctx, "announce", addrs, func(m *machine, addr netip.Addr, end chan error, now time.Time) {
		v := m.vips[addr]
		if v == nil {
			end <- errors.New("not one of the link's VIPs")
			return
		}
		v.waiting = append(v.waiting, end)
		m.announce(v, now)
	})
}

// await starts something for each address, all at once, and waits until each has ended.
func (l *Link) await(ctx context.Context, what string, addrs []netip.Addr,
	start func(m *machine, addr netip.Addr, end chan error, now time.Time)) error {
	ends := make([]chan error, len(addrs))
	l.do(func(m *machine, now time.Time) {
		for i, a := range addrs {
			ends[i] = make(chan error, 1)
			start(m, a, ends[i], now)
		}
	})
	var errs []error
	for i, a := range addrs {
		var err error
		select {
		case err = <-ends[i]:
		case <-ctx.Done():
			err = ctx.Err()
		case <-l.done:
			err = net.ErrClosed
		}
		var taken *ConflictError
		if err != nil && !errors.As(err, &taken) {
			return fmt.Errorf("arp: %s %s on %s: %w", what, a, l.cfg.Interface, err)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// check returns the addresses in the one form that the machine knows.
func (l *Link) check(vips []netip.Addr) ([]netip.Addr, error) {
	addrs := make([]netip.Addr, len(vips))
	for i, v := range vips {
		a, err := checkAddr(v)
		if err != nil {
			return nil, fmt.Errorf("arp: VIP on %s: %w", l.cfg.Interface, err)
		}
		addrs[i] = a
	}
	return addrs, nil
}
