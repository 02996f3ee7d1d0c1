package lb

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
)

// claims are the VIPs that links answer for, by the index of the link.
type claims [][]LinkVIP

// bound is a ctx that ends with golb too.
func (n *network) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(n.ctx, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// wantedVIPs are those of a config that the links are to answer for.
func (n *network) wantedVIPs(roles map[string]Role, cfg *Config) claims {
	want := make(claims, len(n.names))
	if !n.claiming {
		return want
	}
	seen := map[netip.Addr]bool{}
	for _, name := range cfg.groupNames() {
		if wantedRole(roles, cfg, name) != RoleActive {
			continue
		}
		g := cfg.groupNamed(name)
		vip := LinkVIP{Announce: cfg.Announce.link(), Shared: g.conflictPolicy() == ConflictIgnore}
		if g != nil {
			vip.MAC = g.MAC
		}
		for _, vip.Addr = range answered(cfg.vipsOf(func(group string) bool { return group == name })) {
			if seen[vip.Addr] {
				continue
			}
			seen[vip.Addr] = true
			for i, iface := range n.names {
				if g.claimsOn(iface) {
					want[i] = append(want[i], vip)
				}
			}
		}
	}
	return want
}

// without are the claims that are not among others.
func (c claims) without(others claims) claims {
	rest := make(claims, len(c))
	for i, list := range c {
		had := map[LinkVIP]bool{}
		for _, v := range others[i] {
			had[v] = true
		}
		rest[i] = slices.DeleteFunc(slices.Clone(list), func(v LinkVIP) bool { return had[v] })
	}
	return rest
}

// and are the claims and more ones. A VIP that is in both is as in the second.
func (c claims) and(more claims) claims {
	all := make(claims, len(c))
	for i, list := range c {
		added := map[netip.Addr]bool{}
		for _, v := range more[i] {
			added[v.Addr] = true
		}
		others := slices.DeleteFunc(slices.Clone(list), func(v LinkVIP) bool { return added[v.Addr] })
		all[i] = append(others, more[i]...)
	}
	return all
}

func (c claims) equal(other claims) bool {
	return slices.EqualFunc(c, other, func(a, b []LinkVIP) bool { return slices.Equal(a, b) })
}

// addrs are the addresses of all claims, each once.
func (c claims) addrs() map[netip.Addr]bool {
	all := map[netip.Addr]bool{}
	for _, list := range c {
		for _, v := range list {
			all[v.Addr] = true
		}
	}
	return all
}

// probe fails where another host has one of the VIPs and the config refuses that. Those that
// links answer for are not asked for: one link would hear the other.
func (n *network) probe(ctx context.Context, cfg *Config, vips claims) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("lb: %w", err)
	}
	claimed := n.claimed.addrs()
	var mu sync.Mutex
	var found []Conflict
	g, asking := errgroup.WithContext(ctx)
	for i, link := range n.links {
		ask := slices.DeleteFunc(slices.Clone(vips[i]), func(v LinkVIP) bool { return v.Shared || claimed[v.Addr] })
		if len(ask) == 0 {
			continue
		}
		g.Go(func() error {
			conflicts, err := conflictsIn(link.Probe(asking, addrsOf(ask)...))
			mu.Lock()
			defer mu.Unlock()
			found = append(found, conflicts...)
			return err
		})
	}
	if err := g.Wait(); err != nil || len(found) == 0 {
		return err
	}
	return n.refused(ctx, cfg, found)
}

// conflictsIn separates the conflicts in a link's error from what else it is.
func conflictsIn(err error) ([]Conflict, error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []Conflict
		var others []error
		for _, e := range joined.Unwrap() {
			conflicts, other := conflictsIn(e)
			all, others = append(all, conflicts...), append(others, other)
		}
		return all, errors.Join(others...)
	}
	var c *ConflictError
	if errors.As(err, &c) {
		return []Conflict{c.Conflict}, nil
	}
	return nil, err
}

// claim has the links answer for exactly these VIPs; where one fails, all answer for what
// they did before. A link without IPv6 answers for those of IPv4, as long as another one
// takes the others.
func (n *network) claim(vips claims) error {
	n.conflicts.watch(n.names, n.claimed.and(vips))
	noIPv6, err := n.setAllVIPs(vips)
	if err != nil {
		n.conflicts.watch(n.names, n.claimed)
		return err
	}
	for i, without := range noIPv6 {
		n.setNoIPv6(i, without)
	}
	n.claimed = vips
	n.conflicts.watch(n.names, vips)
	return nil
}

// setNoIPv6 notes whether a link takes no IPv6 VIPs.
func (n *network) setNoIPv6(i int, without bool) {
	if without && !n.noIPv6[i] {
		n.logger.Warn("the interface has no IPv6: IPv6 VIPs are answered for on others", "interface", n.names[i])
	}
	n.noIPv6[i] = without
}

func (n *network) setAllVIPs(vips claims) (noIPv6 []bool, err error) {
	noIPv6 = make([]bool, len(n.links))
	for i := range n.links {
		if noIPv6[i], err = n.setVIPs(i, vips[i]); err != nil {
			n.unclaim(i)
			return nil, err
		}
	}
	taken := make(claims, len(vips))
	for i, list := range vips {
		if taken[i] = list; noIPv6[i] {
			taken[i] = withoutIPv6(list)
		}
	}
	somewhere := taken.addrs()
	for i, list := range vips {
		for _, v := range list {
			if !somewhere[v.Addr] {
				n.unclaim(len(n.links))
				return nil, fmt.Errorf("lb: VIP %s on %s: %w", v.Addr, n.names[i], ErrNoIPv6)
			}
		}
	}
	return noIPv6, nil
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
	for i, link := range n.links[:links] {
		if err := link.SetVIPs(n.claimed[i]); errors.Is(err, ErrNoIPv6) {
			_ = link.SetVIPs(withoutIPv6(n.claimed[i])) // what it was in before
		}
	}
}

func withoutIPv6(vips []LinkVIP) []LinkVIP {
	return slices.DeleteFunc(slices.Clone(vips), func(v LinkVIP) bool { return v.Addr.Is6() })
}

// announce tells all hosts of VIPs; that takes seconds, in the background.
func (n *network) announce(b *Balancer, vips claims) {
	for i, list := range vips {
		n.announceVIPsOn(b, i, list)
	}
}

// announceOn tells all hosts again of what a link answers for, as its interface is back. A
// change must be under way.
func (n *network) announceOn(b *Balancer, link int) { n.announceVIPsOn(b, link, n.claimed[link]) }

func (n *network) announceVIPsOn(b *Balancer, i int, vips []LinkVIP) {
	if n.noIPv6[i] {
		vips = withoutIPv6(vips)
	}
	if len(vips) == 0 {
		return
	}
	link, name := n.links[i], n.names[i]
	n.tasks.Go(func() error {
		if err := link.Announce(n.ctx, addrsOf(vips)...); err != nil && n.stillClaimed(b, i, vips) {
			b.env.Logger.Error("VIPs not announced", "interface", name, "reason", err.Error())
		}
		return nil
	})
}

// stillClaimed reports whether a link answers for all of these VIPs, once no change is under
// way: one that was given up meanwhile need not be announced.
func (n *network) stillClaimed(b *Balancer, link int, vips []LinkVIP) bool {
	if b.beginChange(n.ctx) != nil {
		return false // golb ends
	}
	defer b.endChange()
	return !slices.ContainsFunc(vips, func(v LinkVIP) bool { return !slices.Contains(n.claimed[link], v) })
}

func addrsOf(vips []LinkVIP) []netip.Addr {
	list := make([]netip.Addr, len(vips))
	for i, v := range vips {
		list[i] = v.Addr
	}
	return list
}
