package lb

import (
	"cmp"
	"fmt"
	"net/netip"
	"time"

	"github.com/golb/golb/health"
)

// The types that need no check, as package health calls them.
const (
	checkOn  = "on"
	checkOff = "off"
)

// The values of Check.Unchecked.
const (
	uncheckedUp   = "up"
	uncheckedDown = "down"
)

// checkSpec are the checks of one server.
type checkSpec struct {
	target      health.Target // the zero Target where the result is fixed
	description string        // of the check, for people
	up          bool          // the result where it is fixed
	agent       health.Target // the zero Target where it has no agent
}

// planChecks makes the checks of a valid config, by service and server. It fails where a
// file that a check needs is gone.
func (b *Balancer) planChecks(cfg *Config) ([][]checkSpec, error) {
	all := make([][]checkSpec, len(cfg.Services))
	for i := range cfg.Services {
		s := &cfg.Services[i]
		all[i] = make([]checkSpec, len(s.Servers))
		for j := range s.Servers {
			spec, err := b.planCheck(s, &s.Servers[j])
			if err != nil {
				return nil, fmt.Errorf("lb: services[%d].servers[%d].check: %w", i, j, err)
			}
			spec.agent = b.agentTarget(s, &s.Servers[j])
			all[i][j] = spec
		}
	}
	return all, nil
}

// planCheck makes the check of one server. Services with the same check of the same server
// have equal keys, and so share it.
func (b *Balancer) planCheck(s *Service, r *Server) (checkSpec, error) {
	c := &s.Check
	set := health.Settings{Interval: c.Interval, FastInterval: c.Fast, Timeout: c.Timeout, Fall: c.Fall, Rise: c.Rise}
	if b.env.Checker != nil {
		if checker := b.env.Checker(s, r); checker != nil {
			text := fmt.Sprintf("checker of %s, %s", s.name(), r.name(s))
			return checkSpec{description: text, target: health.Target{Key: text, Checker: checker, Settings: set}}, nil
		}
	}
	typ, _ := b.env.Checks.Find(s.checkType())
	if typ.Name == checkOn || typ.Name == checkOff {
		return checkSpec{description: typ.Name, up: typ.Name == checkOn}, nil
	}
	peer := s.peer(r)
	peer.Dial, peer.Listen = b.env.Dial, b.env.Listen
	text, checker, err := s.newCheck(b.env.Checks, r, peer)
	if err != nil {
		return checkSpec{}, err
	}
	return checkSpec{description: text, target: health.Target{
		Key:     fmt.Sprintf("%s, every %v %v, timeout %v, fall %d, rise %d", text, c.Interval, c.Fast, c.Timeout, c.Fall, c.Rise),
		Checker: checker, Settings: set,
	}}, nil
}

// newCheck makes a server's check for a peer; the string describes it, and is equal for
// equal checks.
func (s *Service) newCheck(types *health.Registry, r *Server, peer health.Peer) (string, health.Checker, error) {
	params := s.Check.Params
	if len(r.Check.Params) > 0 {
		if typ, ok := types.Find(s.checkType()); ok {
			params = typ.Merge(params, r.Check.Params)
		}
	}
	return types.New(s.checkType(), peer, params)
}

// peer returns the address that a server's check goes to.
func (s *Service) peer(r *Server) health.Peer {
	addr := r.Address
	for _, a := range []netip.Addr{s.Check.Address, r.Check.Address} {
		if a.IsValid() {
			addr = a
		}
	}
	return health.Peer{
		Addr:    netip.AddrPortFrom(addr, cmp.Or(r.Check.Port, s.Check.Port, r.Port, s.checkedPort())),
		Service: netip.AddrPortFrom(s.anyVIP(), s.Port),
	}
}

// watchLocked has the monitor make exactly the planned checks, and applies results that are
// known already.
func (b *Balancer) watchLocked() {
	b.checked, b.paths = map[string][]*server{}, map[string]*server{}
	targets := b.agentTargetsLocked()
	for i := range b.cfg.Services {
		for j, r := range b.services[i].servers {
			targets = b.addPathTargetLocked(targets, &b.cfg.Services[i], r)
			target := b.checks[i][j].target
			target.State = r.known(sourceCheck, r.checkKey)
			r.checkKey = target.Key
			if r.checkKey == "" {
				continue
			}
			if b.checked[r.checkKey] == nil {
				targets = append(targets, target)
			}
			b.checked[r.checkKey] = append(b.checked[r.checkKey], r)
		}
	}
	b.monitor.Set(targets)
	b.applyKnownResultsLocked()
	b.startWaitsLocked()
}

// applyKnownResultsLocked applies the results of checks that existed before their servers,
// and the fixed ones.
func (b *Balancer) applyKnownResultsLocked() {
	for i := range b.cfg.Services {
		for j, r := range b.services[i].servers {
			if spec := &b.checks[i][j]; spec.target.Key == "" {
				b.setServerStateLocked(r, sourceCheck, !spec.up, "off by configuration", time.Time{})
			}
		}
	}
	for _, st := range b.monitor.Status() {
		if st.State == health.Unknown {
			continue
		}
		servers, from := b.checkedByLocked(st.Key)
		for _, r := range servers {
			b.setServerStateLocked(r, from, st.State == health.Down, cmp.Or(st.Reason, r.failures[from], "its check failed"), st.Since)
		}
	}
}
