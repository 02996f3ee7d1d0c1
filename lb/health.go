package lb

import (
	"net/netip"
	"time"

	"github.com/golb/golb/health"
)

// ServiceHealth is the health of a service and its servers.
type ServiceHealth struct {
	Name      string         `json:"name"`
	Up        bool           `json:"up"`        // it has its quorum
	Reason    string         `json:"reason"`    // why it is not up
	Conflicts []VIPConflict  `json:"conflicts"` // other hosts that answer for its VIPs
	Servers   []ServerHealth `json:"servers"`   // in the config's order
}

// ServerHealth is the health of a server.
type ServerHealth struct {
	Name    string      `json:"name"`
	Address netip.Addr  `json:"address"`
	Port    uint16      `json:"port"`
	Up      bool        `json:"up"`
	Since   time.Time   `json:"since"`  // when Up changed last
	Reason  string      `json:"reason"` // why it is down; "" where it is up
	State   ServerState `json:"state"`  // as an operator has set it
	Weight  int         `json:"weight"` // as its scheduler sees it
	Idle    string      `json:"idle"`   // why it gets no new connections although it is up; "" where it gets them

	Check CheckHealth `json:"check"`
	// MoreChecks are the other checks of a server that has several; all have to pass.
	MoreChecks []CheckHealth `json:"more_checks,omitempty"`
	Path       *CheckHealth  `json:"path"`  // the true path check; nil where there is none
	Agent      *AgentHealth  `json:"agent"` // nil where it has none

	Failed      FailedConnections `json:"failed"`
	Established uint64            `json:"established"` // connections so far that did not fail
	Diagnosis   string            `json:"diagnosis"`   // what is probably wrong where many in a row failed; "" where they did not
}

// CheckHealth is a check and its results.
type CheckHealth struct {
	Description string        `json:"description"` // the type's name, address and parameters
	State       string        `json:"state"`       // up or down; unknown where nothing is checked, and until there is a result
	Checked     time.Time     `json:"checked,omitzero"`
	Latency     time.Duration `json:"latency_ns"`       // of the last check
	Reason      string        `json:"reason"`           // why the last one failed; "" where it did not
	Remark      string        `json:"remark,omitempty"` // what to know of the last one, which passed
	Failures    int           `json:"failures"`         // in a row
	Successes   int           `json:"successes"`        // in a row
	Next        time.Time     `json:"next,omitzero"`
	Hung        bool          `json:"hung"` // the last one has not returned
	// NotTried is the number of checks since Checked that this host could not make, and
	// Trouble the reason for the last of them; they change no state.
	NotTried int           `json:"not_tried"`
	Trouble  string        `json:"trouble"`
	Recent   []CheckResult `json:"recent"` // the oldest first
}

// CheckResult is the result of one check.
type CheckResult struct {
	At      time.Time     `json:"at"`
	Up      bool          `json:"up"`
	Latency time.Duration `json:"latency_ns"`
	Reason  string        `json:"reason"` // why it failed; "" where it did not
	// NotTried is true where this host could not make the check, which says nothing about
	// the server.
	NotTried bool `json:"not_tried"`
}

// AgentHealth is the state of a server's agent.
type AgentHealth struct {
	Report   string      `json:"report"`            // all that it reported so far, in its words
	Reported time.Time   `json:"reported,omitzero"` // when it reported last; zero where it never has
	Check    CheckHealth `json:"check"`             // the results of asking it
}

// Health returns the health of all services and servers, in the config's order. It waits for
// no check.
func (b *Balancer) Health() []ServiceHealth {
	statuses := map[string]health.Status{}
	for _, st := range b.monitor.Status() {
		statuses[st.Key] = st
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	paths := map[*server]health.Status{}
	for key, r := range b.paths {
		paths[r] = statuses[key]
	}
	conflicts := b.conflictsLocked()
	all := make([]ServiceHealth, len(b.cfg.Services))
	for i := range all {
		s := &b.cfg.Services[i]
		v := b.services[i]
		all[i] = ServiceHealth{Name: v.name, Up: v.reason == "", Reason: v.reason, Servers: make([]ServerHealth, len(v.servers)), Conflicts: s.conflictsOf(conflicts)}
		for j, r := range v.servers {
			h := r.health()
			for k, p := range b.checks[i][j].checks {
				c := checkHealth(p.description, statuses[p.target.Key])
				if k == 0 {
					h.Check = c
				} else {
					h.MoreChecks = append(h.MoreChecks, c)
				}
			}
			if st, ok := paths[r]; ok {
				h.Path = new(checkHealth("the VIP on the server", st))
			}
			if r.agent != nil {
				a := s.Servers[j].agent(s)
				h.Agent = &AgentHealth{
					Report: r.agent.String(), Reported: r.agent.at, Check: checkHealth(a.describe(a.addr(&s.Servers[j])), statuses[r.agentKey]),
				}
			}
			all[i].Servers[j] = h
		}
	}
	return all
}

// health returns the health of a server without its checks.
func (s *server) health() ServerHealth {
	c := s.dp.Counters()
	return ServerHealth{
		Name: s.name, Address: s.address, Port: s.port, Up: s.up, Since: s.since, Reason: s.reason,
		State: s.state, Weight: int(s.dp.Weight()), Idle: s.idleReason(), Failed: failedConnections(&c.Failed), Established: c.Failed.Established, Diagnosis: s.diagnosis(&c),
	}
}

func checkHealth(description string, st health.Status) CheckHealth {
	c := CheckHealth{
		Description: description, State: st.State.String(), Checked: st.Checked, Latency: st.Latency, Reason: st.Reason, Remark: st.Remark,
		Failures: st.Failures, Successes: st.Successes, Next: st.Next, Hung: st.Hung, NotTried: st.NotTried, Trouble: st.Trouble, Recent: make([]CheckResult, len(st.Recent)),
	}
	for i, r := range st.Recent {
		c.Recent[i] = CheckResult{At: r.At, Up: r.Reason == "", Latency: r.Latency, Reason: r.Reason, NotTried: r.NotTried}
	}
	return c
}
