package lb

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// How long takeIn waits before it asks again for VIPs.
const (
	probeAgainAfter = 5 * time.Second        // those that another host has
	linkUpAfter     = 200 * time.Millisecond // on a Link that does not know yet that it is up
)

// takeIn claims VIPs on an interface that came, or got its carrier, after they were claimed
// elsewhere.
func (n *network) takeIn(b *Balancer, f *netInterface) error {
	refused := map[netip.Addr][]Conflict{}
	var again <-chan time.Time
	for {
		select {
		case <-n.ctx.Done():
			return nil
		case <-f.link.came:
		case <-again:
		}
		again = nil
		link, due := f.link.unprobedVIPs()
		if len(due) == 0 {
			continue
		}
		free, taken := n.probeEach(b, link, due)
		for a, conflicts := range taken {
			for _, c := range conflicts {
				b.tellConflict(c, "golb does not answer for it on "+f.name+" until the other host does not")
			}
			refused[a] = append(refused[a], conflicts...)
			again = time.After(probeAgainAfter)
		}
		for _, a := range free {
			for _, c := range refused[a] {
				c.Ended = true
				b.tellConflict(c, "")
			}
			delete(refused, a)
		}
		if len(free)+len(taken) < len(due) && b.interfaceUp(f) {
			again = time.After(linkUpAfter)
		}
		if len(free) > 0 && b.beginChange(n.ctx) == nil {
			if !n.claimLate(b, f, link, free) {
				again = time.After(probeAgainAfter)
			}
			b.endChange()
		}
	}
}

func (b *Balancer) interfaceUp(f *netInterface) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return f.seen.state() == InterfaceUp
}

// probeEach probes each VIP by itself. It returns those that are to be claimed, and the
// conflicts of those that the config refuses. VIPs that could not be probed now are in
// neither.
func (n *network) probeEach(b *Balancer, link Link, vips []LinkVIP) (free []netip.Addr, taken map[netip.Addr][]Conflict) {
	b.mu.Lock()
	cfg := b.cfg
	b.mu.Unlock()
	var mu sync.Mutex
	var wg sync.WaitGroup
	taken = map[netip.Addr][]Conflict{}
	for _, v := range vips {
		wg.Go(func() {
			var conflicts []Conflict
			var err error
			if !v.Shared {
				conflicts, err = conflictsIn(link.Probe(n.ctx, v.Addr))
			}
			if err == nil && len(conflicts) > 0 && n.refused(n.ctx, &cfg, conflicts) == nil {
				conflicts = nil
			}
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				n.notProbed(v.Addr, err)
			case len(conflicts) > 0:
				taken[v.Addr] = conflicts
			default:
				free = append(free, v.Addr)
			}
		})
	}
	wg.Wait()
	slices.SortFunc(free, netip.Addr.Compare)
	return free, taken
}

// notProbed logs why a VIP could not be probed, unless it will be once the link is up.
func (n *network) notProbed(vip netip.Addr, err error) {
	if !errors.Is(err, ErrLinkDown) && !errors.Is(err, net.ErrClosed) && !errors.Is(err, context.Canceled) {
		n.logger.Error("VIP not probed", "vip", vip, "reason", err.Error())
	}
}

// claimLate has a link answer for VIPs that it has probed, and announce them. It reports
// false where that is to be tried again: another process holds one. A change must be under
// way.
func (n *network) claimLate(b *Balancer, f *netInterface, link Link, probed []netip.Addr) bool {
	if err := n.hold(&b.cfg, n.wantedHolds(b.roles, &b.cfg)); err != nil {
		n.logger.Error("VIPs not claimed on an interface that came", "interface", f.name, "reason", err.Error())
		return false
	}
	if !f.link.setProbed(link, probed) {
		return true
	}
	noIPv6, err := n.setVIPs(f.number, n.claimed[f.number])
	if err != nil {
		n.logger.Error("VIPs not claimed on an interface that came", "interface", f.name, "reason", err.Error())
		return true
	}
	n.setNoIPv6(f.number, noIPv6)
	n.announceOn(b, f.number)
	return true
}
