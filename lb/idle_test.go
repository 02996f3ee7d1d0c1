package lb

import (
	"strings"
	"testing"

	"github.com/golb/golb/health/agent"
)

func TestServicesThatNobodyServesSayWhy(t *testing.T) {
	for name, tt := range map[string]struct {
		weights []int
		do      func(x *healthRig)
		service string   // part of its reason
		servers []string // why each is idle
	}{
		"the config": {[]int{0, 0}, func(*healthRig) {}, "2 weight 0 by the config", []string{"weight 0 by the config", "weight 0 by the config"}},
		"an operator's weights": {[]int{1, 2}, func(x *healthRig) {
			for _, n := range []int{1, 2} {
				must(x.t, x.b.SetWeight(x.ref(n), 0))
			}
		}, "2 weight 0 by an operator", []string{"weight 0 by an operator", "weight 0 by an operator"}},
		"an operator's orders": {[]int{1, 2}, func(x *healthRig) {
			must(x.t, x.b.Drain(x.ref(1), 0))
			must(x.t, x.b.Halt(x.ref(2)))
		}, "1 drained by an operator, 1 halted by an operator", []string{"drained by an operator", "halted by an operator"}},
		"agents": {[]int{1, 2}, func(x *healthRig) {
			for _, s := range x.b.services[0].servers {
				x.b.onAgentReport(s.agentKey, agent.Report{Percent: -1, MaxConn: -1, Admin: agent.Drain})
			}
		}, "2 drained by its agent", []string{"drained by its agent", "drained by its agent"}},
		"one of each, and one down": {[]int{1, 0, 1}, func(x *healthRig) {
			x.reportChecks(false, 3)
			must(x.t, x.b.Drain(x.ref(1), 0))
		}, "1 drained by an operator, 1 weight 0 by the config", []string{"drained by an operator", "weight 0 by the config", ""}},
		"not all": {[]int{0, 1}, func(*healthRig) {}, "", []string{"weight 0 by the config", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			x := newHealthRig(t, Service{Agent: Agent{Type: agentTCP}, Fallback: sorry(DSR)}, tt.weights...)
			atStart := x.b.Stats().Services[0].Reason
			tt.do(x)
			st, h := x.b.Stats().Services[0], x.b.Health()[0]
			if st.Reason != h.Reason || (st.Reason == "") != (tt.service == "") || !strings.Contains(st.Reason, tt.service) || h.Up != (tt.service == "") {
				t.Errorf("the service is down for %q, %q; want %q", st.Reason, h.Reason, tt.service)
			}
			for i, want := range tt.servers {
				if st.Servers[i].Idle != want || h.Servers[i].Idle != want {
					t.Errorf("server %d is idle for %q, %q; want %q", i+1, st.Servers[i].Idle, h.Servers[i].Idle, want)
				}
			}
			events := 0
			for _, e := range x.events {
				if e.Kind == EventServiceDown && e.Reason == st.Reason {
					events++
				}
			}
			if tt.service != "" && events+len(atStart) == 0 {
				t.Errorf("no event says so: %+v", x.events)
			}
		})
	}
}

func TestIdleAtItsUpperThreshold(t *testing.T) {
	x := newHealthRig(t, Service{Servers: []Server{{Address: rigServer(1), UpperThreshold: 2}}})
	for range 2 {
		x.open()
	}
	if got := x.b.Stats().Services[0].Servers[0].Idle; got != "2 connections, at its upper threshold" {
		t.Errorf("idle for %q", got)
	}
}
