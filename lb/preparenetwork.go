package lb

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
)

// preparedNetwork is what a network has been made ready for.
type preparedNetwork struct {
	routes map[netip.Addr]hopRoute // of all servers
	filter filterConfig
	vips   []LinkVIP // to answer for
	fresh  []LinkVIP // those of them that the links did not answer for
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
		_ = n.setFilter(before) // what the ports had: it is attached where it can be
		_ = n.claim(claimed)
		n.neighbors.stopUnused()
	}
	p.filter.addNAT(b.plane.NATServers())
	p.filter.icmp = p.filter.icmp || b.plane.HasTunnels()
	if err := n.setFilter(before.union(&p.filter)); err != nil {
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

// commitLocked shows the servers' next hops to the workers, and has alerts and checks
// follow the config. The balancer's lock is held.
func (n *network) commitLocked(b *Balancer, p *preparedNetwork) {
	n.setRoutesLocked(b, p.routes)
	b.followAlertsLocked(n)
	b.watchLocked()
}

// finish drops what the old config alone needed, and announces what is new. What fails
// here leaves golb with more packets, or answers, than it needs.
func (n *network) finish(b *Balancer, p *preparedNetwork) {
	if _, exact, err := p.filter.program(); err == nil && !exact {
		b.env.Logger.Info("too many VIPs for a socket filter: all IP packets of the host reach golb", "vips", len(p.filter.vips))
	}
	if err := n.setFilter(p.filter); err != nil {
		b.env.Logger.Warn("socket filters pass more than they need to", "reason", err.Error())
	}
	if err := n.claim(p.vips); err != nil {
		b.env.Logger.Error("VIPs that no service has are still answered for", "reason", err.Error())
	}
	n.neighbors.stopUnused()
	b.nextHops.reset(n)
	n.announce(b, p.fresh)
}

// filterConfig says which packets ports pass.
type filterConfig struct {
	vips    []netip.Prefix
	servers []netip.Prefix // whose packets are golb's
	icmp    bool           // ICMP errors to the host
}

// filterOf is that of a config.
func filterOf(cfg *Config) (f filterConfig) {
	for _, vip := range cfg.vips() {
		f.vips = append(f.vips, vip.Prefix)
	}
	for i := range cfg.Services {
		s := &cfg.Services[i]
		for j := range s.Servers {
			f.addServer(s, &s.Servers[j])
		}
		if s.Fallback.hasServer() {
			f.addServer(s, &s.Fallback.Server)
		}
		if s.Check.Through == throughVIP {
			f.servers = append(f.servers, netip.PrefixFrom(s.anyVIP(), s.anyVIP().BitLen()))
		}
	}
	return f
}

func (f *filterConfig) addServer(s *Service, r *Server) {
	switch r.method(s) {
	case NAT:
		f.addNAT([]netip.Addr{r.Address})
	case TUN:
		f.icmp = true
	}
}

// addNAT adds servers that send replies through golb.
func (f *filterConfig) addNAT(servers []netip.Addr) {
	for _, a := range servers {
		f.servers, f.icmp = append(f.servers, netip.PrefixFrom(a, a.BitLen())), true
	}
}

// union passes what either passes.
func (f filterConfig) union(g *filterConfig) filterConfig {
	return filterConfig{
		vips: slices.Concat(f.vips, g.vips), servers: slices.Concat(f.servers, g.servers), icmp: f.icmp || g.icmp,
	}
}

// setFilter has the kernel pass only the packets of f. Where a port fails, all pass what
// they did before.
func (n *network) setFilter(f filterConfig) error {
	prog, _, err := f.program()
	if err != nil {
		return err
	}
	for i, p := range n.receivers {
		if err := p.SetFilter(prog); err != nil {
			if old, _, err := n.filter.program(); err == nil {
				for _, changed := range n.receivers[:i] {
					_ = changed.SetFilter(old)
				}
			}
			return fmt.Errorf("lb: %w", err)
		}
	}
	n.filter = f
	return nil
}
