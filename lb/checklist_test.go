package lb_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golb/golb/lb"
)

// A server with several checks is up where all pass; the reason names the one that failed.
func TestServerIsUpWhereAllItsChecksPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &answers{}
		other := netip.MustParseAddr("10.9.9.9")
		s := asking(vip4, 1)
		s.Check.Fall = 1
		s.MoreChecks = []lb.Check{{Type: "ask", Address: other, Interval: time.Second, Fall: 3}, {Type: "none"}}
		b := startAsking(t, lb.Config{Services: []lb.Service{s}}, a)
		time.Sleep(2 * time.Second)
		a.happened()

		for _, step := range []struct {
			first, second string // what their servers answer from now on
			wait          time.Duration
			up            bool
			reason        string
		}{
			{"", "broken", 2 * time.Second, true, ""}, // its Fall is 3
			{"", "broken", 2 * time.Second, false, "ask: broken"},
			{"gone", "broken", 2 * time.Second, false, "ask: gone"},
			{"gone", "", 2 * time.Second, false, "ask: gone"},
			{"", "", 2 * time.Second, true, ""},
			{"gone", "", 2 * time.Second, false, "ask: gone"},
		} {
			a.set(server4(1), step.first)
			a.set(other, step.second)
			time.Sleep(step.wait)
			synctest.Wait()
			if h := b.balancer.Health()[0].Servers[0]; h.Up != step.up || h.Reason != step.reason || h.Check.Reason != step.first ||
				len(h.MoreChecks) != 2 || h.MoreChecks[0].Reason != step.second || !strings.Contains(h.MoreChecks[0].Description, "10.9.9.9") {
				t.Errorf("%+v: health is %+v", step, h)
			}
		}
		if got := a.happened(); len(got) != 3 {
			t.Errorf("events %+v, want down, up, down", got)
		}

		// Without the check that failed, at a reload, it is up at once.
		s.Check, s.MoreChecks = s.MoreChecks[0], s.MoreChecks[1:]
		must(t, b.apply(lb.Config{Services: []lb.Service{s}}))
		if got := b.up(0); !slices.Equal(got, []bool{true}) {
			t.Errorf("after the reload: servers up: %v", got)
		}
	})
}

// A server that is down does not come up by the first of its new checks.
func TestServerWaitsForAllItsChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &answers{}
		a.set(server4(1), "broken")
		s := asking(vip4, 1)
		b := startAsking(t, lb.Config{Services: []lb.Service{s}}, a)
		time.Sleep(3 * time.Second)
		a.set(server4(1), "")
		a.set(netip.MustParseAddr("10.9.9.9"), "other")
		s.Check.Rise = 2
		s.MoreChecks = []lb.Check{{Type: "ask", Address: netip.MustParseAddr("10.9.9.9"), Interval: time.Second}}
		must(t, b.apply(lb.Config{Services: []lb.Service{s}}))
		time.Sleep(3 * time.Second)
		got := a.happened()
		if slices.ContainsFunc(got, func(e lb.Event) bool { return e.Kind == lb.EventServerUp }) {
			t.Errorf("events %+v: up between two failed checks", got)
		}
	})
}

// What a server's check does not say is the service's, of the same type.
func TestServersChecksTakeTheRestFromTheService(t *testing.T) {
	web := lb.Check{Type: "http", Port: 8080, Interval: 7 * time.Second, Params: map[string]any{"path": "/a", "host": "www.example"}}
	tests := []struct {
		name    string
		service []lb.Check
		server  []lb.Check
		want    []string
	}{
		{"nothing of its own", []lb.Check{web}, nil, []string{`http 10.0.0.1:8080 host="www.example" path="/a"`}},
		{"a page", []lb.Check{web}, []lb.Check{{Params: map[string]any{"request": "/b"}}}, []string{`http 10.0.0.1:8080 host="www.example" path="/b"`}},
		{"type repeated", []lb.Check{web}, []lb.Check{{Type: "http", Port: 81}}, []string{`http 10.0.0.1:81 host="www.example" path="/a"`}},
		{"another type", []lb.Check{web}, []lb.Check{{Type: "tcp"}}, []string{`tcp 10.0.0.1:80`}},
		{"several in place of one", []lb.Check{web}, []lb.Check{{Type: "ping"}, {Type: "http"}}, []string{`ping 10.0.0.1`, `http 10.0.0.1:8080 host="www.example" path="/a"`}},
		{"one in place of several", []lb.Check{{Type: "ping"}, web}, []lb.Check{{Type: "http", Params: map[string]any{"path": "/b"}}}, []string{`http 10.0.0.1:8080 host="www.example" path="/b"`}},
		{"an alias", []lb.Check{web}, []lb.Check{{Type: "connect"}}, []string{`tcp 10.0.0.1:80`}},
		{"nothing", []lb.Check{web}, []lb.Check{{Type: "none"}}, []string{"on"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := service(vip4, 1)
			s.Check, s.MoreChecks = tt.service[0], tt.service[1:]
			if len(tt.server) > 0 {
				s.Servers[0].Check, s.Servers[0].MoreChecks = tt.server[0], tt.server[1:]
			}
			b, err := lb.New(lb.Config{Interfaces: []string{"wire0"}, Services: []lb.Service{s}}, lb.Env{})
			if err != nil {
				t.Fatal(err)
			}
			h := b.Health()[0].Servers[0]
			got := []string{h.Check.Description}
			for _, c := range h.MoreChecks {
				got = append(got, c.Description)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("checks are %q, want %q", got, tt.want)
			}
		})
	}
}
