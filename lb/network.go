package lb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb/internal/dataplane"
	"github.com/golb/golb/lb/internal/hostlock"
)

// network is what a running balancer has open: for each worker a port on every
// interface, and one link per interface. Its fields are used under Balancer.changing, where
// they do not say otherwise.
type network struct {
	names        []string // of interfaces in the config, by index
	interfaces   []*netInterface
	links        []Link        // those of the interfaces
	macs         []forward.MAC // guarded by Balancer.mu too, as mtus
	mtus         []int
	receivers    []*portSlot // by worker: where it receives from
	workers      []*dataplane.Worker
	monitorMu    sync.Mutex       // held to replace monitor, and to close it
	monitor      InterfaceMonitor // nil: interfaces do not change
	present      []HostInterface  // as of the last change
	portMap      atomic.Pointer[portMap]
	opens        chan func()   // see inNamespace
	serving      bool          // set before there are goroutines
	broken       chan struct{} // has an element after a port or link has failed
	neighbors    *neighbors
	serverRoutes map[netip.Addr]serverRoute // guarded by Balancer.mu too
	logger       *slog.Logger
	route        func(netip.Addr) (Route, error)
	changes      <-chan struct{} // that routes may have changed
	host         *hostRoutes     // nil where Env.Route replaces it
	closeOnce    sync.Once
	ctx          context.Context
	tasks        *errgroup.Group // all goroutines
	conflicts    conflicts
	locks        *hostlock.Set // nil where the ports are not the host's
	held         []hostlock.VIP

	claiming bool           // active groups claim their VIPs
	started  atomic.Bool    // and have done so for the first time
	claimed  claims         // what the links answer for
	noIPv6   []bool         // by link: it takes no IPv6 VIPs
	filter   forward.Filter // what the ports pass
	inexact  bool           // some pass more
}

// The times of starting up.
const (
	neighborWait = time.Second
	expireEvery  = 250 * time.Millisecond
)

// openNetwork opens ports and links.
func (b *Balancer) openNetwork(ctx context.Context) (n *network, err error) {
	if b.onHost {
		if err := b.cfg.validateHost(b.memory); err != nil {
			return nil, err
		}
	}
	n = &network{
		names: slices.Clone(b.cfg.Interfaces), route: b.env.Route, changes: b.env.RoutesChanged, neighbors: newNeighbors(b), logger: b.env.Logger, noIPv6: make([]bool, len(b.cfg.Interfaces)), claimed: make(claims, len(b.cfg.Interfaces)),
		opens: make(chan func()), broken: make(chan struct{}, 1),
	}
	if b.onHost {
		n.locks = &hostlock.Set{}
	}
	defer func() {
		if err != nil {
			n.close()
		}
	}()
	if n.route == nil {
		if n.host, err = openRoutes(b.env.Logger); err != nil {
			return n, err
		}
		n.route, n.changes = n.host.route, n.host.changes.changed
		for _, w := range b.cfg.warnings(n.route, isOn) {
			b.env.Logger.Warn(w)
		}
	}
	n.tasks, n.ctx = errgroup.WithContext(ctx)
	if err := n.openInterfaces(b); err != nil {
		return n, err
	}
	if err := n.refuseVRFs(); err != nil {
		return n, err
	}
	n.addWorkers(b)
	return n, nil
}

// addWorkers makes the workers. Those that receive from one interface can send through all.
func (n *network) addWorkers(b *Balancer) {
	for from := range n.interfaces {
		for w := range b.workers {
			cfg := dataplane.WorkerConfig{In: from}
			for _, f := range n.interfaces {
				cfg.Ports = append(cfg.Ports, f.slots[from][w])
			}
			if cpus := b.cfg.CPUs; len(cpus) > 0 {
				cfg.Pin = pinTo(cpus[len(n.workers)%len(cpus)])
			}
			n.receivers = append(n.receivers, n.interfaces[from].slots[from][w])
			n.workers = append(n.workers, b.plane.AddWorker(cfg))
		}
	}
}

// close closes everything, once, also what is being opened meanwhile. Errors are ignored:
// nothing could be done about them.
func (n *network) close() {
	n.closeOnce.Do(func() {
		for _, f := range n.interfaces {
			f.close()
		}
		n.monitorMu.Lock()
		if n.monitor != nil {
			_ = n.monitor.Close()
		}
		n.monitorMu.Unlock()
		if n.host != nil {
			n.host.close()
		}
		if n.locks != nil {
			n.locks.Close()
		}
	})
}

// serve runs everything until ctx ends or a part fails. It ends the change under which
// the network was opened, once the VIPs are claimed.
func (n *network) serve(b *Balancer) error {
	g := n.tasks
	n.serving = true
	for _, f := range n.interfaces {
		if link := f.link.current(); link != nil {
			n.runLink(f, link)
		}
		g.Go(func() error { return n.takeIn(b, f) })
	}
	lists := make(chan []HostInterface, 1)
	g.Go(func() error { return n.followInterfaces(b, lists) })
	if n.monitor != nil {
		g.Go(func() error { return n.watchInterfaces(b, lists) })
	}
	g.Go(func() error {
		<-n.ctx.Done()
		b.close(n)
		return nil
	})
	for _, w := range n.workers {
		g.Go(func() error {
			if err := w.Run(); err != nil && !errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("lb: %w", err)
			}
			return nil
		})
	}
	g.Go(func() error { return b.monitor.Run(n.ctx) })
	g.Go(func() error { return repeat(n.ctx, expireEvery, b.expire) })
	g.Go(func() error { return repeat(n.ctx, expireEvery, func() { b.forgetPathMTUs(n.ctx) }) })
	g.Go(func() error { return repeat(n.ctx, expireEvery, b.plane.AgeHops) })
	g.Go(func() error { return b.logLosses(n.ctx) })
	g.Go(func() error { return b.watchTable(n.ctx) })
	if n.host != nil {
		g.Go(func() error { n.host.changes.run(); return nil })
	}
	g.Go(func() error { return n.followRoutes(b) })
	g.Go(func() error {
		err := n.start(b)
		b.endChange()
		if err != nil {
			return err
		}
		b.awaitFirstResults(n.ctx)
		b.tellReady(n)
		return nil
	})
	n.openForOthers()
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// start claims the VIPs of the groups that are to be active, unless golb ends before.
// Clients come once VIPs are claimed: by then the servers should be known.
func (n *network) start(b *Balancer) error {
	wait, cancel := context.WithTimeout(n.ctx, neighborWait)
	defer cancel()
	resolved := make(chan struct{})
	go func() {
		defer close(resolved)
		n.neighbors.wait(wait)
	}()
	n.claiming = true
	vips := n.wantedVIPs(b.roles, &b.cfg)
	err := n.hold(&b.cfg, n.wantedHolds(b.roles, &b.cfg))
	if err == nil {
		err = n.probe(n.ctx, &b.cfg, vips)
	}
	<-resolved
	if err == nil {
		err = n.claim(vips)
	}
	if n.ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	n.started.Store(true)
	n.announce(b, vips)
	return nil
}

// tellReady says that clients are served, unless golb ends.
func (b *Balancer) tellReady(n *network) {
	if n.ctx.Err() != nil {
		return
	}
	b.mu.Lock()
	vips := b.cfg.vips()
	b.mu.Unlock()
	b.tell(Event{Kind: EventReady}, slog.String("vips", listed(vips)), slog.String("interfaces", listed(n.names)), slog.Int("workers", len(n.workers)))
}

// listed writes a list for the log, of which it shows the first ones.
func listed[T any](list []T) string {
	const most = 8
	if more := len(list) - most; more > 0 {
		return fmt.Sprintf("%v and %d more", list[:most], more)
	}
	return fmt.Sprint(list)
}

// expire expires connections where there is no traffic that has workers do it.
func (b *Balancer) expire() {
	b.plane.Expire()
	b.expireNeighbors()
	b.nextHops.age()
	b.updateDrains()
	b.plane.SendResets(expireEvery)
}

// expireNeighbors does what becomes due with time for neighbors that do not answer; what
// comes of it is reported with drains.
func (b *Balancer) expireNeighbors() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.net != nil {
		b.net.neighbors.expireLocked(b.net)
	}
}

// forgetPathMTUs gives all servers the MTU of their route again, some time after the last
// path MTU was learned. It waits for changes that are under way.
func (b *Balancer) forgetPathMTUs(ctx context.Context) {
	if b.plane.PathMTUsExpired() {
		b.updateRoutes(ctx)
	}
}

// repeat calls a function again and again until ctx ends.
func repeat(ctx context.Context, every time.Duration, do func()) error {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			do()
		}
	}
}

// followPause is the time from one look-up of all routes to the next: routes change many at
// a time.
const followPause = 100 * time.Millisecond

// followRoutes updates next hops whenever the host's routes change.
func (n *network) followRoutes(b *Balancer) error {
	for {
		select {
		case <-n.ctx.Done():
			return nil
		case <-n.changes:
		}
		b.updateRoutes(n.ctx)
		select {
		case <-n.ctx.Done():
			return nil
		case <-time.After(followPause):
		}
	}
}

// updateRoutes looks up the servers' next hops again.
func (b *Balancer) updateRoutes(ctx context.Context) {
	if b.beginChange(ctx) != nil {
		return // golb ends
	}
	defer b.endChange()
	if n := b.net; n != nil {
		n.findRoutes(b)
	}
}

// findRoutes is updateRoutes during a change.
func (n *network) findRoutes(b *Balancer) {
	routes := n.routes(&b.cfg)
	n.neighbors.resolve(n, routes)
	b.mu.Lock()
	n.setRoutesLocked(b, routes)
	b.mu.Unlock()
	n.neighbors.stopUnused()
	b.nextHops.reset(n)
	b.report()
}
