package lb

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb/internal/hostlock"
)

// preparedNetwork is a change of the network of which everything that can fail is done.
type preparedNetwork struct {
	routes map[netip.Addr]serverRoute // of all servers
	filter forward.Filter             // of the config alone
	vips   claims                     // to answer for
	fresh  claims                     // those of them that the links did not answer for
	held   []hostlock.VIP             // to hold on the host
}

// prepare makes the network ready for a config beside the one that it serves: ports pass
// the packets of both, links answer for the VIPs of both, next hops of both are resolved.
// Where it fails, or ctx or golb ends, everything is as before.
func (n *network) prepare(ctx context.Context, b *Balancer, cfg *Config) (*preparedNetwork, error) {
	ctx, cancel := n.bound(ctx)
	defer cancel()
	names := n.names
	n.setNames(b, n.placesOf(cfg.Interfaces))
	p, err := n.prepareNamed(ctx, b, cfg)
	if err != nil {
		n.setNames(b, names)
	}
	return p, err
}

// prepareNamed is prepare once the interfaces have the names of the config.
func (n *network) prepareNamed(ctx context.Context, b *Balancer, cfg *Config) (*preparedNetwork, error) {
	p := &preparedNetwork{routes: n.routes(cfg), filter: filterOf(cfg), vips: n.wantedVIPs(b.roles, cfg)}
	if err := neverReached(cfg, p.routes); err != nil {
		return nil, err
	}
	p.fresh, p.held = p.vips.without(n.claimed), n.wantedHolds(b.roles, cfg)
	undo := n.undo()
	if err := n.extend(ctx, cfg, p); err != nil {
		undo()
		return nil, n.reason(err)
	}
	return p, nil
}

// extend has ports, links and neighbors serve what is prepared too.
func (n *network) extend(ctx context.Context, cfg *Config, p *preparedNetwork) error {
	n.neighbors.resolve(n, p.routes)
	if err := n.holdToo(cfg, p.held); err != nil {
		return err
	}
	if err := n.probe(ctx, cfg, p.fresh); err != nil {
		return err
	}
	if err := n.setFilter(union(n.filter, p.filter)); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("lb: %w", err)
	}
	if err := n.claim(n.claimed.and(p.fresh)); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("lb: %w", err)
	}
	return nil
}

// undo returns what brings back how ports, links and neighbors are now.
func (n *network) undo() func() {
	filter, claimed, held := n.filter, n.claimed, n.held
	return func() {
		_ = n.setFilter(filter) // ports that refuse it pass more than they need to
		if !n.claimed.equal(claimed) {
			_ = n.claim(claimed)
		}
		_ = n.hold(&Config{}, held) // gives up only
		n.neighbors.stopUnused()
	}
}

// reason is why something failed: that golb ends, where it does.
func (n *network) reason(err error) error {
	if ended := n.ctx.Err(); ended != nil {
		return fmt.Errorf("lb: golb ends: %w", ended)
	}
	return err
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
	filter := p.filter
	addNAT(&filter, b.plane.NATServers()) // those that connections still have too
	filter.ICMP = filter.ICMP || b.plane.HasTunnels()
	if err := n.setFilter(filter); err != nil {
		b.env.Logger.Warn("socket filters pass more than they need to", "reason", err.Error())
	}
	if n.inexact {
		b.env.Logger.Info("too many VIPs for a socket filter: all IP packets of the host reach golb", "vips", len(filter.VIPs))
	}
	if err := n.claim(p.vips); err != nil {
		b.env.Logger.Error("VIPs that no service has are still answered for", "reason", err.Error())
	}
	_ = n.hold(&b.cfg, p.held) // gives up only
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
		if s.pathCheck() != nil {
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
