package lb

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/health"
	"github.com/golb/golb/sched"
)

// Balancer forwards the packets of its services. Make one with New, start it with
// Run; all its methods are safe for concurrent use.
type Balancer struct {
	env Env
	plane

	mu         sync.Mutex // guards what follows, and all changes of services and servers
	cfg        Config
	services   map[serviceKey]*service
	servers    []*server // by number; nil where free
	checked    map[string][]*server
	monitor    *health.Monitor
	neighbours *neighbours
	ran        bool
	net        *network // while running
	workers    []*worker

	events sync.Mutex // one event at a time
}

// New makes a balancer of a config that Validate accepts. It opens nothing and
// starts nothing.
func New(cfg Config) (*Balancer, error) {
	b := &Balancer{env: cfg.Env.withDefaults(), services: map[serviceKey]*service{}, servers: []*server{nil}}
	b.plane.now, b.plane.rand = b.env.Now, b.env.Rand
	b.plane.start = b.env.Now()
	b.neighbours = newNeighbours(b)
	b.monitor = health.NewMonitor(health.Config{OnEvent: b.judged})
	size := cfg.MaxConnections
	if size == 0 {
		size = defaultConnection
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	b.frags.start(b.env.Rand())
	b.table = newTable(size, b.env.Rand(), b.tick())
	if err := b.apply(cfg); err != nil {
		return nil, err
	}
	return b, nil
}

func (e Env) withDefaults() Env {
	if e.Logger == nil {
		e.Logger = slog.New(slog.DiscardHandler)
	}
	if e.OnEvent == nil {
		e.OnEvent = func(Event) {}
	}
	if e.Now == nil {
		e.Now = time.Now
	}
	if e.Rand == nil {
		e.Rand = rand.Uint64
	}
	if e.OpenPorts == nil {
		e.OpenPorts = openPorts
	}
	if e.OpenLink == nil {
		e.OpenLink = openLink
	}
	return e
}

func (c *Config) workers() int {
	if c.Workers != 0 {
		return c.Workers
	}
	return min(runtime.GOMAXPROCS(0), 8)
}

// Apply replaces the configuration, all or nothing. Connections go on, and so do
// schedulers, health and servers that are in both. Interfaces, workers and the
// size of the connection table stay until the next start; a config that changes
// them is refused.
func (b *Balancer) Apply(cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.fixed(&cfg); err != nil {
		return err
	}
	if b.net == nil {
		return b.apply(cfg)
	}
	fresh := b.newVIPs(&cfg)
	if err := b.net.checkRoutes(&cfg); err != nil {
		return err
	}
	if err := b.net.probe(fresh); err != nil {
		return err
	}
	if err := b.apply(cfg); err != nil {
		return err
	}
	if err := b.net.follow(b); err != nil {
		return err
	}
	return b.net.claim(b.cfg.vips(), fresh)
}

// fixed refuses what cannot change at run time.
func (b *Balancer) fixed(cfg *Config) error {
	v := &validator{}
	const stays = "what the balancer was started with; restart it to change it"
	if fmt.Sprint(cfg.Interfaces) != fmt.Sprint(b.cfg.Interfaces) {
		v.fail("interfaces", cfg.Interfaces, "cannot change while running", stays)
	}
	if cfg.workers() != b.cfg.workers() {
		v.fail("workers", cfg.Workers, "cannot change while running", stays)
	}
	if cfg.MaxConnections != b.cfg.MaxConnections {
		v.fail("max_connections", cfg.MaxConnections, "cannot change while running", stays)
	}
	return v.result()
}

// newVIPs are those of cfg that no service has yet.
func (b *Balancer) newVIPs(cfg *Config) []netip.Addr {
	var fresh []netip.Addr
	for _, vip := range cfg.vips() {
		if !b.snap.Load().isVIP(forward.AddrFrom(vip)) {
			fresh = append(fresh, vip)
		}
	}
	return fresh
}

// vips are the VIPs of all services, each once.
func (c *Config) vips() []netip.Addr {
	var list []netip.Addr
	seen := map[netip.Addr]bool{}
	for _, s := range c.Services {
		if !seen[s.VIP] {
			seen[s.VIP] = true
			list = append(list, s.VIP)
		}
	}
	return list
}

// apply makes the services those of a valid config, and shows them to the workers.
// The lock is held, or the balancer not yet shared.
func (b *Balancer) apply(cfg Config) error {
	scheds := make([]sched.Scheduler, len(cfg.Services))
	for i := range cfg.Services {
		s := &cfg.Services[i]
		if v := b.services[s.key()]; v != nil && v.schedulerKey == s.schedulerKey() {
			scheds[i] = v.scheduler()
			continue
		}
		var err error
		if scheds[i], err = sched.New(s.scheduler(), b.schedulerOptions(s)); err != nil {
			return fmt.Errorf("lb: services[%d]: %w", i, err)
		}
	}
	old := b.services
	b.services = make(map[serviceKey]*service, len(cfg.Services))
	for i := range cfg.Services {
		s := &cfg.Services[i]
		v := old[s.key()]
		if v == nil {
			v = &service{key: s.key()}
		}
		delete(old, s.key())
		b.services[s.key()] = v
		b.applyService(v, s, scheds[i], cfg.workers())
	}
	for _, v := range old {
		for _, s := range v.all {
			b.dropServer(v, s)
		}
	}
	b.cfg = cfg
	b.publish()
	return nil
}

func (b *Balancer) schedulerOptions(s *Service) sched.Options {
	return sched.Options{
		Fallback: slices.Contains(s.SchedulerFlags, flagFallback),
		Port:     slices.Contains(s.SchedulerFlags, flagPort),

		Now:  func() int64 { return int64(b.plane.now().Sub(b.plane.start) / time.Second) },
		Rand: b.plane.rand,
	}
}

// applyService makes v what s says.
func (b *Balancer) applyService(v *service, s *Service, sch sched.Scheduler, workers int) {
	v.name = s.name()
	v.settings.Store(s.settings())
	if v.schedulerKey != s.schedulerKey() {
		v.schedulerKey = s.schedulerKey()
		v.reschedule(sch)
	}
	kept := map[netip.AddrPort]*server{}
	for _, r := range v.all {
		kept[r.addrPort()] = r
	}
	var all []*server
	for i := range s.Servers {
		cfg := &s.Servers[i]
		r := kept[cfg.addrPort(s)]
		delete(kept, cfg.addrPort(s))
		if r == nil {
			r = b.addServer(v, cfg.addrPort(s), workers)
		}
		b.applyServer(v, r, s, cfg)
		all = append(all, r)
	}
	for _, r := range kept {
		b.dropServer(v, r)
	}
	v.all = all
}

// applyServer brings a server of v up to date. A weight that was set at run time
// stays until the config itself changes it.
func (b *Balancer) applyServer(v *service, r *server, s *Service, cfg *Server) {
	r.name = cfg.name(s)
	r.editPath(func(to *path) { to.method, to.tunnel = cfg.method(s), cfg.tunnel(s) })
	r.setThresholds(int64(cfg.UpperThreshold), int64(cfg.LowerThreshold))
	weight := cfg.weight()
	switch {
	case !v.listed(r) && r.up:
		r.weight = weight
		r.LastWeight.Store(0) // a server that comes back has no history
		r.SetWeight(weight)
		v.add(r)
	case r.weight != weight:
		r.weight = weight
		v.setWeight(r, weight)
	}
}

// addServer makes a new server of v; one that was removed, but that connections
// still refer to, comes back as it was (ip_vs_trash_get_dest).
func (b *Balancer) addServer(v *service, addr netip.AddrPort, workers int) *server {
	for _, s := range b.servers {
		if s != nil && s.Gone.Load() && s.service == v && s.addrPort() == addr {
			s.up = true
			return s
		}
	}
	s := newServer(addr, workers)
	s.service, s.up = v, true
	s.ID = b.freeNumber()
	b.servers[s.ID] = s
	return s
}

// freeNumber finds a number for a server. Those of servers that are gone and that
// nothing refers to are free again.
func (b *Balancer) freeNumber() uint32 {
	for i, s := range b.servers[1:] {
		if s == nil {
			return uint32(i + 1)
		}
	}
	b.servers = append(b.servers, nil)
	return uint32(len(b.servers) - 1)
}

// dropServer takes a server out of its service for good.
func (b *Balancer) dropServer(v *service, s *server) {
	if v.listed(s) {
		v.remove(s)
	}
	s.Gone.Store(true)
}

// publish shows the services and servers to the workers.
func (b *Balancer) publish() {
	snap := &snapshot{
		services: map[serviceKey]*service{},
		vips:     map[forward.Addr]struct{}{},
		nat:      map[forward.Addr]struct{}{},
		tunnels:  map[forward.Addr]struct{}{},
	}
	for k, v := range b.services {
		snap.services[k] = v
		snap.vips[k.vip] = struct{}{}
		snap.anyPort = snap.anyPort || k.port == 0
	}
	for i, s := range b.servers {
		switch {
		case s == nil:
		case s.Gone.Load() && !s.referred() && !slices.Contains(s.service.all, s):
			b.servers[i] = nil
		case s.path.Load().method == NAT:
			snap.nat[s.Addr] = struct{}{}
		case s.path.Load().method == TUN:
			snap.tunnels[s.Addr] = struct{}{}
		}
	}
	snap.servers = append([]*server(nil), b.servers...)
	snap.settings = b.cfg.Settings.resolve()
	b.snap.Store(snap)
}

func (b *Balancer) emit(e Event) {
	b.events.Lock()
	defer b.events.Unlock()
	e.Time = time.Now()
	b.env.OnEvent(e)
}

// Run opens the interfaces, takes the VIPs over and forwards until ctx ends; then
// it returns nil, with everything closed and no goroutine left. It fails where
// the host does not fit the config (ConfigErrors) and where another host answers
// for a VIP. A balancer runs once.
//
// Sockets are opened in the network namespace of the calling thread.
func (b *Balancer) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	n, err := b.open(ctx)
	if err != nil {
		return err
	}
	defer b.closed(n)
	return n.serve(b)
}

// closed ends what Run opened.
func (b *Balancer) closed(n *network) {
	b.router.reset(nil)
	n.close()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.net = nil
}
