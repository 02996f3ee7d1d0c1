package lb

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

// probeAgainAfter is how long takeIn waits before it asks again for a VIP that another host
// has.
const probeAgainAfter = 10 * time.Second

// takeIn claims VIPs on an interface that came, or got its carrier, after they were claimed
// elsewhere.
func (n *network) takeIn(b *Balancer, f *netInterface) error {
	told := map[netip.Addr]bool{}
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
		free, taken := probeEach(n.ctx, link, due)
		for a, err := range taken {
			if !told[a] {
				b.tellConflict(a, err.Error())
			}
			told[a] = true
			again = time.After(probeAgainAfter)
		}
		for _, a := range free {
			delete(told, a)
		}
		if len(free) > 0 && b.beginChange(n.ctx) == nil {
			n.claimLate(b, f, link, free)
			b.endChange()
		}
	}
}

// probeEach probes each address by itself. Those that could not be probed now are in neither
// result.
func probeEach(ctx context.Context, link Link, addrs []netip.Addr) (free []netip.Addr, taken map[netip.Addr]error) {
	errs := make([]error, len(addrs))
	var wg sync.WaitGroup
	for i, a := range addrs {
		wg.Go(func() { errs[i] = link.Probe(ctx, a) })
	}
	wg.Wait()
	taken = map[netip.Addr]error{}
	for i, a := range addrs {
		switch err := errs[i]; {
		case err == nil:
			free = append(free, a)
		case ctx.Err() == nil && !errors.Is(err, ErrLinkDown) && !errors.Is(err, net.ErrClosed):
			taken[a] = err
		}
	}
	return free, taken
}

// claimLate has a link answer for VIPs that it has probed, and announce them. A change must
// be under way.
func (n *network) claimLate(b *Balancer, f *netInterface, link Link, probed []netip.Addr) {
	if !f.link.setProbed(link, probed) {
		return
	}
	noIPv6, err := n.setVIPs(f.number, n.claimed)
	if err != nil {
		n.logger.Error("VIPs not claimed on an interface that came", "interface", f.name, "reason", err.Error())
		return
	}
	n.setNoIPv6(f.number, noIPv6)
	n.announceOn(b, f.number)
}
