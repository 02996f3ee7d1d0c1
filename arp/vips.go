package arp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// ErrNoIPv6 is the error of SetVIPs if there are IPv6 VIPs, and no IPv6 on the interface.
var ErrNoIPv6 = errors.New("no IPv6 on the interface")

// VIP is an address that a link answers for, its MAC, and how it is announced. VIPs of one link may have
// different MACs: those of VRRP virtual routers do, 00:00:5e:00:01:VRID for IPv4 and
// 00:00:5e:00:02:VRID for IPv6 (RFC 9568 §7.3).
type VIP struct {
	Addr netip.Addr
	// MAC is the Ethernet source and the hardware address in answers and announcements of
	// the VIP. Zero means Config.MAC.
	MAC [6]byte
	// Announce says when the VIP is announced, from Announce on and when the link comes up.
	Announce Announcement
	// Shared is true for a VIP that other hosts may have too: the link answers for it and
	// announces it, and counts claims of others, but neither defends it nor reports them.
	Shared bool
}

// SetVIPs makes the link answer for these VIPs, and no others. It does not announce them;
// call Announce for that. A VIP that another host has now, as on a standby, must not be
// among them: the link neither answers for it then, nor announces, nor defends it.
//
// SetVIPs fails if no host on a link can have one of the addresses, if a MAC is not a
// unicast one, if an address is given twice with different settings, or if the interface
// refuses a multicast group or a MAC. The error wraps ErrNoIPv6 if that is the reason.
// After a failure the link answers exactly as before.
func (l *Link) SetVIPs(vips []VIP) error {
	set := make(map[netip.Addr]VIP, len(vips))
	var need []membership
	for _, given := range vips {
		v, err := l.checkVIP(given)
		if err != nil {
			return fmt.Errorf("arp: VIP on %s: %w", l.cfg.Interface, err)
		}
		if other, ok := set[v.Addr]; ok && other != v {
			return fmt.Errorf("arp: VIP on %s: address %s is given twice, at %s and at %s",
				l.cfg.Interface, v.Addr, placeOf(other.MAC), placeOf(v.MAC))
		}
		set[v.Addr] = v
		need = appendMemberships(need, v.Addr, v.MAC)
	}
	l.vipsMu.Lock()
	defer l.vipsMu.Unlock()
	memberships, err := l.join(need)
	if err != nil {
		return err
	}
	l.do(func(m *machine, now time.Time) { m.setVIPs(set, now) })
	for m := range l.memberships {
		if !memberships[m] {
			l.leave(m)
		}
	}
	l.memberships = memberships
	return nil
}

// checkVIP returns a VIP as the machine has it: the zero MAC is the interface's own.
func (l *Link) checkVIP(v VIP) (VIP, error) {
	var err error
	if v.Addr, err = checkAddr(v.Addr); err != nil {
		return v, err
	}
	if err = checkMAC(v.MAC); err != nil {
		return v, err
	}
	if v.MAC == (mac{}) {
		v.MAC = l.cfg.MAC
	}
	v.Announce, err = v.Announce.withDefaults()
	return v, err
}

func placeOf(at mac) string {
	if at == (mac{}) {
		return "the interface's MAC"
	}
	return hardware(at).String()
}

// appendMemberships appends the memberships that a VIP needs.
func appendMemberships(to []membership, addr netip.Addr, at mac) []membership {
	if addr.Is6() {
		to = append(to, membership{group: solicitedNode(addr)})
	}
	if at != (mac{}) {
		to = append(to, membership{mac: at})
	}
	return to
}

// join joins what of need is not joined yet, and returns need as a set. If one fails it
// leaves those that it has joined. The caller holds vipsMu.
func (l *Link) join(need []membership) (map[membership]bool, error) {
	set := make(map[membership]bool, len(need))
	var fresh []membership
	for _, m := range need {
		if !set[m] && !l.memberships[m] {
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

// leave ends a membership. If that fails, the interface receives frames that are not needed.
func (l *Link) leave(m membership) {
	if err := l.wire.Leave(m); err != nil && !errors.Is(err, net.ErrClosed) {
		l.cfg.Logger.Warn("arp: cannot leave multicast group or MAC", "interface", l.cfg.Interface, "membership", m.String(), "error", err)
	}
}

// Probe asks whether another host has one of the addresses (RFC 5227 §2.1, RFC 4862 §5.4).
// It takes Config.ProbeTime, however many addresses there are. The error joins a
// *ConflictError for each address that another host claims meanwhile; nil means that there
// is none, or that ProbeTime is negative. The error wraps ErrLinkDown if the link is down
// or goes down, and net.ErrClosed if it is closed. Before Run, Probe waits.
//
// A probe of another host for the same address is not a claim. RFC 5227 §2.1.1 takes it for
// one; but switches send such probes to all hosts to track them. So if two hosts probe at
// once neither fails, and each notices the other when that announces the address.
func (l *Link) Probe(ctx context.Context, addrs ...netip.Addr) error {
	addrs, err := l.check(addrs)
	if err != nil || l.cfg.ProbeTime < 0 {
		return err
	}
	return l.await(ctx, "probe", addrs, func(m *machine, addr netip.Addr, end chan error, now time.Time) {
		m.probe(addr, end, now)
	})
}

// Announce tells all hosts that VIPs of the link are here: by a gratuitous ARP request and
// a gratuitous ARP reply (RFC 5227 §2.3, RFC 5944 §4.6), or by an unsolicited neighbor
// advertisement with the override flag (RFC 4861 §7.2.6). VIP.Announce says when and how
// often. Announce returns after the second burst, or after the first if there is no second.
// If ctx ends before, Announce returns its error, but the announcements go on.
//
// An address that is not among the VIPs, or no longer because of SetVIPs, is an error.
// Announcements are lost while the link is down, but are made again when it comes up.
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
		v.series.waiting = append(v.series.waiting, end)
		m.announce(v, now)
	})
}

// await calls start for each address, then waits for an error or nil from each end.
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

// check returns addresses as the machine has them.
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
