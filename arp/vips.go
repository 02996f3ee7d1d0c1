package arp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// SetVIPs makes the link answer for exactly these addresses from now on. It fails, and
// changes nothing, where an address cannot be one of a host, or the interface has no
// IPv6 to join an IPv6 VIP's multicast group with. It announces nothing: that is
// Announce.
func (l *Link) SetVIPs(vips []netip.Addr) error {
	addrs, err := l.check(vips)
	if err != nil {
		return err
	}
	want := make(map[netip.Addr]bool, len(addrs))
	l.groups.Lock()
	defer l.groups.Unlock()
	had := l.vips()
	var added, removed []netip.Addr
	for _, a := range addrs {
		if !had[a] && !want[a] {
			added = append(added, a)
		}
		want[a] = true
	}
	for a := range had {
		if !want[a] {
			removed = append(removed, a)
		}
	}
	if err := l.join(added); err != nil {
		return err
	}
	l.do(func(m *machine, _ time.Time) { m.setVIPs(want) })
	l.leave(removed)
	return nil
}

func (l *Link) vips() map[netip.Addr]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	set := make(map[netip.Addr]bool, len(l.m.vips))
	for a := range l.m.vips {
		set[a] = true
	}
	return set
}

// join and leave count who wants the solicited-node group of an IPv6 address; several
// addresses may share one. The caller holds l.groups.
func (l *Link) join(addrs []netip.Addr) error {
	for i, a := range addrs {
		if a.Is4() {
			continue
		}
		g := solicitedNode(a)
		if l.joined[g] == 0 {
			if err := l.wire.Join(g); err != nil {
				l.leave(addrs[:i])
				return fmt.Errorf("arp: listen for %s on %s: join %s: %w", a, l.cfg.Interface, g, err)
			}
		}
		l.joined[g]++
	}
	return nil
}

func (l *Link) leave(addrs []netip.Addr) {
	for _, a := range addrs {
		if a.Is4() {
			continue
		}
		g := solicitedNode(a)
		if l.joined[g]--; l.joined[g] > 0 {
			continue
		}
		delete(l.joined, g)
		if err := l.wire.Leave(g); err != nil && !errors.Is(err, net.ErrClosed) {
			l.cfg.Logger.Warn("arp: leave multicast group", "interface", l.cfg.Interface, "group", g, "error", err)
		}
	}
}

// Probe asks whether another host on the link has one of the addresses, or is probing
// for it too (RFC 5227 §2.1, RFC 4862 §5.4). Any number of them, in one call or many,
// takes as long as one: ProbeCount-1 times ProbeInterval, and ProbeWait; 400 ms by
// default. The error joins one *ConflictError per address that is taken; nil says that
// nobody answered. Probe waits for Run where it is not running yet.
func (l *Link) Probe(ctx context.Context, vips ...netip.Addr) error {
	addrs, err := l.check(vips)
	if err != nil {
		return err
	}
	l.groups.Lock()
	err = l.join(addrs) // else a probe by another for the same address is not heard
	l.groups.Unlock()
	if err != nil {
		return err
	}
	defer func() {
		l.groups.Lock()
		defer l.groups.Unlock()
		l.leave(addrs)
	}()
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
