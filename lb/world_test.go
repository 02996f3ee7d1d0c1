package lb

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/health"
	"github.com/golb/golb/sched"
)

// world is two interfaces, world0 and world1, whose ports and links note what they are
// told, and the rest of an Env. A test may have any step fail, hang or end a context.
type world struct {
	mu       sync.Mutex
	hooks    map[string]*worldHook
	links    []*worldLink
	ports    []*worldPort // those that receive
	events   []Event
	resolved int // calls of Resolve, less those of stop
}

type worldHook struct {
	skip int // calls that pass before
	do   func(context.Context) error
}

const (
	worldInterface = "world%d"
	worldScheduler = "own" // made by step "scheduler"
	worldCheck     = "own" // made by step "check", and checked by step "checked"
)

func newWorld() *world { return &world{hooks: map[string]*worldHook{}} }

// on has a step do something, once, after it has passed some times.
func (w *world) on(step string, skip int, do func(context.Context) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hooks[step] = &worldHook{skip, do}
}

// waiting are the steps that something is to happen at.
func (w *world) waiting() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []string
	for step := range w.hooks {
		list = append(list, step)
	}
	return list
}

// at is called by each step.
func (w *world) at(ctx context.Context, step string) error {
	w.mu.Lock()
	h := w.hooks[step]
	if h == nil || h.skip > 0 {
		if h != nil {
			h.skip--
		}
		w.mu.Unlock()
		return nil
	}
	delete(w.hooks, step)
	w.mu.Unlock()
	return h.do(ctx)
}

// env is the world as a balancer sees it; its clock is now.
func (w *world) env(now func() time.Time) Env {
	check := health.Type{Name: worldCheck, About: "a step of the test", Transport: "tcp", Bind: func(k *health.Keys, _ health.Peer) health.Checker {
		k.Then(func() error { return w.at(context.Background(), "check") })
		return health.CheckerFunc(func(ctx context.Context) error { return w.at(ctx, "checked") })
	}}
	return Env{
		Now: now, Rand: rand.New(rand.NewPCG(1, 2)).Uint64,
		OnEvent: func(e Event) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.events = append(w.events, e)
		},
		Checks: health.NewRegistry(append(health.Builtin(), check)...),
		Schedulers: map[string]func(sched.Options) (sched.Scheduler, error){worldScheduler: func(o sched.Options) (sched.Scheduler, error) {
			if err := w.at(context.Background(), "scheduler"); err != nil {
				return nil, err
			}
			return sched.New("rr", o)
		}},
		OpenLink: w.openLink, OpenPorts: w.openPorts,
		Route: func(a netip.Addr) (Route, error) {
			if err := w.at(context.Background(), "route "+a.String()); err != nil {
				return Route{}, err
			}
			return Route{Interface: "world0", Source: rigSource(a)}, nil
		},
	}
}

func (w *world) openLink(cfg LinkConfig) (Link, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := &worldLink{world: w, name: cfg.Interface, cfg: cfg}
	w.links = append(w.links, l)
	return l, nil
}

func (w *world) openPorts(cfg PortConfig) ([]Port, error) {
	if err := w.at(context.Background(), "open "+cfg.Interface); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	list := make([]Port, cfg.Count)
	for i := range list {
		p := &worldPort{world: w, macs: cfg.MACs, closed: make(chan struct{}), wake: make(chan struct{}, 1), failure: make(chan error)}
		if !cfg.SendOnly {
			p.name = fmt.Sprintf("receiver%d", len(w.ports))
			w.ports = append(w.ports, p)
		}
		list[i] = p
	}
	return list, nil
}

// worldLink knows where everybody is.
type worldLink struct {
	rigLink
	world *world
	name  string
	cfg   LinkConfig
	// noIPv6 has it refuse VIPs of IPv6.
	noIPv6 bool

	// The world's lock guards what follows.
	vips      []LinkVIP
	set       int // calls of SetVIPs that took effect
	probed    []netip.Addr
	announced []netip.Addr
}

func (l *worldLink) SetVIPs(vips []LinkVIP) error {
	if err := l.world.at(context.Background(), "SetVIPs "+l.name); err != nil {
		return err
	}
	l.world.mu.Lock()
	defer l.world.mu.Unlock()
	at := map[netip.Addr]forward.MAC{}
	for _, v := range vips {
		if v.Addr.Is6() && l.noIPv6 {
			return fmt.Errorf("refused: %w", ErrNoIPv6)
		}
		if mac, ok := at[v.Addr]; ok && mac != v.MAC {
			return fmt.Errorf("%v is given twice", v.Addr)
		}
		at[v.Addr] = v.MAC
	}
	l.vips = slices.Clone(vips)
	l.set++
	return nil
}

func (l *worldLink) Probe(ctx context.Context, vips ...netip.Addr) error {
	if err := l.world.at(ctx, "Probe "+l.name); err != nil {
		return err
	}
	l.world.mu.Lock()
	defer l.world.mu.Unlock()
	l.probed = append(l.probed, vips...)
	return ctx.Err()
}

func (l *worldLink) Announce(ctx context.Context, vips ...netip.Addr) error {
	if err := l.world.at(ctx, "Announce "+l.name); err != nil {
		return err
	}
	l.world.mu.Lock()
	defer l.world.mu.Unlock()
	l.announced = append(l.announced, vips...)
	return nil
}

func (l *worldLink) Stats() LinkStats {
	_ = l.world.at(context.Background(), "Stats "+l.name)
	return LinkStats{}
}

func (l *worldLink) Resolve(a netip.Addr, changed func(mac [6]byte, ok bool)) (stop func()) {
	_ = l.world.at(context.Background(), "Resolve "+a.String())
	l.count(1)
	changed(rigServerMAC(a), true)
	return func() { l.count(-1) }
}

func (l *worldLink) count(n int) {
	l.world.mu.Lock()
	defer l.world.mu.Unlock()
	l.world.resolved += n
}

// worldPort keeps what is sent. Nothing arrives at it: tests hand workers their frames.
type worldPort struct {
	rigPort
	world   *world
	name    string // "" where it does not receive
	macs    []forward.MAC
	filter  forward.Filter
	closing sync.Once
	wake    chan struct{}
	closed  chan struct{}
	failure chan error // which Recv is to return
}

func (p *worldPort) SetFilter(f forward.Filter) (bool, error) {
	if err := p.world.at(context.Background(), "SetFilter "+p.name); err != nil {
		return false, err
	}
	p.world.mu.Lock()
	defer p.world.mu.Unlock()
	p.filter = f
	return true, nil
}

func (p *worldPort) Recv([]forward.Frame) (int, error) {
	select {
	case <-p.closed:
		return 0, net.ErrClosed
	case <-p.wake:
		return 0, nil
	case err := <-p.failure:
		return 0, err
	}
}

func (p *worldPort) Wake() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *worldPort) Stats() forward.PortStats {
	_ = p.world.at(context.Background(), "Stats "+p.name)
	return forward.PortStats{}
}

func (p *worldPort) Close() error {
	p.closing.Do(func() { close(p.closed) })
	return nil
}

// passes are what a filter lets in, each once and sorted.
func passes(f forward.Filter) string {
	sorted := func(list []netip.Prefix) []netip.Prefix {
		list = slices.Clone(list)
		slices.SortFunc(list, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
		return slices.Compact(list)
	}
	return fmt.Sprint(sorted(f.VIPs), sorted(f.Servers), f.ICMP)
}
