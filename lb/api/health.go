package api

import (
	"net/netip"
	"time"

	"github.com/golb/golb/health"
	"github.com/golb/golb/lb"
)

// Health is how the servers of all services are.
type Health struct {
	Services []Service `json:"services"`
}

// Service is a service and how its servers are.
type Service struct {
	Name    string   `json:"name"`
	Up      bool     `json:"up"` // it has its quorum
	Servers []Server `json:"servers"`
}

// Server is how a server is.
type Server struct {
	Name    string         `json:"name"`
	Address netip.Addr     `json:"address"`
	Port    uint16         `json:"port"`
	Up      bool           `json:"up"`
	Since   time.Time      `json:"since"`  // when it became so
	Reason  string         `json:"reason"` // why it is down; "" where it is up
	State   lb.ServerState `json:"state"`  // as an operator wants it
	Weight  int            `json:"weight"` // that its scheduler sees
	Check   Check          `json:"check"`
	Path    *Check         `json:"path"`  // the check of the true path; null where there is none
	Agent   *Agent         `json:"agent"` // null where it has none
	// Fruitless is how many connections ever came to nothing.
	Fruitless lb.Fruitless `json:"fruitless"`
}

// Agent is what a server's agent says of it.
type Agent struct {
	Says  string     `json:"says"`  // all it said so far, in its words
	Heard *time.Time `json:"heard"` // when it last answered
	Check Check      `json:"check"` // how asking it went
}

// Check is what is asked of a server, and what it answered.
type Check struct {
	Asks      string     `json:"asks"`
	State     string     `json:"state"` // up or down; unknown until there is a result
	Checked   *time.Time `json:"checked"`
	MS        float64    `json:"ms"`     // that the last one took
	Reason    string     `json:"reason"` // why the last one failed; "" where it did not
	Failures  int        `json:"failures"`
	Successes int        `json:"successes"` // in a row, as are failures
	Next      *time.Time `json:"next"`
	Hung      bool       `json:"hung"`   // the last one has not come back
	Recent    []Result   `json:"recent"` // the oldest first
}

// Result is what one check found.
type Result struct {
	At     time.Time `json:"at"`
	Up     bool      `json:"up"`
	MS     float64   `json:"ms"`
	Reason string    `json:"reason"`
}

func healthOf(services []lb.ServiceHealth) Health {
	h := Health{Services: []Service{}}
	for _, v := range services {
		s := Service{Name: v.Name, Up: v.Up, Servers: []Server{}}
		for _, r := range v.Servers {
			server := Server{
				Name: r.Name, Address: r.Address, Port: r.Port, Up: r.Up, Since: r.Since, Reason: r.Reason,
				State: r.State, Weight: r.Weight, Check: checkOf(r.Asks, &r.Check),
				Fruitless: r.Fruitless,
			}
			if r.Path != nil {
				path := checkOf("the VIP on the server", r.Path)
				server.Path = &path
			}
			if a := r.Agent; a != nil {
				server.Agent = &Agent{Says: a.Says, Heard: orNull(a.Heard), Check: checkOf(a.Asks, &a.Check)}
			}
			s.Servers = append(s.Servers, server)
		}
		h.Services = append(h.Services, s)
	}
	return h
}

func checkOf(asks string, st *health.Status) Check {
	c := Check{
		Asks: asks, State: st.State.String(), Checked: orNull(st.Checked), MS: ms(st.Latency), Reason: st.Reason,
		Failures: st.Failures, Successes: st.Successes, Next: orNull(st.Next), Hung: st.Hung, Recent: []Result{},
	}
	for _, r := range st.Recent {
		c.Recent = append(c.Recent, Result{At: r.At, Up: r.Reason == "", MS: ms(r.Latency), Reason: r.Reason})
	}
	return c
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func orNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
