package lb

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/golb/golb/health"
)

// The values of Check.Unchecked.
const (
	uncheckedUp   = "up"
	uncheckedDown = "down"
)

// checkSpec are the checks of one server.
type checkSpec struct {
	checks []plannedCheck
	agent  health.Target // the zero Target where it has no agent
}

// plannedCheck is one of a server's checks.
type plannedCheck struct {
	label       string        // begins its reasons; "" where the server has no other check
	description string        // for people
	target      health.Target // the zero Target where the result is fixed
	up          bool          // the result where it is fixed
	awaited     bool          // the server gets no clients before it has passed
	itself      bool          // it goes to the server's own address
}

// planChecks makes the checks of a valid config, by service and server. It fails where a
// file that a check needs is gone.
func (b *Balancer) planChecks(cfg *Config) ([][]checkSpec, error) {
	all := make([][]checkSpec, len(cfg.Services))
	for i := range cfg.Services {
		s := &cfg.Services[i]
		all[i] = make([]checkSpec, len(s.Servers))
		for j := range s.Servers {
			checks, err := b.planServer(s, &s.Servers[j])
			if err != nil {
				return nil, fmt.Errorf("lb: services[%d].servers[%d].check: %w", i, j, err)
			}
			all[i][j] = checkSpec{checks: checks, agent: b.agentTarget(s, &s.Servers[j])}
		}
	}
	return all, nil
}

// planServer makes the checks of one server.
func (b *Balancer) planServer(s *Service, r *Server) ([]plannedCheck, error) {
	if b.env.Checker != nil {
		if checker := b.env.Checker(s, r); checker != nil {
			text := fmt.Sprintf("checker of %s, %s", s.name(), r.name(s))
			target := health.Target{Key: text, Checker: checker, Settings: s.Check.settings()}
			return []plannedCheck{{description: text, itself: true, awaited: s.Check.awaited(), target: target}}, nil
		}
	}
	given := s.checksOf(r, b.env.Checks)
	all := make([]plannedCheck, len(given))
	for i := range given {
		p, err := b.planCheck(s, r, &given[i])
		if err != nil {
			return nil, err
		}
		if len(given) > 1 {
			p.label = given[i].Type + ": "
		}
		all[i] = p
	}
	return all, nil
}

// planCheck makes a check of one server. Servers of several services with the same check
// have equal keys, and so share it.
func (b *Balancer) planCheck(s *Service, r *Server, c *Check) (plannedCheck, error) {
	typ, _ := b.env.Checks.Find(c.Type)
	if typ.Name == checkOn || typ.Name == checkOff {
		return plannedCheck{description: typ.Name, up: typ.Name == checkOn}, nil
	}
	peer := s.peer(r, c)
	peer.Dial, peer.Listen = b.env.Dial, b.env.Listen
	text, checker, err := b.env.Checks.New(c.Type, peer, c.Params)
	if err != nil {
		return plannedCheck{}, err
	}
	target := health.Target{Key: text + ", " + c.schedule(), Checker: checker, Settings: c.settings()}
	return plannedCheck{description: text, itself: peer.Addr.Addr() == r.Address, awaited: c.awaited(), target: target}, nil
}

// watchLocked has the monitor make exactly the planned checks, and applies results that are
// known already.
func (b *Balancer) watchLocked() {
	b.checked, b.paths = map[string][]*server{}, map[string]*server{}
	targets := b.agentTargetsLocked()
	for i := range b.cfg.Services {
		for j, r := range b.services[i].servers {
			targets = b.addPathTargetLocked(targets, &b.cfg.Services[i], r)
			targets = append(targets, b.checkTargetsLocked(r, b.checks[i][j].checks)...)
		}
	}
	b.monitor.Set(targets)
	b.applyKnownResultsLocked()
	b.startWaitsLocked()
}

// checkTargetsLocked gives a server its checks, and returns those that no server before has.
func (b *Balancer) checkTargetsLocked(r *server, planned []plannedCheck) (fresh []health.Target) {
	before := r.checks
	hadCheck := slices.ContainsFunc(before, func(c serverCheck) bool { return c.key != "" })
	r.checks = make([]serverCheck, len(planned))
	for i := range planned {
		p := &planned[i]
		key := p.target.Key
		c := &r.checks[i]
		c.key, c.label, c.itself = key, p.label, p.itself
		if key == "" {
			c.setResult(!p.up, "off by configuration")
			continue
		}
		if j := slices.IndexFunc(before, func(old serverCheck) bool { return old.key == key }); j >= 0 {
			c.known, c.reason = before[j].known, before[j].reason
		}
		if b.checked[key] == nil {
			target := p.target
			target.State = r.known(sourceCheck, hadCheck)
			fresh = append(fresh, target)
		}
		if !slices.Contains(b.checked[key], r) { // a server may have a check twice
			b.checked[key] = append(b.checked[key], r)
		}
	}
	return fresh
}

// applyKnownResultsLocked applies the results of checks that existed before their servers,
// and the fixed ones.
func (b *Balancer) applyKnownResultsLocked() {
	since := map[*server]time.Time{}
	for _, st := range b.monitor.Status() {
		if st.State == health.Unknown {
			continue
		}
		if r := b.paths[st.Key]; r != nil {
			b.setServerStateLocked(r, sourcePath, st.State == health.Down, cmp.Or(st.Reason, r.failures[sourcePath], "its check failed"), st.Since)
		}
		for _, r := range b.checked[st.Key] {
			r.setCheckLocked(st.Key, st.State == health.Down, st.Reason)
			if st.Since.After(since[r]) {
				since[r] = st.Since
			}
		}
	}
	for _, v := range b.services {
		for _, r := range v.servers {
			b.applyChecksLocked(r, since[r])
		}
	}
}
