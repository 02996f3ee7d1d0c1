package lb

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sync/errgroup"
)

// bound is a ctx that ends with golb too.
func (n *network) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(n.ctx, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// newVIPs are those of vips that the links do not answer for at that MAC.
func (n *network) newVIPs(vips []LinkVIP) (fresh []LinkVIP) {
	claimed := map[LinkVIP]bool{}
	for _, v := range n.claimed {
		claimed[v] = true
	}
	for _, v := range vips {
		if !claimed[v] {
			fresh = append(fresh, v)
		}
	}
	return fresh
}

// claimedAnd are the VIPs that the links answer for and more ones. One that is to get
// another MAC has that.
func (n *network) claimedAnd(more []LinkVIP) []LinkVIP {
	added := map[netip.Addr]bool{}
	for _, v := range more {
		added[v.Addr] = true
	}
	others := slices.DeleteFunc(slices.Clone(n.claimed), func(v LinkVIP) bool { return added[v.Addr] })
	return append(others, more...)
}

// probe fails where another host has one of the VIPs. Those that the links answer for are
// not asked for: one link would hear the other.
func (n *network) probe(ctx context.Context, vips []LinkVIP) error {
	claimed := map[netip.Addr]bool{}
	for _, v := range n.claimed {
		claimed[v.Addr] = true
	}
	addrs := slices.DeleteFunc(addrsOf(vips), func(a netip.Addr) bool { return claimed[a] })
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("lb: %w", err)
	}
	if len(addrs) == 0 {
		return nil
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, link := range n.links {
		g.Go(func() error { return link.Probe(ctx, addrs...) })
	}
	return g.Wait()
}

// claim has the links answer for exactly these VIPs; where one fails, all answer for what
// they did before. A link without IPv6 answers for those of IPv4, as long as another one
// takes the others.
func (n *network) claim(vips []LinkVIP) error {
	noIPv6 := make([]bool, len(n.links))
	var err error
	for i := range n.links {
		if noIPv6[i], err = n.setVIPs(i, vips); err != nil {
			n.unclaim(i)
			return err
		}
	}
	if !slices.Contains(noIPv6, false) {
		n.unclaim(len(n.links))
		return fmt.Errorf("lb: VIPs of IPv6 on %v: %w", n.names, ErrNoIPv6)
	}
	for i, without := range noIPv6 {
		n.setNoIPv6(i, without)
	}
	n.claimed = vips
	return nil
}

// setNoIPv6 notes whether a link takes no IPv6 VIPs.
func (n *network) setNoIPv6(i int, without bool) {
	if without && !n.noIPv6[i] {
		n.logger.Warn("the interface has no IPv6: IPv6 VIPs are answered for on others", "interface", n.names[i])
	}
	n.noIPv6[i] = without
}

// setVIPs has a link answer for VIPs, without those of IPv6 where it takes none.
func (n *network) setVIPs(i int, vips []LinkVIP) (noIPv6 bool, err error) {
	if err = n.links[i].SetVIPs(vips); errors.Is(err, ErrNoIPv6) {
		noIPv6 = true
		err = n.links[i].SetVIPs(withoutIPv6(vips))
	}
	if err != nil {
		return noIPv6, fmt.Errorf("lb: %s: %w", n.names[i], err)
	}
	return noIPv6, nil
}

// unclaim has the first links answer for what they did before.
func (n *network) unclaim(links int) {
	for _, link := range n.links[:links] {
		if err := link.SetVIPs(n.claimed); errors.Is(err, ErrNoIPv6) {
			_ = link.SetVIPs(withoutIPv6(n.claimed)) // what it was in before
		}
	}
}

func withoutIPv6(vips []LinkVIP) []LinkVIP {
	return slices.DeleteFunc(slices.Clone(vips), func(v LinkVIP) bool { return v.Addr.Is6() })
}

// announce tells all hosts of VIPs; that takes seconds, in the background.
func (n *network) announce(b *Balancer, vips []LinkVIP) {
	for i := range n.links {
		n.announceVIPsOn(b, i, vips)
	}
}

// announceOn tells all hosts again of what a link answers for, as its interface is back. A
// change must be under way.
func (n *network) announceOn(b *Balancer, link int) { n.announceVIPsOn(b, link, n.claimed) }

func (n *network) announceVIPsOn(b *Balancer, i int, vips []LinkVIP) {
	if n.noIPv6[i] {
		vips = withoutIPv6(vips)
	}
	if len(vips) == 0 {
		return
	}
	link, name := n.links[i], n.names[i]
	n.tasks.Go(func() error {
		if err := link.Announce(n.ctx, addrsOf(vips)...); err != nil && n.stillClaimed(b, vips) {
			b.env.Logger.Error("VIPs not announced", "interface", name, "reason", err.Error())
		}
		return nil
	})
}

// stillClaimed reports whether the links answer for all of these VIPs, once no change is
// under way: one that was given up meanwhile need not be announced.
func (n *network) stillClaimed(b *Balancer, vips []LinkVIP) bool {
	if b.beginChange(n.ctx) != nil {
		return false // golb ends
	}
	defer b.endChange()
	return !slices.ContainsFunc(vips, func(v LinkVIP) bool { return !slices.Contains(n.claimed, v) })
}

func addrsOf(vips []LinkVIP) []netip.Addr {
	list := make([]netip.Addr, len(vips))
	for i, v := range vips {
		list[i] = v.Addr
	}
	return list
}
