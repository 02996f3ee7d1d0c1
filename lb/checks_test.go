package lb_test

import (
	"context"
	"errors"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golb/golb/health"
	"github.com/golb/golb/lb"
)

// answers are what the checks of type ask find out, by address; none is up.
type answers struct {
	mu     sync.Mutex
	down   map[netip.Addr]string
	asked  int
	events []lb.Event
}

// set has the server at an address fail its checks with a reason, or pass for "".
func (a *answers) set(addr netip.Addr, reason string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.down == nil {
		a.down = map[netip.Addr]string{}
	}
	a.down[addr] = reason
}

// count is how many checks have been made.
func (a *answers) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked
}

// registry is one with the type ask.
func (a *answers) registry() *health.Registry {
	return health.NewRegistry(append(health.Builtin(), health.Type{Name: "ask", About: "what the test says", Transport: "tcp",
		Bind: func(k *health.Keys, p health.Peer) health.Checker {
			return health.CheckerFunc(func(context.Context) error {
				a.mu.Lock()
				defer a.mu.Unlock()
				a.asked++
				if reason := a.down[p.Addr.Addr()]; reason != "" {
					return errors.New(reason)
				}
				return nil
			})
		}})...)
}

// startAsking runs a balancer whose checks of type ask find out what a says.
func startAsking(t *testing.T, cfg lb.Config, a *answers) *bench {
	t.Helper()
	return startIn(t, cfg, a.keep, func(env *lb.Env) { env.Checks = a.registry() })
}

// keep keeps the events of servers.
func (a *answers) keep(e lb.Event) {
	if e.Kind == lb.EventServerUp || e.Kind == lb.EventServerDown {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.events = append(a.events, e)
	}
}

// happened returns the events since it was last called.
func (a *answers) happened() []lb.Event {
	synctest.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	defer func() { a.events = nil }()
	return a.events
}

// asking is a service whose servers are asked every second.
func asking(vip netip.Addr, servers int) lb.Service {
	s := service(vip, servers)
	s.Check = lb.Check{Type: "ask", Interval: time.Second, Fall: 2, Unchecked: "up"}
	return s
}

// up says which servers of service n are up.
func (b *bench) up(n int) (list []bool) {
	for _, r := range b.balancer.Stats().Services[n].Servers {
		list = append(list, r.Up)
	}
	return list
}

func TestReloadKeepsWhatChecksKnow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &answers{}
		a.set(server4(1), "broken")
		first := asking(vip4, 2)
		b := startAsking(t, lb.Config{Services: []lb.Service{first}}, a)
		time.Sleep(3 * time.Second)
		if got := a.happened(); len(got) != 1 || got[0].Kind != lb.EventServerDown || got[0].Reason != "broken" || got[0].Since.IsZero() ||
			got[0].Action != "it gets no new connections; 1 of 2 servers up" {
			t.Fatalf("events %+v", got)
		}

		h := b.balancer.Health()[0].Servers[0]
		if h.Up || h.Reason != "broken" || h.Check.Description != "ask 10.0.0.1:80" || h.Check.State != health.Down.String() || h.Check.Failures != 3 ||
			len(h.Check.Recent) != 3 || !h.Check.Next.After(time.Now()) || h.Since.IsZero() {
			t.Errorf("health is %+v", h)
		}

		// Another service asks the same: it knows at once.
		second := asking(netip.MustParseAddr("192.0.2.81"), 2)
		weight := 7
		first.Servers[1].Weight = &weight
		must(t, b.apply(lb.Config{Services: []lb.Service{first, second}}))
		for n := range 2 {
			if got := b.up(n); !slices.Equal(got, []bool{false, true}) {
				t.Errorf("after the reload: service %d has servers up: %v", n, got)
			}
		}
		if got := a.happened(); len(got) != 1 || got[0].Service != "tcp 192.0.2.81:80" {
			t.Errorf("after the reload: events %+v", got)
		}
		asked := a.count()
		time.Sleep(10 * time.Second)
		if n := a.count() - asked; n != 20 {
			t.Errorf("%d checks in 10 s, want 20: 2 servers, which both services share", n)
		}

		// Both get it back.
		a.set(server4(1), "")
		time.Sleep(2 * time.Second)
		if got := a.happened(); len(got) != 2 || got[0].Kind != lb.EventServerUp || got[1].Kind != lb.EventServerUp {
			t.Errorf("back: events %+v", got)
		}

		// What the first has failed does not hold for one that is not checked.
		a.set(server4(1), "broken")
		time.Sleep(3 * time.Second)
		second.Check = lb.Check{Type: "none"}
		must(t, b.apply(lb.Config{Services: []lb.Service{first, second}}))
		if f, s := b.up(0), b.up(1); !slices.Equal(f, []bool{false, true}) || !slices.Equal(s, []bool{true, true}) {
			t.Errorf("without a check: servers up: %v, %v", f, s)
		}
		second.Check = lb.Check{Type: "off"}
		must(t, b.apply(lb.Config{Services: []lb.Service{first, second}}))
		if s := b.up(1); !slices.Equal(s, []bool{false, false}) {
			t.Errorf("off: servers up: %v", s)
		}
	})
}

func TestAThousandFlapsLeaveNothingBehind(t *testing.T) {
	for _, quiescent := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			a, feedback := &answers{}, &agents{}
			s := asking(vip4, 3)
			s.Servers[1].Agent = lb.Agent{Type: "tcp", Interval: time.Second, Scale: "percent"}
			feedback.set("10.0.0.2:3333", "ready up 100%")
			s.Quiescent, s.Scheduler, s.Check.Fall = quiescent, "wrr", 1
			for i := range s.Servers {
				s.Servers[i].Weight = new(2 + i)
			}
			b := startIn(t, lb.Config{Services: []lb.Service{s}}, a.keep, func(env *lb.Env) { env.Checks, env.Dial = a.registry(), feedback.dial })
			time.Sleep(3 * time.Second)
			state := func() (lb.Stats, int) {
				synctest.Wait()
				return b.balancer.Stats(), runtime.NumGoroutine()
			}
			before, goroutines := state()
			to := netip.AddrPortFrom(vip4, 80)
			for n := range 1000 {
				a.set(server4(1), "flap")
				feedback.set("10.0.0.2:3333", []string{"drain", "down", "maint 30%"}[n%3])
				time.Sleep(time.Second)
				a.set(server4(1), "")
				feedback.set("10.0.0.2:3333", "ready up 100%")
				if n%100 == 0 { // a connection that lives through some flaps
					b.picks(client(n), to)
				}
				time.Sleep(time.Second)
			}
			if got := a.happened(); len(got) != 2000+2*666 { // two thirds of what the agent says take its server down
				t.Errorf("quiescent %v: %d events, want 3332", quiescent, len(got))
			}
			b.clock.Advance(time.Hour)
			next, now := state()
			if now > goroutines {
				t.Errorf("quiescent %v: %d goroutines, %d before", quiescent, now, goroutines)
			}
			if next.Connections != before.Connections {
				t.Errorf("quiescent %v: %d connections, %d before", quiescent, next.Connections, before.Connections)
			}
			for i, r := range next.Services[0].Servers {
				was := before.Services[0].Servers[i]
				if r.Up != was.Up || r.Weight != was.Weight || r.Active != was.Active || r.Inactive != was.Inactive || r.Reason != was.Reason {
					t.Errorf("quiescent %v: server %d is %+v, was %+v", quiescent, i, r, was)
				}
			}
			seen := map[byte]int{}
			for n := range 18 {
				seen[b.picks(client(2000+n), to)]++
			}
			if seen[1] != 4 || seen[2] != 6 || seen[3] != 8 {
				t.Errorf("quiescent %v: new connections went %v, want 4, 6 and 8", quiescent, seen)
			}
		})
	}
}
