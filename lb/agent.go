package lb

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/golb/golb/health"
	"github.com/golb/golb/health/agent"
)

// Agent asks a program on each server how busy it is, and scales the server's weight by
// the answer (package health/agent; `golb agent` is such a program). The zero value asks
// no agent.
//
// The weight that the scheduler sees: a server's own weight is the config's, or that of the
// last Balancer.SetWeight. The agent's last number scales it, to 1 at least, and slow start
// scales the result. It is 0 while the agent says drain, until it says ready, and while an operator
// has set a state other than StateActive, until the operator sets StateActive.
//
// An agent's maxconn replaces the server's UpperThreshold. Its down or maint fails the
// server, as a check does: maint until it says ready, down until it says up or a number
// without a word. Its up does not make a server up whose check fails.
//
// A reload, and an agent that does not answer, change nothing of this, as long as the
// config has an agent for the server.
type Agent struct {
	// Type is how to ask: tcp, where the agent speaks first, or http. In a server, none
	// means that it has no agent, though the service has. "" means the service's, or none.
	Type    string     `yaml:"type"`
	Address netip.Addr `yaml:"address"` // of the agent, where it is not the server's
	Port    uint16     `yaml:"port"`    // 0 means 3333
	Path    string     `yaml:"path"`    // of the request, with http; "" means /
	Send    string     `yaml:"send"`    // a line to send before the agent speaks, with tcp
	// Scale is what the agent's number means. idle, the default: how idle the server is, in
	// percent; the weight is the server's own × number / 10, as most appliances compute, and
	// ten times its own where it is idle. percent: the weight is the server's own × number /
	// 100, as HAProxy computes, and some appliances. Either way 0 is the least weight, 1:
	// servers that are all busy still share all connections.
	Scale string `yaml:"scale"`
	// Source and Interface are those of Check, for the agent.
	Source    netip.Addr    `yaml:"source"`
	Interface string        `yaml:"interface"`
	Interval  time.Duration `yaml:"interval"` // from question to question; 0 means 5 s
	Timeout   time.Duration `yaml:"timeout"`  // of one question; 0 means 3 s
}

// The values of Agent.Type and Agent.Scale.
const (
	agentNone    = "none"
	agentTCP     = "tcp"
	agentHTTP    = "http"
	scaleIdle    = "idle"
	scalePercent = "percent"
)

func (v *validator) agent(path string, a *Agent) {
	if *a == (Agent{}) {
		return
	}
	switch a.Type {
	case agentTCP, agentHTTP:
	case "", agentNone:
		if others := *a; others != (Agent{Type: a.Type}) {
			v.fail(path+".type", orNothing(a.Type), "settings of an agent, but no agent", agentTCP+" or "+agentHTTP)
		}
	default:
		v.fail(path+".type", a.Type, "unknown type", strings.Join([]string{agentTCP, agentHTTP, agentNone}, ", "))
	}
	v.checkAddress(path, "address", a.Address)
	v.source(path, a.Source, a.Interface)
	if a.Path != "" && (a.Type == agentTCP || !strings.HasPrefix(a.Path, "/")) {
		v.fail(path+".path", a.Path, "not allowed", "a path that begins with /, with http only")
	}
	if a.Send != "" && (a.Type == agentHTTP || strings.ContainsAny(a.Send, "\r\n")) {
		v.fail(path+".send", a.Send, "not allowed", "a single line, with tcp only")
	}
	if a.Scale != "" && a.Scale != scaleIdle && a.Scale != scalePercent {
		v.fail(path+".scale", a.Scale, "unknown scale", scaleIdle+" or "+scalePercent)
	}
	v.duration(path, "interval", a.Interval, minCheckDuration)
	v.duration(path, "timeout", a.Timeout, minCheckDuration)
}

// orNothing returns s as the value of a mistake, nil where it is empty.
func orNothing(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// agent returns the agent of a server: its own, or the service's.
func (r *Server) agent(s *Service) *Agent {
	if r.Agent == (Agent{}) {
		return &s.Agent
	}
	return &r.Agent
}

// describe returns how the agent at an address is asked, for people.
func (a *Agent) describe(addr netip.AddrPort) string { return a.Type + " " + addr.String() + a.Path }

// addr returns the address of a server's agent.
func (a *Agent) addr(r *Server) netip.AddrPort {
	addr := a.Address
	if !addr.IsValid() {
		addr = r.Address
	}
	return netip.AddrPortFrom(addr, cmp.Or(a.Port, agent.Port))
}

// agentState is what an agent has reported so far.
type agentState struct {
	servers []*server // the servers that it reports about
	at      time.Time // of the last report; zero where there was none
	percent int       // -1 where it has reported no number
	maxConn int       // -1 where it has reported none
	drain   bool
	maint   bool
	down    string // its word for down; "" while it is not down
	reason  string // of the last report
}

// update applies a report (HAProxy's agent-check).
func (a *agentState) update(r agent.Report) {
	a.at, a.reason = time.Now(), r.Reason
	if r.Percent >= 0 {
		a.percent = r.Percent
	}
	if r.MaxConn >= 0 {
		a.maxConn = r.MaxConn
	}
	switch {
	case r.Health == agent.Down:
		a.down = r.Word
	case r.Health == agent.Up, r.Percent >= 0 && r.Admin == agent.Keep:
		a.down = ""
	}
	switch r.Admin {
	case agent.Ready:
		a.drain, a.maint = false, false
	case agent.Drain:
		a.drain, a.maint = true, false
	case agent.Maint:
		a.drain, a.maint = false, true
	}
}

// failure returns the reason for which the agent fails its servers; "" where it does not.
func (a *agentState) failure() string {
	word := a.down
	if a.maint {
		word = "maint"
	}
	if word == "" {
		return ""
	}
	return strings.TrimSuffix(fmt.Sprintf("its agent says %s: %s", word, a.reason), ": ")
}

// String returns all that the agent has reported and not taken back, in its own words.
func (a *agentState) String() string {
	var parts []string
	if a.percent >= 0 {
		parts = append(parts, fmt.Sprintf("%d%%", a.percent))
	}
	for _, w := range []struct {
		word     string
		reported bool
	}{{fmt.Sprintf("maxconn:%d", a.maxConn), a.maxConn >= 0}, {a.down, a.down != ""}, {"drain", a.drain}, {"maint", a.maint}, {"# " + a.reason, a.reason != ""}} {
		if w.reported {
			parts = append(parts, w.word)
		}
	}
	return strings.Join(parts, " ")
}

// agentWeight returns the server's own weight, scaled by its agent's number.
func (s *server) agentWeight() int32 {
	if s.agent == nil || s.agent.percent < 0 {
		return s.runWeight
	}
	r := agent.Report{Percent: s.agent.percent}
	if s.percent {
		return int32(r.Weight(int(s.runWeight)))
	}
	return int32(r.IdleWeight(int(s.runWeight)))
}

// updateThresholds sets the thresholds of a server: its agent's maxconn, or the config's.
func (s *server) updateThresholds() {
	upper, lower := s.upper, s.lower
	if s.agent != nil && s.agent.maxConn >= 0 {
		upper, lower = int64(s.agent.maxConn), 0
	}
	s.dp.SetThresholds(upper, lower)
}

// agentTarget returns the monitor's target for the agent of one server; its Key is "" where
// the server has none.
func (b *Balancer) agentTarget(s *Service, r *Server) health.Target {
	a := r.agent(s)
	if a.Type == "" || a.Type == agentNone {
		return health.Target{}
	}
	c := &agent.Client{Addr: a.addr(r), HTTP: a.Type == agentHTTP, Path: a.Path, Dial: b.env.Dial}
	if a.Send != "" {
		c.Send = a.Send + "\n"
	}
	from := health.Source{Addr: a.Source, Interface: a.Interface}
	if from != (health.Source{}) {
		c.Dial = from.Dial
	}
	key := fmt.Sprintf("agent %s %q %s, every %v, timeout %v", a.describe(c.Addr), a.Send, from, a.Interval, a.Timeout)
	ask := func(ctx context.Context) error {
		r, err := c.Query(ctx)
		if err == nil {
			b.onAgentReport(key, r)
		}
		return err
	}
	return health.Target{Key: key, Checker: health.CheckerFunc(ask), Settings: health.Settings{Interval: a.Interval, Timeout: a.Timeout}}
}

// agentTargetsLocked returns the targets for all agents, each once, and gives each server
// its agent's state.
func (b *Balancer) agentTargetsLocked() (targets []health.Target) {
	old := b.agents
	b.agents = map[string]*agentState{}
	for i := range b.cfg.Services {
		s := &b.cfg.Services[i]
		for j, r := range b.services[i].servers {
			target, accepted := &b.checks[i][j].agent, r.accepts()
			r.percent = s.Servers[j].agent(s).Scale == scalePercent
			if r.agentKey = target.Key; target.Key == "" {
				r.agent = nil
			} else {
				if b.agents[target.Key] == nil {
					targets = append(targets, *target)
					b.agents[target.Key] = mergeAgentState(old[target.Key], r.agent)
				}
				r.agent = b.agents[target.Key]
				r.agent.servers = append(r.agent.servers, r)
			}
			b.applyAgentLocked(r, accepted)
		}
	}
	return targets
}

// mergeAgentState returns the state to begin with: the agent's own, or, where the config has
// changed how it is asked, the state of the server's agent before.
func mergeAgentState(same, before *agentState) *agentState {
	a := agentState{percent: -1, maxConn: -1}
	if old := cmp.Or(same, before); old != nil {
		a = *old
		a.servers = nil
	}
	return &a
}

// onAgentReport applies an agent's report to its servers.
func (b *Balancer) onAgentReport(key string, r agent.Report) {
	b.mu.Lock()
	if a := b.agents[key]; a != nil {
		was := *a
		a.update(r)
		if a.String() != was.String() {
			b.env.Logger.Debug("agent report", "agent", key, "report", a.String())
		}
		for _, s := range a.servers {
			b.applyAgentLocked(s, s.state == StateActive && !was.drain)
		}
	}
	b.mu.Unlock()
	b.report()
}

// applyAgentLocked applies the state of a server's agent to the server; accepted is what
// accepts returned before that state changed.
func (b *Balancer) applyAgentLocked(s *server, accepted bool) {
	failure := ""
	if s.agent != nil {
		failure = s.agent.failure()
	}
	s.updateThresholds()
	if failure != s.failures[sourceAgent] {
		b.setServerStateLocked(s, sourceAgent, failure != "", failure, time.Now())
	}
	b.updateWeightLocked(s, false)
	if s.accepts() != accepted {
		b.updateQuorumLocked(s.service)
	}
}
