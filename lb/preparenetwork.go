package lb

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/golb/golb/forward"
)

// preparedNetwork is a change of the network of which everything that can fail is done.
type preparedNetwork struct {
	routes map[netip.Addr]hopRoute // of all servers
	filter forward.Filter
	vips   []LinkVIP // that the links are to answer for
	fresh  []LinkVIP // those of them that the links do not answer for yet
}

// prepare makes the network ready for a config beside the one that it serves: ports pass
// the packets of both, links answer for the VIPs of both, next hops of both are resolved.
// Where it fails, or ctx ends, everything is as before.
func (n *network) prepare(ctx context.Context, b *Balancer, cfg *Config) (p *preparedNetwork, err error) {
	v := &validator{}
	p = &preparedNetwork{routes: n.routes(cfg, v), filter: filterOf(cfg), vips: n.wantedVIPs(b, cfg)}
	if err := v.result(); err != nil {
		return nil, err
	}
	for _, vip := range p.vips {
		if !slices.Contains(n.claimed, vip) {
			p.fresh = append(p.fresh, vip)
		}
	}
	if err := n.probe(ctx, p.fresh); err != nil {
		return nil, err
	}
	before, claimed := n.filter, n.claimed
	undo := func() {
		_ = n.setFilter(before) // as far as the ports can take it back
		_ = n.claim(claimed)
		n.neighbors.stopUnused()
	}
	addNAT(&p.filter, b.plane.NATServers())
	p.filter.ICMP = p.filter.ICMP || b.plane.HasTunnels()
	if err := n.setFilter(union(before, p.filter)); err != nil {
		return nil, err
	}
	if err := n.claim(append(slices.Clone(claimed), p.fresh...)); err != nil {
		undo()
		return nil, err
	}
	n.neighbors.resolve(n, p.routes)
	if err := ctx.Err(); err != nil {
		undo()
		return nil, fmt.Errorf("lb: %w", err)
	}
	return p, nil
}

// commitLocked passes the servers' next hops to the data plane, and starts and ends alerts
// and checks by the config. b.mu must be held.
func (n *network) commitLocked(b *Balancer, p *preparedNetwork) {
	n.setRoutesLocked(b, p.routes)
	b.followAlertsLocked(n)
	b.watchLocked()
}

// finish removes what only the old config needed, and announces new VIPs. Where it fails,
// golb receives more packets, or answers for more VIPs, than it needs.
func (n *network) finish(b *Balancer, p *preparedNetwork) {
	if err := n.setFilter(p.filter); err != nil {
		b.env.Logger.Warn("socket filters pass more than they need to", "reason", err.Error())
	}
	if n.inexact {
		b.env.Logger.Info("too many VIPs for a socket filter: all IP packets of the host reach golb", "vips", len(p.filter.VIPs))
	}
	if err := n.claim(p.vips); err != nil {
		b.env.Logger.Error("VIPs that no service has are still answered for", "reason", err.Error())
	}
	n.neighbors.stopUnused()
	b.nextHops.reset(n)
	n.announce(b, p.fresh)
}

// filterOf returns the filter of the ports for a config.
func filterOf(cfg *Config) (f forward.Filter) {
	for _, vip := range cfg.vips() {
		f.VIPs = append(f.VIPs, vip.Prefix)
	}
	for i := range cfg.Services {
		s := &cfg.Services[i]
		for j := range s.Servers {
			addServer(&f, s, &s.Servers[j])
		}
		if s.Fallback.hasServer() {
			addServer(&f, s, &s.Fallback.Server)
		}
		if s.Check.Through == throughVIP {
			f.Servers = append(f.Servers, netip.PrefixFrom(s.anyVIP(), s.anyVIP().BitLen()))
		}
	}
	return f
}

func addServer(f *forward.Filter, s *Service, r *Server) {
	switch r.method(s) {
	case NAT:
		addNAT(f, []netip.Addr{r.Address})
	case TUN:
		f.ICMP = true
	}
}

// addNAT adds to f the servers that send replies through golb.
func addNAT(f *forward.Filter, servers []netip.Addr) {
	for _, a := range servers {
		f.Servers, f.ICMP = append(f.Servers, netip.PrefixFrom(a, a.BitLen())), true
	}
}

// union returns a filter for the packets that f or g passes.
func union(f, g forward.Filter) forward.Filter {
	return forward.Filter{
		VIPs: slices.Concat(f.VIPs, g.VIPs), Servers: slices.Concat(f.Servers, g.Servers), ICMP: f.ICMP || g.ICMP,
	}
}

// setFilter sets the filter of all ports. Where one fails, all get back the filter that they
// had.
func (n *network) setFilter(f forward.Filter) error {
	inexact := false
	for i, p := range n.receivers {
		exact, err := p.SetFilter(f)
		if err != nil {
			for _, changed := range n.receivers[:i] {
				_, _ = changed.SetFilter(n.filter)
			}
			return fmt.Errorf("lb: %w", err)
		}
		inexact = inexact || !exact
	}
	n.filter, n.inexact = f, inexact
	return nil
}
