package lb

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golb/golb/health"
	"github.com/golb/golb/lb/internal/dataplane"
	"github.com/golb/golb/lb/internal/memlimit"
)

// Balancer forwards the packets of its services. Make one with New, start it with Run. All
// methods are safe for concurrent use. Those that take no context return at once, also
// while another call waits for the network.
type Balancer struct {
	env      Env
	start    time.Time
	plane    *dataplane.Plane
	nextHops nextHops
	monitor  *health.Monitor
	workers  int            // per interface
	onHost   bool           // its ports are the host's interfaces
	memory   memlimit.Limit // of the process, before there was a table
	// changing holds a value while a change of config, roles or routes is under way. The
	// goroutine that put the value there may read the fields that mu guards without mu,
	// and must hold mu to write them.
	changing chan struct{}

	mu       sync.Mutex // guards what follows
	cfg      Config
	services []*service             // in the config's order
	byMatch  map[string]*service    // the same by Service.id
	byName   map[string]*service    // the same by name
	noted    []Event                // that report is to emit
	checks   [][]checkSpec          // by service and server
	paths    map[string]*server     // by key of their true path check
	checked  map[string][]*server   // by key of their check
	agents   map[string]*agentState // by key of their agent's check
	roles    map[string]Role        // of groups, where SetRole gave one
	trouble  localTrouble
	ran      bool
	net      *network // while running

	notifiers    atomic.Pointer[notifiers]
	resultsKnown chan struct{} // holds one: a service waits no longer for its servers' first results

	reports   sync.Mutex // noted events in their order; taken before mu
	events    sync.Mutex // one event at a time
	logLimits logLimits
}

// New makes a balancer with a config that Validate accepts; otherwise it fails with
// ConfigErrors. It opens no socket and starts no goroutine.
func New(cfg Config, env Env) (*Balancer, error) { return newBalancer(cfg, env, 0) }

// newBalancer is New with the size of the table's index; 0 means one that fits the table.
func newBalancer(cfg Config, env Env, buckets int) (*Balancer, error) {
	if err := cfg.Validate(env); err != nil {
		return nil, err
	}
	b := &Balancer{
		env: env.withDefaults(), workers: cfg.workers(), onHost: env.OpenPorts == nil, changing: make(chan struct{}, 1), resultsKnown: make(chan struct{}, 1),
		byMatch: map[string]*service{}, roles: map[string]Role{},
	}
	b.start = b.env.Now()
	b.nextHops.now = b.env.Now
	if b.onHost {
		b.memory = memlimit.OfProcess()
	}
	size, warning := cfg.tableSize(b.memory)
	if warning != "" {
		b.env.Logger.Warn(warning)
	}
	b.plane = dataplane.New(dataplane.Config{
		Connections: size, Buckets: buckets, Workers: b.workers * len(cfg.Interfaces),
		Now: b.env.Now, Rand: b.env.Rand, NextHops: &b.nextHops, Hooks: b.env.hooks(),
	})
	b.monitor = health.NewMonitor(health.Config{OnEvent: b.onCheckEvent})
	p, err := b.prepare(context.Background(), cfg.clone())
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.applyLocked(p) // its events are told by Run, which has whom to tell
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
		if e.OpenInterfaces == nil {
			e.OpenInterfaces = openInterfaces
		}
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

// Workers is the number of threads in which Run forwards packets. Each may hold one of the
// processors that GOMAXPROCS allows, asleep in a system call or polling: a program that
// does other work too should raise GOMAXPROCS by this number.
func (b *Balancer) Workers() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.workers * len(b.cfg.Interfaces)
}

// Run opens the interfaces, claims the VIPs of the active groups and forwards until ctx
// ends; then it returns nil, with everything closed and no goroutine left. It fails with
// ConfigErrors where the host does not suit the config, and where another host answers for
// a VIP. A balancer runs once.
//
// Sockets are opened in the network namespace of the calling thread.
func (b *Balancer) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err := b.run(ctx)
	if ended := ctx.Err(); ended != nil && errors.Is(err, ended) {
		return nil
	}
	return err
}

func (b *Balancer) run(ctx context.Context) error {
	if err := b.beginChange(ctx); err != nil {
		return err
	}
	n, err := b.open(ctx)
	if err != nil {
		b.endChange()
		return err
	}
	return n.serve(b)
}

// open opens the network and sets it up by the config; on error it closes it again. A change
// must be under way.
func (b *Balancer) open(ctx context.Context) (n *network, err error) {
	b.mu.Lock()
	ran := b.ran
	b.ran = true
	b.mu.Unlock()
	if ran {
		return nil, errors.New("lb: run: the balancer has run already")
	}
	n, err = b.openNetwork(ctx)
	if err != nil {
		return nil, err
	}
	p, err := n.prepare(ctx, b, &b.cfg)
	if err != nil {
		n.close()
		return nil, err
	}
	b.nextHops.reset(n)
	b.mu.Lock()
	b.net = n
	n.commitLocked(b, p)
	b.mu.Unlock()
	n.finish(b, p)
	b.report()
	return n, nil
}

// close closes the network that open has opened, and lets go of it once no change is
// under way.
func (b *Balancer) close(n *network) {
	b.plane.Stop()
	n.close()
	b.changing <- struct{}{}
	defer b.endChange()
	b.nextHops.reset(nil)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.net = nil
}
