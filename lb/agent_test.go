package lb_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golb/golb/lb"
)

// agents are those on the servers, by address and port; those that are not set are
// silent.
type agents struct {
	mu      sync.Mutex
	reports map[string]string
}

func (a *agents) set(address, report string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.reports == nil {
		a.reports = map[string]string{}
	}
	a.reports[address] = report
}

func (a *agents) dial(_ context.Context, _, address string) (net.Conn, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	report := a.reports[address]
	if report == "" {
		return nil, errors.New("silent")
	}
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		_, _ = io.WriteString(far, report+"\n")
	}()
	return near, nil
}

func TestAgentsWeightsFollowTheRule(t *testing.T) {
	const at = "10.0.0.1:3333"
	synctest.Test(t, func(t *testing.T) {
		a, checks := &agents{}, &answers{}
		s := asking(vip4, 2)
		s.Agent = lb.Agent{Type: "tcp", Interval: time.Second}
		s.Servers[0].Weight = new(20)
		s.Servers[1].Agent = lb.Agent{Type: "none"}
		cfg := func() lb.Config { return lb.Config{Services: []lb.Service{s}} }
		b := startIn(t, cfg(), checks.keep, func(env *lb.Env) { env.Checks, env.Dial = checks.registry(), a.dial })
		vip, server := netip.AddrPortFrom(vip4, 80), netip.AddrPortFrom(server4(1), 80)
		sets := func(text string) func() { return func() { a.set(at, text) } }
		for _, step := range []struct {
			name   string
			do     func()
			weight int
			up     bool
		}{
			{"silent", func() {}, 20, true},
			{"number", sets("50"), 100, true},
			{"percent sign", sets("75%"), 150, true},
			{"silence changes nothing", sets(""), 150, true},
			{"an operator's weight is scaled", func() { must(t, b.balancer.SetWeight(refOf(vip, server), 4)) }, 30, true},
			{"a reload keeps both", func() { must(t, b.apply(cfg())) }, 30, true},
			{"another port keeps both", func() { s.Agent.Port = 3334; must(t, b.apply(cfg())) }, 30, true},
			{"and back", func() { s.Agent.Port = 0; must(t, b.apply(cfg())) }, 30, true},
			{"a reload with another weight", func() { s.Servers[0].Weight = new(10); must(t, b.apply(cfg())) }, 75, true},
			{"another scale", func() { s.Agent.Scale = "percent"; must(t, b.apply(cfg())) }, 8, true},
			{"an operator drains", func() { must(t, setState(b.balancer, refOf(vip, server), lb.StateDrain, 0)) }, 0, true},
			{"the agent's ready does not undo that", sets("ready up 100%"), 0, true},
			{"the operator does", func() { must(t, setState(b.balancer, refOf(vip, server), lb.StateActive, 0)) }, 10, true},
			{"the agent drains", sets("drain"), 0, true},
			{"the operator does not undo that", func() { must(t, setState(b.balancer, refOf(vip, server), lb.StateActive, 0)) }, 0, true},
			{"nor does a number", sets("50%"), 0, true},
			{"nor silence", sets(""), 0, true},
			{"its ready does", sets("ready"), 5, true},
			{"down", sets("down # disk full"), 5, false},
			{"a check that passes does not undo that", func() {}, 5, false},
			{"a number does", sets("50%"), 5, true},
			{"maint", sets("maint"), 5, false},
			{"a number does not undo that", sets("50%"), 5, false},
			{"ready does", sets("ready"), 5, true},
			{"the check fails", func() { checks.set(server4(1), "broken") }, 5, false},
			{"up does not undo that", sets("up 100%"), 10, false},
			{"the check does", func() { checks.set(server4(1), "") }, 10, true},
			{"drained once more", sets("drain 30%"), 0, true},
			{"no agent any more", func() { s.Agent = lb.Agent{}; must(t, b.apply(cfg())) }, 10, true},
		} {
			step.do()
			time.Sleep(3 * time.Second)
			servers := b.balancer.Stats().Services[0].Servers
			if got := servers[0]; got.Weight != step.weight || got.Up != step.up {
				t.Errorf("%s: weight %d, up %v; want %d, %v", step.name, got.Weight, got.Up, step.weight, step.up)
			}
			if got := servers[1]; got.Weight != 1 || !got.Up {
				t.Errorf("%s: the server without an agent: weight %d, up %v", step.name, got.Weight, got.Up)
			}
		}
		var reasons []string
		for _, e := range checks.happened() {
			if e.Kind == lb.EventServerDown {
				reasons = append(reasons, e.Reason)
			}
		}
		if want := []string{"its agent says down: disk full", "its agent says maint", "broken"}; !slices.Equal(reasons, want) {
			t.Errorf("down for %q, want %q", reasons, want)
		}
	})
}

func TestAgentsShareConnectionsByTheirNumbers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &agents{}
		s := service(vip4, 3)
		s.Scheduler, s.Agent = "wrr", lb.Agent{Type: "tcp", Interval: time.Second}
		b := startIn(t, lb.Config{Services: []lb.Service{s}}, func(lb.Event) {}, func(env *lb.Env) { env.Dial = a.dial })
		a.set("10.0.0.1:3333", "10%")
		a.set("10.0.0.2:3333", "50%")
		a.set("10.0.0.3:3333", "0%")
		time.Sleep(2 * time.Second)
		seen := map[byte]int{}
		for n := range 70 {
			seen[b.picks(client(n), netip.AddrPortFrom(vip4, 80))]++
		}
		if seen[1] != 10 || seen[2] != 50 || seen[3] != 10 {
			t.Errorf("connections went %v, want 10 to server 1, 50 to server 2, and 10 to server 3, which is busy", seen)
		}
		h := b.balancer.Health()[0].Servers[1].Agent
		if h == nil || h.Report != "50%" || h.Check.Description != "tcp 10.0.0.2:3333" || h.Reported.IsZero() {
			t.Errorf("health of agent 2: %+v", h)
		}
	})
}

func TestBusyServersShareAllConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, scale := range []string{"idle", "percent"} {
			a := &agents{}
			s := service(vip4, 3)
			s.Scheduler, s.Agent = "rr", lb.Agent{Type: "tcp", Interval: time.Second, Scale: scale}
			b := startIn(t, lb.Config{Services: []lb.Service{s}}, func(lb.Event) {}, func(env *lb.Env) { env.Dial = a.dial })
			for _, at := range []string{"10.0.0.1:3333", "10.0.0.2:3333", "10.0.0.3:3333"} {
				a.set(at, "0%")
			}
			time.Sleep(2 * time.Second)
			seen := map[byte]int{}
			for n := range 6 {
				seen[b.picks(client(n), netip.AddrPortFrom(vip4, 80))]++
			}
			if len(seen) != 3 {
				t.Errorf("%s: all agents say 0%%: connections went %v, want all three", scale, seen)
			}
		}
	})
}
