package lb

import (
	"fmt"
	"slices"
	"time"

	"github.com/golb/golb/health"
)

// judged takes a failed server out of its services and puts one that is back in.
func (b *Balancer) judged(e health.Event) {
	b.mu.Lock()
	servers, from := b.checkedBy(e.Key)
	for _, s := range servers {
		b.learn(s, from, e.State == health.Down, e.Reason, e.Since)
	}
	b.mu.Unlock()
	b.report()
}

// learn has a server follow what a source says of it since some time, since now where
// that is zero, and notes what came of it. The lock is held.
func (b *Balancer) learn(s *server, from source, failed bool, reason string, since time.Time) {
	before := len(b.noted)
	if !b.verdict(s, from, failed, reason) {
		return
	}
	if since.IsZero() {
		since = time.Now()
	}
	e := Event{Kind: ServerUp, Service: s.service.name, Server: s.name, Reason: s.reason, Since: since, Action: s.action()}
	if !s.up {
		e.Kind = ServerDown
	}
	for i := range b.noted[before:] { // consequences: they are as old as their cause
		b.noted[before+i].Since = since
	}
	b.noted = slices.Insert(b.noted, before, e) // cause before consequence
}

// action says what became of a server that went down or came back. The lock is held.
func (s *server) action() string {
	v := s.service
	set, left := v.settings.Load(), 0
	for _, r := range v.all {
		if r.up {
			left++
		}
	}
	did := "it gets no new connections"
	switch {
	case s.up && s.rampStart != 0:
		did = fmt.Sprintf("its share of new connections grows over %v", time.Duration(set.slowStart)*time.Second/ticksPerSecond)
	case s.up:
		did = "it gets new connections"
	case s.held:
		did = "it stays, as all servers that failed last do"
	case set.cutFailed:
		did += "; those it had have been cut"
	case set.quiescent:
		did += "; those it has go on"
	}
	return fmt.Sprintf("%s; %d of %d servers up", did, left, len(v.all))
}

// admit shows a server to its scheduler if it is up or held, and hides it otherwise, or
// leaves it there with weight 0 where the service is quiescent.
func (b *Balancer) admit(s *server) {
	v := s.service
	set := v.settings.Load()
	listed, alive := v.listed(s), s.up || s.held
	if s.up && set.slowStart != 0 && (!listed || s.Weight() == 0) {
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
		b.orphan.Store(true)
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
