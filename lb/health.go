package lb

import (
	"net/netip"
	"time"

	"github.com/golb/golb/health"
)

// ServiceHealth is what a balancer knows of the health of a service's servers.
type ServiceHealth struct {
	Name    string
	Up      bool           // it has its quorum
	Servers []ServerHealth // in the config's order
}

// ServerHealth is what a balancer knows of a server's health.
type ServerHealth struct {
	Name    string
	Address netip.Addr
	Port    uint16
	Up      bool
	Since   time.Time // when Up became so
	Reason  string    // why it is down
	State   ServerState
	Weight  int    // that its scheduler sees
	Asks    string // what its check asks of whom: the type's name, address and parameters
	// Check is what its check found. Its State is health.Unknown, and all else zero,
	// where nothing is asked, and until the first result.
	Check     health.Status
	Fruitless Fruitless      // connections that came to nothing
	Path      *health.Status // what the check of the true path found; nil where there is none
	Agent     *AgentHealth   // nil where it has none
}

// AgentHealth is what a server's agent says.
type AgentHealth struct {
	Asks  string    // how and whom
	Says  string    // all that it said so far, in its words
	Heard time.Time // when it last answered; zero where it has not
	// Check is how asking it went.
	Check health.Status
}

// Health says how each server is, and why.
func (b *Balancer) Health() []ServiceHealth {
	b.mu.Lock()
	defer b.mu.Unlock()
	known := map[string]health.Status{}
	for _, st := range b.monitor.Status() {
		known[st.Key] = st
	}
	paths := map[*server]*health.Status{}
	for key, r := range b.paths {
		st := known[key]
		paths[r] = &st
	}
	all := make([]ServiceHealth, len(b.cfg.Services))
	for i := range all {
		v := b.services[b.cfg.Services[i].id()]
		all[i] = ServiceHealth{Name: v.name, Up: !v.down}
		for j, r := range v.all {
			h := ServerHealth{
				Name: r.name, Address: r.address, Port: r.Port, Up: r.up, Since: r.changed, Reason: r.reason,
				State: r.state, Weight: int(r.Weight()), Asks: b.questions[i][j].text, Check: known[r.checkKey], Path: paths[r],
				Fruitless: r.fruitless(),
			}
			if r.agent != nil {
				cfg := &b.cfg.Services[i].Servers[j]
				a := cfg.agent(&b.cfg.Services[i])
				h.Agent = &AgentHealth{Asks: a.asks(a.addr(cfg)), Says: r.agent.String(), Heard: r.agent.heard, Check: known[r.agentKey]}
			}
			all[i].Servers = append(all[i].Servers, h)
		}
	}
	return all
}
