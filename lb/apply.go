package lb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/golb/golb/lb/internal/dataplane"
	"github.com/golb/golb/sched"
)

// Apply replaces the config, all or nothing: where it fails, or ctx ends before it is done,
// everything is as before. Connections go on; servers that are in both configs keep their
// health, and services their schedulers' state. Weights and states that were set at run time
// stay unless the new config differs from the old one in them. Interfaces, workers and the
// size of the connection table cannot change at run time: such a config is refused. An
// interface that was renamed may be named either way.
//
// While Apply waits for the network, packets are forwarded as before and all other
// methods answer.
func (b *Balancer) Apply(ctx context.Context, cfg Config) error {
	return b.change(ctx, func() (Config, error) { return cfg.clone(), nil })
}

// change replaces the configuration by what edit returns, which is called while no other
// change is under way.
func (b *Balancer) change(ctx context.Context, edit func() (Config, error)) error {
	if err := b.beginChange(ctx); err != nil {
		return err
	}
	defer b.endChange()
	cfg, err := edit()
	if err != nil {
		return err
	}
	if err := cfg.Validate(b.env); err != nil {
		return err
	}
	if err := b.fixed(&cfg); err != nil {
		return err
	}
	p, err := b.prepare(ctx, cfg)
	if err != nil {
		return err
	}
	changes := Diff(&b.cfg, &cfg)
	b.commit(p)
	b.logChanges(changes)
	return nil
}

// beginChange waits until no other change is under way.
func (b *Balancer) beginChange(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("lb: %w", err)
	}
	select {
	case b.changing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("lb: another change is under way: %w", ctx.Err())
	}
}

func (b *Balancer) endChange() { <-b.changing }

// fixed refuses what cannot change at run time.
func (b *Balancer) fixed(cfg *Config) error {
	v := &validator{}
	const problem, allowed = "cannot change while running", "what the balancer was started with; restart it to change it"
	same := slices.Equal(cfg.Interfaces, b.cfg.Interfaces)
	if b.net != nil {
		same = b.net.placesOf(cfg.Interfaces) != nil
	}
	if !same {
		v.fail("interfaces", cfg.Interfaces, problem, allowed)
	}
	if cfg.Workers != b.cfg.Workers {
		v.fail("workers", cfg.Workers, problem, allowed)
	}
	if !slices.Equal(cfg.CPUs, b.cfg.CPUs) {
		v.fail("cpus", cfg.CPUs, problem, allowed)
	}
	if cfg.BusyPoll != b.cfg.BusyPoll {
		v.fail("busy_poll", cfg.BusyPoll, problem, allowed)
	}
	if cfg.MaxConnections != b.cfg.MaxConnections {
		v.fail("max_connections", cfg.MaxConnections, problem, allowed)
	}
	if !slices.Equal(cfg.macs(), b.cfg.macs()) {
		v.fail("groups", cfg.macs(), "virtual MACs "+problem, allowed)
	}
	return v.result()
}

// prepared is a change of which everything that can fail is done.
type prepared struct {
	cfg        Config
	checks     [][]checkSpec
	ids        []string          // of the services: what they match
	schedulers []sched.Scheduler // by service, nil where it keeps its own
	net        *preparedNetwork  // nil where the balancer does not run
}

// prepare does the part of a change that can fail or must wait, and undoes it where it
// fails. Packets and other methods do not see its effects.
func (b *Balancer) prepare(ctx context.Context, cfg Config) (*prepared, error) {
	p := &prepared{cfg: cfg}
	var err error
	if p.checks, err = b.planChecks(&cfg); err != nil {
		return nil, err
	}
	p.ids = make([]string, len(cfg.Services))
	for i := range cfg.Services {
		p.ids[i] = cfg.Services[i].id()
	}
	if p.schedulers, err = b.planSchedulers(&cfg, p.ids); err != nil {
		return nil, err
	}
	if b.net == nil {
		return p, ctx.Err()
	}
	p.net, err = b.net.prepare(ctx, b, &cfg)
	return p, err
}

// planSchedulers makes the schedulers of the services; nil for those that keep theirs.
func (b *Balancer) planSchedulers(cfg *Config, ids []string) ([]sched.Scheduler, error) {
	list := make([]sched.Scheduler, len(cfg.Services))
	for i := range cfg.Services {
		s := &cfg.Services[i]
		if v := b.byMatch[ids[i]]; v != nil && v.schedulerKey == s.schedulerKey() {
			continue
		}
		var err error
		if list[i], err = b.newScheduler(s); err != nil {
			return nil, fmt.Errorf("lb: services[%d]: %w", i, err)
		}
	}
	return list, nil
}

func (b *Balancer) newScheduler(s *Service) (sched.Scheduler, error) {
	start := b.start
	o := sched.Options{
		Fallback: slices.Contains(s.SchedulerFlags, flagFallback),
		Port:     slices.Contains(s.SchedulerFlags, flagPort),

		Now:  func() int64 { return int64(b.env.Now().Sub(start) / time.Second) },
		Rand: b.env.Rand,
	}
	if custom := b.env.Schedulers[s.scheduler()]; custom != nil {
		return custom(o)
	}
	return sched.New(s.scheduler(), o)
}

// commit puts a prepared change into effect. It cannot fail, and does not wait.
func (b *Balancer) commit(p *prepared) {
	before := b.Roles()
	b.mu.Lock()
	b.applyLocked(p)
	if p.net != nil {
		b.net.commitLocked(b, p.net)
	}
	b.mu.Unlock()
	if p.net != nil {
		b.net.finish(b, p.net)
	}
	b.report()
	b.reportRoles(before)
}

// applyLocked applies a prepared config to the services and servers, and publishes them.
func (b *Balancer) applyLocked(p *prepared) {
	cfg := &p.cfg
	old := b.byMatch
	b.services = make([]*service, len(cfg.Services))
	b.byMatch = make(map[string]*service, len(cfg.Services))
	b.byName = make(map[string]*service, len(cfg.Services))
	for i := range cfg.Services {
		s := &cfg.Services[i]
		id := p.ids[i]
		v := old[id]
		if v == nil {
			v = &service{id: id, dp: b.plane.NewService(id, s.Port, len(s.Match) > 0)}
		}
		delete(old, id)
		b.services[i], b.byMatch[id] = v, v
		b.applyServiceLocked(v, s, p.schedulers[i], p.checks[i], cfg)
		b.byName[v.name] = v
	}
	for _, v := range old {
		b.dropFallbackLocked(v, &Service{})
		for _, s := range v.servers {
			b.plane.DropServer(s.dp)
		}
	}
	b.cfg, b.checks = *cfg, p.checks
	b.publishLocked()
}

// applyServiceLocked applies the config s to v. sch is its new scheduler, nil where it keeps
// the old one, and checks are those of its servers.
func (b *Balancer) applyServiceLocked(v *service, s *Service, sch sched.Scheduler, checks []checkSpec, global *Config) {
	v.name, v.mark, v.policy = s.name(), 0, s.policy(&global.Settings)
	if len(s.Match) > 0 {
		v.mark = cmp.Or(s.Mark, v.dp.Mark())
	}
	v.dp.SetLabel(dataplane.Label{Name: v.name, Mark: v.mark})
	v.dp.Configure(s.dataplane(global.Settings.Timeouts))
	if sch != nil {
		v.schedulerKey, v.scheduler = s.schedulerKey(), s.scheduler()
		v.dp.SetScheduler(sch)
	}
	b.dropFallbackLocked(v, s)
	kept := map[netip.AddrPort]*server{}
	for _, r := range v.servers {
		kept[r.addrPort()] = r
	}
	list := make([]*server, len(s.Servers))
	for i := range s.Servers {
		cfg := &s.Servers[i]
		addr := cfg.addrPort(s)
		r := kept[addr]
		delete(kept, addr)
		fresh := r == nil
		if fresh {
			r = b.newServerLocked(v, addr)
		}
		r.await(s, &checks[i], fresh)
		b.applyServerLocked(r, s, cfg)
		list[i] = r
	}
	for _, r := range v.servers {
		if kept[r.addrPort()] != nil {
			b.plane.DropServer(r.dp)
		}
	}
	v.servers = list
	b.applyFallbackLocked(v, s)
	if !v.down && !v.waiting && v.awaitsResults() {
		v.waiting, v.waitUntil = true, time.Time{}
	}
	b.updateQuorumLocked(v)
}

// applyServerLocked applies the config to a server. A weight or state that was set at run
// time stays unless it differs between the old and the new config.
func (b *Balancer) applyServerLocked(r *server, s *Service, cfg *Server) {
	r.configure(s, cfg)
	r.upper, r.lower = int64(cfg.UpperThreshold), int64(cfg.LowerThreshold)
	r.updateThresholds()
	if state := cfg.state(); state != r.cfgState {
		r.cfgState = state
		if state != r.state { // else a drain would begin anew
			b.setStateLocked(r, state, 0)
		}
	}
	weight := cfg.weight()
	v := r.service
	switch {
	case !v.dp.Has(r.dp) && r.up:
		r.weight, r.runWeight = weight, weight
		r.dp.ResetLastWeight() // a server that comes back has no history
		r.dp.Server.SetWeight(weight)
		v.dp.Add(r.dp, 0)
		b.updateWeightLocked(r, false)
	case r.weight != weight:
		told := r.runWeight != weight // an edit that changes nothing moves some schedulers on
		r.weight, r.runWeight = weight, weight
		b.updateWeightLocked(r, told)
	}
}

// dropFallbackLocked removes the fallback server of a service that is to have another or
// none.
func (b *Balancer) dropFallbackLocked(v *service, s *Service) {
	r := v.fallback
	if r == nil || s.Fallback.hasServer() && r.addrPort() == s.Fallback.Server.addrPort(s) {
		return
	}
	v.fallback = nil
	v.dp.SetFallback(nil)
	b.plane.DropServer(r.dp)
}

// applyFallbackLocked applies the fallback server of the config s to v.
func (b *Balancer) applyFallbackLocked(v *service, s *Service) {
	if !s.Fallback.hasServer() {
		return
	}
	cfg := &s.Fallback.Server
	r := v.fallback
	if r == nil {
		r = b.newServerLocked(v, cfg.addrPort(s))
	}
	r.configure(s, cfg)
	r.weight, r.runWeight = defaultWeight, defaultWeight
	r.dp.Server.SetWeight(defaultWeight)
	r.dp.SetThresholds(0, 0)
	v.fallback = r
	v.setFallback()
}

// publishLocked gives the data plane a snapshot of the services and servers.
func (b *Balancer) publishLocked() {
	snap := dataplane.NewSnapshot(b.cfg.Settings.dataplane())
	for i := range b.cfg.Services {
		s := &b.cfg.Services[i]
		for _, m := range s.matches() {
			addMatch(snap, m, b.services[i].dp)
		}
	}
	b.plane.Publish(snap)
}

func addMatch(snap *dataplane.Snapshot, m Match, v *dataplane.Service) {
	ports := m.Ports
	if len(ports) == 0 {
		ports = Ports{{0, 65535}}
	}
	for _, proto := range m.protocols() {
		for _, r := range ports {
			snap.Add(dataplane.Match{VIP: m.VIP.Prefix, Proto: uint8(proto), First: r.First, Last: r.Last}, v)
		}
	}
}

// serversLocked returns the servers of all services, fallback servers included.
func (b *Balancer) serversLocked() []*server {
	var list []*server
	for _, v := range b.services {
		list = append(list, v.servers...)
		if v.fallback != nil {
			list = append(list, v.fallback)
		}
	}
	return list
}

// Config returns the configuration that runs, weights and states that were set at run
// time included. It is the caller's to change.
func (b *Balancer) Config() Config {
	b.mu.Lock()
	defer b.mu.Unlock()
	cfg := b.cfg.clone()
	for i := range cfg.Services {
		s := &cfg.Services[i]
		for j, r := range b.services[i].servers {
			r.writeConfig(&s.Servers[j])
		}
	}
	return cfg
}

// writeConfig writes what was set at run time into the server's config.
func (s *server) writeConfig(cfg *Server) {
	if s.runWeight != s.weight {
		cfg.Weight = new(int(s.runWeight))
	}
	if s.state != s.cfgState {
		cfg.State = s.state
	}
}

// AddService adds a service, as Apply does. It fails where a service has the same name or
// takes the same packets.
func (b *Balancer) AddService(ctx context.Context, s Service) error {
	return b.change(ctx, func() (Config, error) {
		cfg := b.cfg.withOwnServices()
		cfg.Services = append(cfg.Services, s.clone())
		return cfg, nil
	})
}

// EditService replaces the service of that name, as Apply does. It fails with
// ErrNoService where there is none.
func (b *Balancer) EditService(ctx context.Context, name string, s Service) error {
	return b.editService(ctx, name, func(cfg *Config, i int) error {
		cfg.Services[i] = s.clone()
		return nil
	})
}

// RemoveService removes the service of that name, as Apply does. It fails with
// ErrNoService where there is none.
func (b *Balancer) RemoveService(ctx context.Context, name string) error {
	return b.editService(ctx, name, func(cfg *Config, i int) error {
		cfg.Services = slices.Delete(cfg.Services, i, i+1)
		return nil
	})
}

// AddServer adds a server to the service of that name, as Apply does. It fails with
// ErrNoService where there is none.
func (b *Balancer) AddServer(ctx context.Context, service string, s Server) error {
	return b.editService(ctx, service, func(cfg *Config, i int) error {
		cfg.Services[i].Servers = append(cfg.Services[i].Servers, s.clone())
		return nil
	})
}

// EditServer replaces a server, as Apply does. It fails with ErrNoService or ErrNoServer
// where there is none.
func (b *Balancer) EditServer(ctx context.Context, name ServerRef, s Server) error {
	return b.editServer(ctx, name, func(list []Server, i int) []Server {
		list[i] = s.clone()
		return list
	})
}

// RemoveServer removes a server, as Apply does. It fails with ErrNoService or
// ErrNoServer where there is none.
func (b *Balancer) RemoveServer(ctx context.Context, name ServerRef) error {
	return b.editServer(ctx, name, func(list []Server, i int) []Server { return slices.Delete(list, i, i+1) })
}

func (b *Balancer) editService(ctx context.Context, name string, edit func(cfg *Config, i int) error) error {
	return b.change(ctx, func() (Config, error) {
		cfg := b.cfg.withOwnServices()
		i := slices.IndexFunc(cfg.Services, func(s Service) bool { return s.name() == name })
		if i < 0 {
			return cfg, fmt.Errorf("lb: service %q: %w", name, ErrNoService)
		}
		return cfg, edit(&cfg, i)
	})
}

func (b *Balancer) editServer(ctx context.Context, name ServerRef, edit func(list []Server, i int) []Server) error {
	return b.editService(ctx, name.Service, func(cfg *Config, i int) error {
		s := &cfg.Services[i]
		j := slices.IndexFunc(s.Servers, func(r Server) bool { return r.name(s) == name.Server })
		if j < 0 {
			return fmt.Errorf("lb: server %q of service %q: %w", name.Server, name.Service, ErrNoServer)
		}
		s.Servers = edit(s.Servers, j)
		return nil
	})
}

// ServerRef names a server of a service: by Service.Name and Server.Name, or what these
// default to.
type ServerRef struct {
	Service string `json:"service"`
	Server  string `json:"server"`
}

// The errors of calls with the name of a service, a server or a group.
var (
	ErrNoService = errors.New("no such service")
	ErrNoServer  = errors.New("no such server")
	ErrNoGroup   = errors.New("no such group")
)
