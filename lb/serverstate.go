package lb

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/golb/golb/health"
	"github.com/golb/golb/lb/internal/dataplane"
)

// How the state of a server is found, from top to bottom of this file: a server is up while
// no source fails it, and each that it awaits has had a result; its service has its quorum,
// or not, by the servers that are up; from both follows whether the scheduler sees the
// server, and with which weight.

// source is something that can fail a server.
type source uint8

const (
	sourceRoute   source = iota // the host's route to it, and its next hop: see routes.go
	sourceCheck                 // its check, of its own address
	sourcePath                  // its true path check
	sourcePassive               // its connections, see PassiveCheck
	sourceAgent                 // the agent on it
	sources
)

// onCheckEvent applies the result of a check to its servers.
func (b *Balancer) onCheckEvent(e health.Event) {
	b.mu.Lock()
	if s := b.paths[e.Key]; s != nil {
		b.setServerStateLocked(s, sourcePath, e.State == health.Down, e.Reason, e.Since)
	}
	for _, s := range b.checked[e.Key] {
		s.setCheckLocked(e.Key, e.State == health.Down, e.Reason)
		b.applyChecksLocked(s, e.Since)
	}
	b.mu.Unlock()
	b.report()
}

// setCheckLocked keeps the result of one of a server's checks.
func (s *server) setCheckLocked(key string, failed bool, reason string) {
	for i := range s.checks {
		if s.checks[i].key == key {
			s.checks[i].setResult(failed, reason)
		}
	}
}

// applyChecksLocked fails a server for the first of its checks that failed, and no longer
// where all have passed. Until all have a result, the others change nothing.
func (b *Balancer) applyChecksLocked(s *server, since time.Time) {
	waiting := false
	for _, c := range s.checks {
		if c.reason != "" {
			b.setServerStateLocked(s, sourceCheck, true, c.label+c.reason, since)
			return
		}
		waiting = waiting || !c.known
	}
	if !waiting {
		b.setServerStateLocked(s, sourceCheck, false, "", since)
	}
}

// setServerStateLocked sets whether a source fails a server, and notes the events that
// follow. since is when that began; zero means now.
func (b *Balancer) setServerStateLocked(s *server, from source, failed bool, reason string, since time.Time) {
	before := len(b.noted)
	if !b.setFailedLocked(s, from, failed, reason) {
		return
	}
	if since.IsZero() {
		since = time.Now()
	}
	e := Event{Service: s.service.name, Server: s.name, Reason: s.reason, Since: since, Action: s.action()}
	if e.Kind = s.news(); e.Kind == "" {
		return
	}
	for i := range b.noted[before:] { // events of the service, which began when their cause did
		b.noted[before+i].Since = since
	}
	b.noted = slices.Insert(b.noted, before, e.counted(s.service)) // the cause before its effects
}

// told is what the last event about a server's state said.
type told uint8

const (
	toldNothing told = iota
	toldUp
	toldDown
)

// news returns the kind of the event about the state of a server; "" where there is nothing
// new to tell.
func (s *server) news() EventKind {
	was := s.told
	switch {
	case s.up && was == toldNothing:
		s.told = toldUp
		return EventServerJoined
	case s.up && was == toldDown:
		s.told = toldUp
		return EventServerUp
	case s.failed() && was != toldDown:
		s.told = toldDown
		return EventServerDown
	}
	return ""
}

// failed reports whether a source fails the server. One that awaits its first results is
// neither up nor failed.
func (s *server) failed() bool { return cmp.Or(s.failures[:]...) != "" }

// notChecked is the reason of a server that awaits its first results.
const notChecked = "not checked yet"

// combine finds whether the server is up from what its sources say.
func (s *server) combine() {
	s.reason = cmp.Or(s.failures[:]...)
	s.awaitsRoute = s.failures[sourceRoute] != "" && cmp.Or(s.failures[sourceRoute+1:]...) == ""
	if s.reason == "" && slices.Contains(s.awaited[:], true) {
		s.reason = notChecked
	}
	s.up = s.reason == ""
}

// setFailedLocked sets whether a source fails a server, and adds the server to its service
// or removes it. changed is true where the server came up, failed, or awaits results no
// longer.
func (b *Balancer) setFailedLocked(s *server, from source, failed bool, reason string) (changed bool) {
	if from != sourcePassive && !failed && s.failures[from] != "" {
		b.resetPassiveLocked(s) // a check that failed and passes again outweighs failed connections
		s.failures[sourcePassive] = ""
	}
	wasUp, wasFailed, waited := s.up, s.failed(), s.awaitsRoute
	s.failures[from], s.awaited[from] = "", false
	if failed {
		s.failures[from] = cmp.Or(reason, "failed")
	}
	s.combine()
	if s == s.service.fallback {
		return b.setFallbackLocked(s, wasUp)
	}
	if s.up == wasUp && s.failed() == wasFailed {
		if s.awaitsRoute != waited {
			b.updateSchedulerLocked(s)
		}
		return false
	}
	s.since = time.Now()
	v, held := s.service, s.held
	if s.failed() {
		s.failedAt = b.env.Now()
	}
	if b.updateQuorumLocked(v); s.held == held {
		b.updateSchedulerLocked(s)
	}
	if s.failed() && !s.held && v.policy.cutFailed {
		b.plane.Cut(s.dp)
	}
	return true
}

// setFallbackLocked opens or closes the way to a fallback server.
func (b *Balancer) setFallbackLocked(s *server, was bool) (changed bool) {
	if s.up == was {
		return false
	}
	s.since = time.Now()
	s.service.setFallback()
	b.updateQuorumLocked(s.service)
	return true
}

// setFallback gives packets the fallback server, if it can be reached.
func (v *service) setFallback() {
	if v.fallback != nil && v.fallback.up {
		v.dp.SetFallback(v.fallback.dp)
	} else {
		v.dp.SetFallback(nil)
	}
}

// updateQuorumLocked finds whether a service has its quorum, and opens or closes it
// accordingly (keepalived: update_quorum_state). It is called after each change of a server's
// health, state or weight.
func (b *Balancer) updateQuorumLocked(v *service) {
	p, sum, total := &v.policy, 0, 0
	for _, s := range v.servers {
		total += int(s.weight)
		if s.up && s.accepts() {
			sum += int(s.runWeight)
		}
	}
	was := v.down
	quorum := min(p.quorum, max(total, 1)) // a higher one could never be reached
	if was {
		v.down = sum == 0 || sum < min(quorum+p.hysteresis, total)
	} else {
		v.down = sum == 0 || sum < quorum-p.hysteresis
	}
	if v.waiting && v.down && v.awaitsResults() {
		v.down, v.reason = false, "its servers are not checked yet"
		b.setGateLocked(v, sum == 0, dataplane.GateWaiting)
		return
	}
	if v.waiting {
		v.waiting = false
		b.firstResultsKnown()
	}
	b.setGateLocked(v, v.down && (p.whenDown == DownRefuse || p.whenDown == DownFallback && v.hasFallback()), dataplane.GateClosed)
	b.holdLastKnownLocked(v)
	v.reason = ""
	reason := v.downReason(sum, total, quorum)
	if v.down {
		v.reason = reason
	}
	switch {
	case v.down && !was:
		b.noteLocked(Event{Kind: EventServiceDown, Service: v.name, Reason: reason, Action: v.whenDownAction()})
	case was && !v.down:
		b.noteLocked(Event{Kind: EventServiceUp, Service: v.name, Reason: reason, Action: "new connections go to its servers"})
	}
}

// setGateLocked gives a service a gate where shut says so, and opens it otherwise.
func (b *Balancer) setGateLocked(v *service, shut bool, g dataplane.Gate) {
	if !shut {
		g = dataplane.GateOpen
	}
	was := v.dp.Gate()
	if was == g {
		return
	}
	v.dp.SetGate(g)
	if was == dataplane.GateClosed && v.fallback != nil && v.policy.datagrams {
		b.plane.EndDatagramFlows(v.fallback.dp)
	}
}

// whenDownAction returns what becomes of new connections to a service that is down, for
// people.
func (v *service) whenDownAction() string {
	switch {
	case v.policy.whenDown == DownRefuse:
		return "new connections are refused"
	case v.policy.whenDown == DownLastKnown:
		return "the servers that failed last stay"
	case v.fallback != nil && v.fallback.up:
		return "new connections go to the fallback " + v.fallback.name
	case v.policy.hasPage:
		return "new connections get the fallback page"
	}
	return "no fallback: new connections go to the servers that are left, if any"
}

// hasFallback reports whether the service has a fallback server that can be reached, or a
// page.
func (v *service) hasFallback() bool {
	return v.fallback != nil && v.fallback.up || v.policy.hasPage
}

// holdLastKnownLocked keeps the servers that failed last in a service that is down, if its
// policy is DownLastKnown, and removes them when it is up again.
func (b *Balancer) holdLastKnownLocked(v *service) {
	var last time.Time
	for _, s := range v.servers {
		if s.failed() && s.failedAt.After(last) {
			last = s.failedAt
		}
	}
	for _, s := range v.servers {
		held := v.policy.whenDown == DownLastKnown && v.down && s.failed() && !s.failedAt.Add(v.policy.detection).Before(last)
		if held != s.held {
			s.held = held
			b.updateSchedulerLocked(s)
		}
	}
}

// updateSchedulerLocked adds a server to its scheduler if it is up or held. Otherwise it
// removes the server, or sets its weight to 0 where the service is quiescent, or where
// nothing but the host's route to the server is missing: its connections go on once that is
// back.
func (b *Balancer) updateSchedulerLocked(s *server) {
	v := s.service
	listed, alive := v.dp.Has(s.dp), s.up || s.held
	if s.up && v.policy.slowStart != 0 && !s.failedAt.IsZero() && (!listed || s.dp.Weight() == 0) {
		s.rampStart = b.env.Now()
	}
	switch {
	case alive && !listed:
		v.dp.Add(s.dp, s.place())
		b.updateWeightLocked(s, !s.rampStart.IsZero())
	case alive, v.policy.quiescent, listed && s.awaitsRoute:
		b.updateWeightLocked(s, true)
	case listed:
		v.dp.Remove(s.dp)
	}
}

// place returns the index at which a server enters its scheduler's list: 0, as with ip_vs,
// for one that is back. Those that join keep the config's order, whichever is checked
// first, so that a hash of the client chooses the same server after each start.
func (s *server) place() (at int) {
	if !s.failedAt.IsZero() {
		return 0
	}
	for _, r := range slices.Backward(s.service.servers) {
		if r == s {
			break
		}
		if s.service.dp.Has(r.dp) {
			at++
		}
	}
	return at
}

// updateWeightLocked sets the weight that the scheduler sees: the server's own, scaled by its
// agent and slow start, or 0 by its state. always sets it also where it has not changed.
func (b *Balancer) updateWeightLocked(s *server, always bool) {
	weight, p := s.agentWeight(), &s.service.policy
	switch {
	case !s.accepts(), !s.up && !s.held && (p.quiescent || s.awaitsRoute):
		weight = 0
	case !s.rampStart.IsZero() && weight > 1:
		if passed := b.env.Now().Sub(s.rampStart); passed < p.slowStart {
			weight = max(1, int32(int64(weight)*int64(passed)/int64(p.slowStart)))
		} else {
			s.rampStart = time.Time{}
		}
	}
	s.dp.SetKeepsClients(p.keepsClients && s.failed() && s.accepts())
	if always || weight != s.dp.Weight() {
		s.service.dp.SetWeight(s.dp, weight)
	}
}

// action returns what golb did about a server that went down or came up, for people.
func (s *server) action() string {
	v := s.service
	text := "it gets no new connections"
	switch {
	case s == v.fallback && s.up:
		return "it gets connections while the service is down"
	case s == v.fallback:
		return "the service has no fallback server"
	case s.up && !s.rampStart.IsZero():
		text = fmt.Sprintf("its share of new connections grows over %v", v.policy.slowStart)
	case s.up:
		text = "it gets new connections"
	case s.held:
		text = "it stays, as all servers that failed last do"
	case v.policy.cutFailed:
		text += "; existing ones were cut"
	case v.policy.quiescent, s.awaitsRoute:
		text += "; existing ones go on"
	}
	return fmt.Sprintf("%s; %d of %d servers up", text, v.upServers(), len(v.servers))
}

// upServers returns how many servers are up.
func (v *service) upServers() (n int) {
	for _, r := range v.servers {
		if r.up {
			n++
		}
	}
	return n
}

// updateDrains does all that becomes due with time: waits for first results, local trouble, drains, slow starts and passive checks.
func (b *Balancer) updateDrains() {
	defer b.report()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.endWaitsLocked(time.Now())
	b.followTroubleLocked()
	now := b.env.Now()
	for _, s := range b.serversLocked() {
		if !s.rampStart.IsZero() {
			b.updateWeightLocked(s, false)
		}
		b.checkPassiveLocked(s, now)
		if s.state != StateDrain {
			continue
		}
		reason := "no connection is left"
		overdue := !s.drainEnd.IsZero() && !now.Before(s.drainEnd)
		if overdue {
			if n := s.dp.Total(); n > 0 {
				reason = fmt.Sprintf("its time is over: %d connections were left and are cut", n)
			}
			b.plane.Cut(s.dp)
		}
		if !s.drained && (overdue || s.dp.Total() == 0) {
			s.drained = true
			b.noteLocked(Event{Kind: EventDrained, Service: s.service.name, Server: s.name, Reason: reason})
		}
	}
}
