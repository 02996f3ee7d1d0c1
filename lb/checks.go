package lb

import (
	"cmp"
	"fmt"
	"net/netip"
	"time"

	"github.com/golb/golb/health"
)

// watch has exactly the configured servers checked. The lock is held.
func (b *Balancer) watch() error {
	b.checked = map[string][]*server{}
	var targets []health.Target
	for i := range b.cfg.Services {
		s := &b.cfg.Services[i]
		if s.checkType() == checkNone {
			continue
		}
		for _, r := range b.services[s.id()].all {
			t := b.target(s, r)
			if b.checked[t.Key] == nil {
				targets = append(targets, t)
			}
			b.checked[t.Key] = append(b.checked[t.Key], r)
		}
	}
	if err := b.monitor.Set(targets); err != nil {
		return fmt.Errorf("lb: %w", err)
	}
	return nil
}

// target is the check of one server. Services that ask the same of the same server
// have equal keys, and so share it.
func (b *Balancer) target(s *Service, r *server) health.Target {
	c := &s.Check
	addr := netip.AddrPortFrom(r.address, cmp.Or(c.Port, r.Port, s.checkedPort()))
	return health.Target{
		Key:      fmt.Sprintf("tcp %s %v %v %d %d", addr, c.Interval, c.Timeout, c.Fall, c.Rise),
		Checker:  &health.TCP{Addr: addr, Dial: b.env.Dial},
		Settings: health.Settings{Interval: c.Interval, Timeout: c.Timeout, Fall: c.Fall, Rise: c.Rise},
	}
}

// judged takes a failed server out of its services and puts one that is back in.
func (b *Balancer) judged(e health.Event) {
	b.mu.Lock()
	servers := b.checked[e.Key]
	kind, up := ServerUp, e.State == health.Up
	if !up {
		kind = ServerDown
	}
	var events []Event
	for _, s := range servers {
		if b.verdict(s, byCheck, !up, e.Reason) {
			events = append(events, Event{Kind: kind, Service: s.service.name, Server: s.name, Reason: e.Reason})
		}
	}
	b.mu.Unlock()
	for _, ev := range events {
		b.env.Logger.Warn(string(kind), "service", ev.Service, "server", ev.Server, "reason", e.Reason,
			"after", e.At.Sub(e.Since).Round(time.Millisecond))
		b.emit(ev)
	}
	b.report()
}

// admit shows a server to its scheduler if it is up or held, and hides it otherwise, or
// leaves it there with weight 0 where the service is quiescent.
func (b *Balancer) admit(s *server) {
	v := s.service
	set := v.settings.Load()
	listed, alive := v.listed(s), s.up || s.held
	if s.up && set.slowStart != 0 && (!listed || s.Weight.Load() == 0) {
		s.rampStart = b.tick()
	}
	switch {
	case alive && !listed:
		v.add(s)
		b.weigh(s, s.rampStart != 0)
	case alive, set.quiescent:
		b.weigh(s, true)
	case listed:
		v.remove(s)
	}
}

// configured are the servers of all services, fallbacks included. The lock is held.
func (b *Balancer) configured() []*server {
	var list []*server
	for i := range b.cfg.Services {
		v := b.services[b.cfg.Services[i].id()]
		list = append(list, v.all...)
		if r := v.fallback.Load(); r != nil {
			list = append(list, r)
		}
	}
	return list
}
