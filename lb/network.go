package lb

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/forward/afpacket"
)

// network is what a running balancer has open: for each worker a port on every
// interface, and one link per interface.
type network struct {
	names []string // of interfaces, by index
	links []Link
	macs  []forward.MAC
	mtus  []int
	ports []Port // all of all workers
	route func(netip.Addr) (Route, error)
	host  *hostRoutes // nil where Env.Route stands in for it
	once  sync.Once
	ctx   context.Context
	tasks *errgroup.Group // all goroutines

	forwarding bool // the VIPs are taken over; the balancer's lock guards it
}

// The times of starting up.
const (
	neighbourWait = time.Second
	expireEvery   = 250 * time.Millisecond
)

// open opens everything that Run needs; what is open is closed again on error.
func (b *Balancer) open(ctx context.Context) (n *network, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ran {
		return nil, errors.New("lb: run: the balancer has run already")
	}
	b.ran = true
	if b.cfg.Env.OpenPorts == nil {
		if err := b.cfg.ValidateHost(); err != nil {
			return nil, err
		}
	}
	n = &network{names: b.cfg.Interfaces, route: b.env.Route}
	defer func() {
		if err != nil {
			n.close()
		}
	}()
	if n.route == nil {
		if n.host, err = openRoutes(); err != nil {
			return n, err
		}
		n.route = n.host.route
		for _, w := range b.cfg.warnings(n.route) {
			b.env.Logger.Warn(w)
		}
	}
	if err := n.checkRoutes(&b.cfg); err != nil {
		return n, err
	}
	n.tasks, n.ctx = errgroup.WithContext(ctx)
	for _, name := range n.names {
		link, err := b.env.OpenLink(b.linkConfig(name))
		if err != nil {
			return n, fmt.Errorf("lb: open link on %s: %w", name, err)
		}
		n.links = append(n.links, link)
	}
	for i := range n.names {
		if err := b.openWorkers(n, i); err != nil {
			return n, err
		}
	}
	for _, p := range b.workers[0].ports {
		n.macs = append(n.macs, p.MAC())
		n.mtus = append(n.mtus, p.MTU())
	}
	b.net = n
	return n, nil
}

// openWorkers makes the workers that receive from one interface; each can send
// through all.
func (b *Balancer) openWorkers(n *network, own int) error {
	count := b.threads
	rows := make([][]Port, count)
	for i, name := range n.names {
		ports, err := b.env.OpenPorts(PortConfig{Interface: name, Count: count, SendOnly: i != own, BusyPoll: b.cfg.BusyPoll})
		if err != nil {
			return fmt.Errorf("lb: open ports on %s: %w", name, err)
		}
		n.ports = append(n.ports, ports...)
		for w, p := range ports {
			rows[w] = append(rows[w], p)
		}
	}
	for _, row := range rows {
		w := newWorker(&b.plane, len(b.workers), count*len(n.names), own, row)
		if cpus := b.cfg.CPUs; len(cpus) > 0 {
			w.cpu = cpus[w.id%len(cpus)]
		}
		b.workers = append(b.workers, w)
	}
	return nil
}

// close closes everything, once; nothing that fails here can be mended.
func (n *network) close() {
	n.once.Do(func() {
		for _, p := range n.ports {
			_ = p.Close()
		}
		for _, link := range n.links {
			_ = link.Close()
		}
		if n.host != nil {
			n.host.close()
		}
	})
}

// index is the number of an interface, -1 where it is not among ours.
func (n *network) index(name string) int { return slices.Index(n.names, name) }

// checkRoutes finds the servers that no interface of the config leads to.
func (n *network) checkRoutes(cfg *Config) error {
	v := &validator{}
	for i, s := range cfg.Services {
		for j, r := range s.Servers {
			n.checkRoute(v, fmt.Sprintf("services[%d].servers[%d].address", i, j), r.Address)
		}
		n.fallbackRoute(v, i, &s)
	}
	return v.result()
}

func (n *network) checkRoute(v *validator, path string, addr netip.Addr) {
	route, err := n.route(addr)
	switch {
	case err != nil:
		v.fail(path, addr, err.Error(), "an address that the host has a route to")
	case n.index(route.Interface) < 0:
		v.fail(path, addr, "the route to it leaves by "+route.Interface,
			"an address behind one of the config's interfaces: "+strings.Join(n.names, ", "))
	}
}

// serve runs everything until ctx ends or a part fails.
func (n *network) serve(b *Balancer) error {
	g := n.tasks
	for i, link := range n.links {
		g.Go(func() error {
			if err := link.Run(n.ctx); err != nil && n.ctx.Err() == nil {
				return fmt.Errorf("lb: link on %s: %w", n.names[i], err)
			}
			return nil
		})
	}
	g.Go(func() error {
		<-n.ctx.Done()
		n.close()
		return nil
	})
	if n.host != nil {
		g.Go(func() error { return n.followRoutes(b) })
	}
	g.Go(func() error {
		if err := n.takeOver(b); err != nil {
			return err
		}
		b.emit(Event{Kind: Ready})
		return nil
	})
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// followRoutes finds next hops anew whenever the host's routes change.
func (n *network) followRoutes(b *Balancer) error {
	for n.host.changed() {
		b.mu.Lock()
		b.followHops(n)
		b.mu.Unlock()
	}
	return nil
}

// followHops resolves the servers' next hops, and forgets those of others. The
// balancer's lock is held.
func (b *Balancer) followHops(n *network) {
	b.neighbours.follow(n, b.configured(), b.cfg.Settings.resolve().pmtuDisc)
	b.router.reset(n)
}

// takeOver makes sure that nobody else has the VIPs, starts forwarding, and says so
// on the wire.
func (n *network) takeOver(b *Balancer) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	vips := answered(b.cfg.vips())
	if err := n.probe(vips); err != nil {
		return err
	}
	if err := n.follow(b); err != nil {
		return err
	}
	n.forwarding = true
	for _, w := range b.workers {
		n.tasks.Go(w.run)
	}
	n.tasks.Go(func() error { return b.monitor.Run(n.ctx) })
	n.tasks.Go(func() error { b.expireLoop(n.ctx); return nil })

	// Clients come once the VIPs are claimed: by then the servers should be known.
	wait, cancel := context.WithTimeout(n.ctx, neighbourWait)
	defer cancel()
	b.neighbours.wait(wait)
	if err := n.claim(vips, vips); err != nil {
		return err
	}
	b.env.Logger.Info("forwarding", "vips", fmt.Sprint(b.cfg.vips()), "interfaces", n.names, "workers", len(b.workers))
	return nil
}

// expireLoop keeps the table free of the dead when no traffic does.
func (b *Balancer) expireLoop(ctx context.Context) {
	t := time.NewTicker(expireEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			b.expire(b.tick())
			b.forgetMTUs(b.tick())
			b.operate(b.tick())
		}
	}
}

// forgetMTUs gives all paths the MTU of their links again, some time after the last
// one was learnt.
func (b *Balancer) forgetMTUs(now tick) {
	at := b.mtuLearnt.Load()
	if at == 0 || now.before(tick(at)+pathMTUTimeout) {
		return
	}
	b.mtuLearnt.Store(0)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.net != nil {
		b.followHops(b.net)
	}
}

// probe fails where another host has one of the VIPs.
func (n *network) probe(vips []netip.Addr) error {
	g, ctx := errgroup.WithContext(n.ctx)
	for _, link := range n.links {
		g.Go(func() error { return link.Probe(ctx, vips...) })
	}
	return g.Wait()
}

// follow makes sockets, next hops, alerts and checks fit the services. The balancer's lock
// is held.
func (n *network) follow(b *Balancer) error {
	if err := b.filter(b.cfg.vips()); err != nil {
		return err
	}
	b.followHops(n)
	b.followAlerts(n)
	return b.watch()
}

// claim has the links answer for the VIPs, and tells all hosts of the fresh ones;
// that takes seconds, in the background.
func (n *network) claim(vips, fresh []netip.Addr) error {
	claimed := make([]LinkVIP, len(vips))
	for i, vip := range vips {
		claimed[i].Addr = vip
	}
	for _, link := range n.links {
		if err := link.SetVIPs(claimed); err != nil {
			return fmt.Errorf("lb: %w", err)
		}
		n.tasks.Go(func() error {
			if err := link.Announce(n.ctx, fresh...); err != nil && n.ctx.Err() == nil {
				return fmt.Errorf("lb: %w", err)
			}
			return nil
		})
	}
	return nil
}

// filter has the kernel pass only packets for the VIPs.
func (b *Balancer) filter(vips []VIP) error {
	f := afpacket.Filter{}
	for _, vip := range vips {
		f.VIPs = append(f.VIPs, vip.Prefix)
	}
	for a := range b.snap.Load().nat {
		f.Servers = append(f.Servers, netip.PrefixFrom(a.Netip(), a.Netip().BitLen()))
	}
	for i := range b.cfg.Services {
		if s := &b.cfg.Services[i]; s.Check.Through == throughVIP {
			vip := s.anyVIP()
			f.Servers = append(f.Servers, netip.PrefixFrom(vip, vip.BitLen()))
		}
	}
	f.ICMP = len(b.snap.Load().nat)+len(b.snap.Load().tunnels) > 0
	prog, exact, err := f.Program()
	if err != nil {
		return fmt.Errorf("lb: %w", err)
	}
	if !exact {
		b.env.Logger.Info("too many VIPs for a socket filter: all IP packets of the host reach golb", "vips", len(vips))
	}
	for _, w := range b.workers {
		if err := w.ports[w.in].SetFilter(prog); err != nil {
			return fmt.Errorf("lb: %w", err)
		}
	}
	return nil
}
