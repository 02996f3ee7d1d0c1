package lb

import (
	"context"
	"testing"

	"github.com/golb/golb/health/agent"
)

func TestAgentsMaxconnIsTheUpperThreshold(t *testing.T) {
	s := Service{Agent: Agent{Type: agentTCP}}
	x := newHealthRig(t, s, 1)
	x.server(1).upper = 1 // the config's
	x.server(1).updateThresholds()
	report := func(line string) {
		t.Helper()
		r, err := agent.Parse(line)
		if err != nil {
			t.Fatal(err)
		}
		x.b.onAgentReport(x.server(1).agentKey, r)
	}
	expect := func(what string, want ...int) {
		t.Helper()
		for i, w := range want {
			if got := x.open(); got != w {
				t.Errorf("%s, connection %d: got %d, want %d", what, i+1, got, w)
			}
		}
	}
	expect("the config's", 1, refused)
	report("maxconn:3")
	expect("the agent's", 1, 1, refused)
	report("50%")
	expect("a number changes nothing", refused)
	if got, want := x.server(1).agent.String(), "50% maxconn:3"; got != want {
		t.Errorf("the agent says %q, want %q", got, want)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(x.b.Apply(context.Background(), x.b.cfg))
	expect("a reload keeps it", refused)
	report("maxconn:0")
	expect("none", 1, 1)
}
