package lb

import (
	"cmp"
	"fmt"
	"net/netip"
	"time"

	"github.com/golb/golb/health"
)

// The verdicts that need no check, as package health calls them.
const (
	checkOn  = "on"
	checkOff = "off"
)

// question is what is asked of one server.
type question struct {
	target  health.Target // the zero Target where the verdict is fixed
	text    string        // for people
	verdict bool          // where it is fixed
	agent   health.Target // what the server's agent is asked; the zero Target where it has none
}

// plan makes the checks of a valid config, for each service one per server, in the
// config's order. It fails where a file that a check needs is gone.
func (b *Balancer) plan(cfg *Config) ([][]question, error) {
	all := make([][]question, len(cfg.Services))
	for i := range cfg.Services {
		s := &cfg.Services[i]
		for j := range s.Servers {
			q, err := b.question(s, &s.Servers[j])
			if err != nil {
				return nil, fmt.Errorf("lb: services[%d].servers[%d].check: %w", i, j, err)
			}
			q.agent = b.agentQuestion(s, &s.Servers[j])
			all[i] = append(all[i], q)
		}
	}
	return all, nil
}

// question makes the check of one server. Services that ask the same of the same
// server, as often, have equal keys and so share it.
func (b *Balancer) question(s *Service, r *Server) (question, error) {
	typ, _ := b.env.Checks.Find(s.checkType())
	if typ.Name == checkOn || typ.Name == checkOff {
		return question{text: typ.Name, verdict: typ.Name == checkOn}, nil
	}
	peer := s.peer(r)
	peer.Dial, peer.Listen = b.env.Dial, b.env.Listen
	text, checker, err := s.newCheck(b.env.Checks, r, peer)
	if err != nil {
		return question{}, err
	}
	c := &s.Check
	set := health.Settings{Interval: c.Interval, FastInterval: c.Fast, Timeout: c.Timeout, Fall: c.Fall, Rise: c.Rise}
	return question{text: text, target: health.Target{
		Key:     fmt.Sprintf("%s, every %v %v, timeout %v, fall %d, rise %d", text, c.Interval, c.Fast, c.Timeout, c.Fall, c.Rise),
		Checker: checker, Settings: set,
	}}, nil
}

// newCheck makes a server's check for a peer, and a name for what it asks.
func (s *Service) newCheck(types *health.Registry, r *Server, peer health.Peer) (string, health.Checker, error) {
	params := s.Check.Params
	if typ, ok := types.Find(s.checkType()); ok {
		params = typ.Merge(params, r.Check.Params)
	}
	return types.New(s.checkType(), peer, params)
}

// peer is where a server's check goes.
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

// watch has exactly the planned checks made, and gives servers the verdicts that
// are known already. The lock is held.
func (b *Balancer) watch() error {
	b.checked, b.paths = map[string][]*server{}, map[string]*server{}
	targets := b.watchAgents()
	for i := range b.cfg.Services {
		for j, r := range b.services[b.cfg.Services[i].id()].all {
			targets = b.watchPath(targets, &b.cfg.Services[i], r)
			q := &b.questions[i][j]
			r.checkKey = q.target.Key
			if r.checkKey == "" {
				continue
			}
			if b.checked[r.checkKey] == nil {
				targets = append(targets, q.target)
			}
			b.checked[r.checkKey] = append(b.checked[r.checkKey], r)
		}
	}
	b.monitor.Set(targets)
	b.catchUp()
	return nil
}

// catchUp gives servers the verdicts of checks that were there before them, and the
// fixed ones. The lock is held.
func (b *Balancer) catchUp() {
	for i := range b.cfg.Services {
		for j, r := range b.services[b.cfg.Services[i].id()].all {
			if q := &b.questions[i][j]; q.target.Key == "" {
				b.learn(r, byCheck, !q.verdict, "off by configuration", time.Time{})
			}
		}
	}
	for _, st := range b.monitor.Status() {
		if st.State == health.Unknown {
			continue
		}
		servers, from := b.checkedBy(st.Key)
		for _, r := range servers {
			b.learn(r, from, st.State == health.Down, cmp.Or(st.Reason, r.says[from], "its check failed"), st.Since)
		}
	}
}
