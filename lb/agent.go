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

// Agent asks a program on each server how busy it is, and has the server's weight
// follow (package health/agent; `golb agent` is such a program). The zero value asks
// nobody.
//
// Who decides: a server's own weight is what the config says, or Balancer.SetWeight
// last. The agent's last number scales it, slow start what comes of that. An agent's
// drain, or a state other than Active that an operator has set, makes it 0: each has
// to be taken back by who said it, the agent's by its ready. What the agent says
// outlives reloads, for as long as the server has one, and silence: an agent that
// does not answer says nothing new. Its maxconn is the server's UpperThreshold, in place
// of the config's. An agent's down or maint fails the server, as a
// check does, until it says up (or ready, for maint), or, for down, a number alone;
// its up does not make a server up whose check fails.
type Agent struct {
	// Type is how to ask: tcp, where the agent speaks first, or http. In a server, none
	// means not, though the service's are asked. "" means the service's, or none.
	Type    string     `yaml:"type"`
	Address netip.Addr `yaml:"address"` // to ask in place of the server's
	Port    uint16     `yaml:"port"`    // 0 means 3333
	Path    string     `yaml:"path"`    // of the request, with http; "" means /
	Send    string     `yaml:"send"`    // a line to send before the agent speaks, with tcp
	// Scale is what the number means. idle, which "" means: how idle the server is, in
	// percent; a tenth of it times its own weight is its weight, as appliances compute.
	// percent: the part of its own weight that it wants, as HAProxy computes.
	Scale    string        `yaml:"scale"`
	Interval time.Duration `yaml:"interval"` // from question to question; 0 means 5 s
	Timeout  time.Duration `yaml:"timeout"`  // of one; 0 means 3 s
}

// What an Agent may have for words.
const (
	agentNone    = "none"
	agentTCP     = "tcp"
	agentHTTP    = "http"
	scaleIdle    = "idle"
	scalePercent = "percent"
)

func (v *validator) agent(path string, a *Agent) {
	switch a.Type {
	case agentTCP, agentHTTP:
	case "", agentNone:
		if rest := *a; rest != (Agent{Type: a.Type}) {
			v.fail(path+".type", orNothing(a.Type), "settings of an agent, but nobody to ask", agentTCP+" or "+agentHTTP)
		}
	default:
		v.fail(path+".type", a.Type, "unknown way to ask", strings.Join([]string{agentTCP, agentHTTP, agentNone}, ", "))
	}
	v.asked(path+".address", a.Address)
	if a.Path != "" && (a.Type == agentTCP || !strings.HasPrefix(a.Path, "/")) {
		v.fail(path+".path", a.Path, "not allowed", "a path that begins with /, with http only")
	}
	if a.Send != "" && (a.Type == agentHTTP || strings.ContainsAny(a.Send, "\r\n")) {
		v.fail(path+".send", a.Send, "not allowed", "a single line, with tcp only")
	}
	if a.Scale != "" && a.Scale != scaleIdle && a.Scale != scalePercent {
		v.fail(path+".scale", a.Scale, "unknown scale", scaleIdle+" or "+scalePercent)
	}
	v.duration(path+".interval", a.Interval, minCheckDuration)
	v.duration(path+".timeout", a.Timeout, minCheckDuration)
}

// orNothing is s as the value of a mistake.
func orNothing(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// agent is the one of a server.
func (r *Server) agent(s *Service) *Agent {
	if r.Agent == (Agent{}) {
		return &s.Agent
	}
	return &r.Agent
}

// asks is the question to the agent at an address, in words.
func (a *Agent) asks(addr netip.AddrPort) string { return a.Type + " " + addr.String() + a.Path }

// addr is where the agent of a server is.
func (a *Agent) addr(r *Server) netip.AddrPort {
	addr := a.Address
	if !addr.IsValid() {
		addr = r.Address
	}
	return netip.AddrPortFrom(addr, cmp.Or(a.Port, agent.Port))
}

// agentState is what an agent has said so far.
type agentState struct {
	servers []*server // that it speaks for
	heard   time.Time // last; zero where it has said nothing
	percent int       // -1 where it has given no number
	maxConn int       // -1 where it has given none
	drain   bool
	maint   bool
	down    string // its word for that, "" while it is not
	reason  string // it gave last
}

// take notes a report (HAProxy's agent-check).
func (a *agentState) take(r agent.Report) {
	a.heard, a.reason = time.Now(), r.Reason
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

// failure is why its servers are down, "" where they are not because of it.
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

// String is what it said, in its words.
func (a *agentState) String() string {
	var words []string
	if a.percent >= 0 {
		words = append(words, fmt.Sprintf("%d%%", a.percent))
	}
	for _, w := range []struct {
		word string
		said bool
	}{{fmt.Sprintf("maxconn:%d", a.maxConn), a.maxConn >= 0}, {a.down, a.down != ""}, {"drain", a.drain}, {"maint", a.maint}, {"# " + a.reason, a.reason != ""}} {
		if w.said {
			words = append(words, w.word)
		}
	}
	return strings.Join(words, " ")
}

// own is the weight of a server, scaled as its agent wants.
func (s *server) own() int32 {
	if s.agent == nil || s.agent.percent < 0 {
		return s.runWeight
	}
	r := agent.Report{Percent: s.agent.percent}
	if s.percent {
		return int32(r.Weight(int(s.runWeight)))
	}
	return int32(r.IdleWeight(int(s.runWeight)))
}

// limit sets the thresholds of a server: its own, or what its agent wants.
func (s *server) limit() {
	upper, lower := s.ownUpper, s.ownLower
	if s.agent != nil && s.agent.maxConn >= 0 {
		upper, lower = int64(s.agent.maxConn), 0
	}
	s.setThresholds(upper, lower)
}

// open reports whether operator and agent let the server have new connections.
func (s *server) open() bool { return s.state == Active && (s.agent == nil || !s.agent.drain) }

// agentQuestion is the question to the agent of one server; its Key is "" where it
// has none.
func (b *Balancer) agentQuestion(s *Service, r *Server) health.Target {
	a := r.agent(s)
	if a.Type == "" || a.Type == agentNone {
		return health.Target{}
	}
	c := &agent.Client{Addr: a.addr(r), HTTP: a.Type == agentHTTP, Path: a.Path, Dial: b.env.Dial}
	if a.Send != "" {
		c.Send = a.Send + "\n"
	}
	key := fmt.Sprintf("agent %s %q, every %v, timeout %v", a.asks(c.Addr), a.Send, a.Interval, a.Timeout)
	ask := func(ctx context.Context) error {
		r, err := c.Query(ctx)
		if err == nil {
			b.heard(key, r)
		}
		return err
	}
	return health.Target{Key: key, Checker: health.CheckerFunc(ask), Settings: health.Settings{Interval: a.Interval, Timeout: a.Timeout}}
}

// watchAgents returns the questions to all agents, each once, and joins servers with
// their agents. The lock is held.
func (b *Balancer) watchAgents() (targets []health.Target) {
	known := b.agents
	b.agents = map[string]*agentState{}
	for i := range b.cfg.Services {
		s := &b.cfg.Services[i]
		for j, r := range b.services[s.id()].all {
			q, wasOpen := &b.questions[i][j].agent, r.open()
			r.percent = s.Servers[j].agent(s).Scale == scalePercent
			if r.agentKey = q.Key; q.Key == "" {
				r.agent = nil
			} else {
				if b.agents[q.Key] == nil {
					targets = append(targets, *q)
					b.agents[q.Key] = joined(known[q.Key], r.agent)
				}
				r.agent = b.agents[q.Key]
				r.agent.servers = append(r.agent.servers, r)
			}
			b.obey(r, wasOpen)
		}
	}
	return targets
}

// joined is what is known of an agent: what it said itself, or, where it is asked
// another way now, what the server's said before.
func joined(same, before *agentState) *agentState {
	a := agentState{percent: -1, maxConn: -1}
	if known := cmp.Or(same, before); known != nil {
		a = *known
		a.servers = nil
	}
	return &a
}

// heard has the servers of an agent follow what it says.
func (b *Balancer) heard(key string, r agent.Report) {
	b.mu.Lock()
	if a := b.agents[key]; a != nil {
		was := *a
		a.take(r)
		if a.String() != was.String() {
			b.env.Logger.Debug("agent", "asked", key, "says", a.String())
		}
		for _, s := range a.servers {
			b.obey(s, s.state == Active && !was.drain)
		}
	}
	b.mu.Unlock()
	b.report()
}

// obey does with a server what its agent has said; wasOpen is what open said before.
// The lock is held.
func (b *Balancer) obey(s *server, wasOpen bool) {
	failure := ""
	if s.agent != nil {
		failure = s.agent.failure()
	}
	s.limit()
	if failure != s.says[byAgent] {
		b.learn(s, byAgent, failure != "", failure, time.Now())
	}
	b.weigh(s, false)
	if s.open() != wasOpen {
		b.reckon(s.service)
	}
}
