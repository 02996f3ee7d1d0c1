package lb

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
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
	services   map[string]*service    // by what they match
	dropped    []*server              // that may still be referred to
	severed    []severed              // connections that were cut, whose ends are to be told
	noted      []Event                // to be told
	marks      uint32                 // numbers given to services
	alike      alike                  // settings of the services
	questions  [][]question           // by service and server
	paths      map[string]*server     // of true path checks
	checked    map[string][]*server   // by key of their check
	agents     map[string]*agentState // by key of the question to them
	monitor    *health.Monitor
	neighbours *neighbours
	ran        bool
	threads    int      // per interface
	net        *network // while running
	workers    []*worker

	notifiers atomic.Pointer[notifiers]

	reports sync.Mutex // noted events in their order; taken before mu
	events  sync.Mutex // one event at a time
}

// New makes a balancer of a config that Validate accepts. It opens nothing and
// starts nothing.
func New(cfg Config) (*Balancer, error) {
	b := &Balancer{env: cfg.Env.withDefaults(), services: map[string]*service{}}
	b.servers.start()
	b.threads = cfg.workers()
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
	b.pageKey = cookieKey{b.env.Rand(), b.env.Rand()}
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
	if e.Checks == nil {
		e.Checks = health.NewRegistry(health.Builtin()...)
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
	switch {
	case c.Workers != 0:
		return c.Workers
	case len(c.CPUs) > 0:
		return len(c.CPUs)
	}
	return min(runtime.GOMAXPROCS(0), 8)
}

// Workers is the number of threads that Run forwards packets with. Asleep in a system
// call or asking for packets, each may hold one of the processors that GOMAXPROCS
// allows, so that a program that does more had better allow that many more.
func (b *Balancer) Workers() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.threads * len(b.cfg.Interfaces)
}

// Apply replaces the configuration, all or nothing. Connections go on, and so do
// schedulers, health and servers that are in both. Interfaces, workers and the
// size of the connection table stay until the next start; a config that changes
// them is refused.
func (b *Balancer) Apply(cfg Config) error {
	cfg.Env.Checks = b.env.Checks
	if err := cfg.Validate(); err != nil {
		return err
	}
	defer b.report()
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
	if !b.net.forwarding { // Run is about to do the rest
		return b.apply(cfg)
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
	return b.net.claim(answered(b.cfg.vips()), fresh)
}

// fixed refuses what cannot change at run time.
func (b *Balancer) fixed(cfg *Config) error {
	v := &validator{}
	const stays = "what the balancer was started with; restart it to change it"
	if fmt.Sprint(cfg.Interfaces) != fmt.Sprint(b.cfg.Interfaces) {
		v.fail("interfaces", cfg.Interfaces, "cannot change while running", stays)
	}
	if cfg.Workers != b.cfg.Workers {
		v.fail("workers", cfg.Workers, "cannot change while running", stays)
	}
	if !slices.Equal(cfg.CPUs, b.cfg.CPUs) {
		v.fail("cpus", cfg.CPUs, "cannot change while running", stays)
	}
	if cfg.BusyPoll != b.cfg.BusyPoll {
		v.fail("busy_poll", cfg.BusyPoll, "cannot change while running", stays)
	}
	if cfg.MaxConnections != b.cfg.MaxConnections {
		v.fail("max_connections", cfg.MaxConnections, "cannot change while running", stays)
	}
	return v.result()
}

// newVIPs are those of cfg that no service has yet.
func (b *Balancer) newVIPs(cfg *Config) []netip.Addr {
	snap := b.snap.Load()
	return slices.DeleteFunc(answered(cfg.vips()), func(a netip.Addr) bool { return snap.isVIP(forward.AddrFrom(a)) })
}

// apply makes the services those of a valid config, and shows them to the workers.
// The lock is held, or the balancer not yet shared.
func (b *Balancer) apply(cfg Config) error {
	questions, err := b.plan(&cfg)
	if err != nil {
		return err
	}
	scheds := make([]sched.Scheduler, len(cfg.Services))
	for i := range cfg.Services {
		s := &cfg.Services[i]
		if v := b.services[s.id()]; v != nil && v.schedulerKey == s.schedulerKey() {
			scheds[i] = v.scheduler()
			continue
		}
		var err error
		if scheds[i], err = sched.New(s.scheduler(), b.schedulerOptions(s)); err != nil {
			return fmt.Errorf("lb: services[%d]: %w", i, err)
		}
	}
	b.alike = newAlike()
	old := b.services
	b.services = make(map[string]*service, len(cfg.Services))
	for i := range cfg.Services {
		s := &cfg.Services[i]
		v := old[s.id()]
		if v == nil {
			v = b.newService(s)
		}
		delete(old, s.id())
		b.services[s.id()] = v
		b.applyService(v, s, scheds[i], &cfg)
	}
	for _, v := range old {
		b.dropFallback(v, &Service{})
		for _, s := range v.all {
			b.dropServer(v, s)
		}
	}
	b.cfg, b.questions = cfg, questions
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

// ownMarks is where the numbers begin that golb gives to services that have none.
const ownMarks = 1 << 31

// newService makes a service without servers. One that was removed, but that
// connections still refer to, comes back, with a new scheduler.
func (b *Balancer) newService(s *Service) *service {
	for _, r := range b.dropped {
		if v := r.service; v.id == s.id() && b.services[v.id] == nil {
			v.all, v.schedulerKey, v.down = nil, "", false
			return v
		}
	}
	v := &service{id: s.id(), port: s.Port, grouped: len(s.Match) > 0}
	v.show(nil)
	if v.grouped {
		b.marks++
		v.mark = ownMarks + b.marks
	}
	return v
}

// applyService makes v what s says.
func (b *Balancer) applyService(v *service, s *Service, sch sched.Scheduler, global *Config) {
	v.name = s.name()
	v.shown.Store(cmp.Or(s.Mark, v.mark))
	set := b.alike.of(s.settings(global.Settings.Timeouts))
	if set.rate+set.clientRate != 0 && v.limits.Load() == nil {
		v.limits.Store(&limits{})
	}
	v.settings.Store(set)
	if v.schedulerKey != s.schedulerKey() {
		v.schedulerKey = s.schedulerKey()
		v.reschedule(sch)
	}
	b.dropFallback(v, s)
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
			r = b.addServer(v, cfg.addrPort(s), b.threads*len(global.Interfaces))
		}
		b.applyServer(v, r, s, cfg)
		all = append(all, r)
	}
	for _, r := range kept {
		b.dropServer(v, r)
	}
	v.all = all
	b.applyFallback(v, s, b.threads*len(global.Interfaces))
	b.reckon(v)
}

// applyServer brings a server of v up to date. A weight that was set at run time
// stays until the config itself changes it.
func (b *Balancer) applyServer(v *service, r *server, s *Service, cfg *Server) {
	r.configure(s, cfg)
	r.ownUpper, r.ownLower = int64(cfg.UpperThreshold), int64(cfg.LowerThreshold)
	r.limit()
	weight := cfg.weight()
	switch {
	case !v.listed(r) && r.up:
		r.weight, r.runWeight = weight, weight
		r.LastWeight.Store(0) // a server that comes back has no history
		r.SetWeight(weight)
		v.add(r)
		b.weigh(r, false)
	case r.weight != weight:
		r.weight, r.runWeight = weight, weight
		b.weigh(r, true)
	}
}

// addServer makes a new server of v; one that was removed, but that connections
// still refer to, comes back as it was (ip_vs_trash_get_dest).
func (b *Balancer) addServer(v *service, addr netip.AddrPort, workers int) *server {
	if s := v.trash[addr]; s != nil {
		delete(v.trash, addr)
		s.changed = time.Now()
		s.up, s.says, s.held, s.quiet = true, [sources]string{}, false, 0
		s.state, s.drainEnd, s.drained, s.rampStart, s.agent = Active, 0, false, 0, nil
		return s
	}
	s := newServer(addr, workers)
	s.service, s.up, s.changed = v, true, time.Now()
	b.servers.add(s)
	return s
}

// dropServer takes a server out of its service for good. Connections may still
// refer to it.
func (b *Balancer) dropServer(v *service, s *server) {
	if v.listed(s) {
		v.remove(s)
	}
	s.setGone(true)
	b.orphan.Store(true)
	if v.trash == nil {
		v.trash = map[netip.AddrPort]*server{}
	}
	v.trash[s.addrPort()] = s
	b.dropped = append(b.dropped, s)
}

// quietTime is how long nothing must have referred to a dropped server before its
// number is free: a worker may be about to enter a connection that it scheduled a
// moment before, or still be at one that has just ended.
const quietTime = 60 * ticksPerSecond

// empty frees the numbers of dropped servers that nothing refers to any more.
func (b *Balancer) empty(now tick) {
	var forgotten []*server
	b.dropped = slices.DeleteFunc(b.dropped, func(s *server) bool {
		v := s.service
		switch {
		case v.trash[s.addrPort()] != s: // it came back
			return true
		case s.referred():
			s.quiet = 0
			return false
		case s.quiet == 0:
			s.quiet = now
			return false
		case now.before(s.quiet + quietTime):
			return false
		}
		delete(v.trash, s.addrPort())
		forgotten = append(forgotten, s)
		return true
	})
	b.servers.remove(forgotten)
}

// publish shows the services and servers to the workers.
func (b *Balancer) publish() {
	snap := &snapshot{
		nat:     map[forward.Addr]struct{}{},
		tunnels: map[forward.Addr]struct{}{},
	}
	for i := range b.cfg.Services {
		s := &b.cfg.Services[i]
		for _, m := range s.matches() {
			snap.services.add(m, b.services[s.id()])
		}
	}
	snap.services.finish()
	b.empty(b.tick())
	for _, s := range b.servers.all() {
		if s == nil {
			continue
		}
		if s.methods&(1<<NAT) != 0 {
			snap.nat[s.Addr] = struct{}{}
		}
		if s.methods&(1<<TUN) != 0 {
			snap.tunnels[s.Addr] = struct{}{}
		}
	}
	snap.settings = b.cfg.Settings.resolve()
	b.snap.Store(snap)
}

func (b *Balancer) emit(e Event) {
	b.events.Lock()
	defer b.events.Unlock()
	e.Time = time.Now()
	b.env.OnEvent(e)
	b.alert(e)
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
