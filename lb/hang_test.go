package lb

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// hangLimit is for what must return while something else hangs.
const hangLimit = 30 * time.Second

// within fails where f does not return.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(hangLimit):
		t.Fatalf("%s does not return", what)
	}
}

// runBed runs a balancer in a world until the test ends.
func runBed(t *testing.T, cfg Config) (w *world, b *Balancer) {
	t.Helper()
	w = newWorld()
	env, ready := w.env(time.Now), make(chan struct{})
	note := env.OnEvent
	env.OnEvent = func(e Event) {
		if note(e); e.Kind == EventReady {
			close(ready)
		}
	}
	b, err := New(onWorld(cfg), env)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		within(t, "Run", func() {
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
		goleak.VerifyNone(t)
	})
	within(t, "the start", func() { <-ready })
	return w, b
}

// TestNothingWaitsForTheNetworkUnderTheLock: while a step of Apply, a check or a reading
// of counters hangs, all that does not need it goes on.
func TestNothingWaitsForTheNetworkUnderTheLock(t *testing.T) {
	old, next := applyConfigs()
	old.Services[1].Check = Check{Type: worldCheck, Interval: 10 * time.Millisecond}
	apply := func(b *Balancer) error { return b.Apply(context.Background(), onWorld(next)) }
	stats := func(b *Balancer) error { b.Stats(); return nil }
	for name, tt := range map[string]struct {
		step string
		do   func(b *Balancer) error
		// what else hangs
		changes, stats bool
	}{
		"a link probes":              {"Probe world1", apply, true, false},
		"a link is given VIPs":       {"SetVIPs world0", apply, true, false},
		"a port is given its filter": {"SetFilter receiver1", apply, true, false},
		"a route is looked up":       {"route 10.0.0.8", apply, true, false},
		"a next hop is resolved":     {"Resolve 10.0.0.8", apply, true, false},
		"a scheduler is made":        {"scheduler", apply, true, false},
		"a role is taken":            {"Probe world0", func(b *Balancer) error { return b.SetRole(context.Background(), "silent", RoleActive) }, true, false},
		"a link counts":              {"Stats world0", stats, false, true},
		"a port counts":              {"Stats receiver0", stats, false, true},
		"a server is checked":        {"checked", func(*Balancer) error { return nil }, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := old.clone()
			silent := applyService(4, 1)
			silent.Group = "silent"
			cfg.Groups = append(cfg.Groups, Group{Name: "silent", Standby: true})
			cfg.Services = append(cfg.Services, silent)
			w, b := runBed(t, cfg)
			hangs, release, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
			w.on(tt.step, 0, func(context.Context) error {
				close(hangs)
				<-release
				return nil
			})
			go func() { done <- tt.do(b) }()
			within(t, "to come to the step", func() { <-hangs })
			answersAll(t, b, !tt.stats)
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			within(t, "Apply", func() {
				err := b.Apply(ctx, onWorld(cfg))
				if tt.changes && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("another Apply: %v, want %v", err, context.DeadlineExceeded)
				}
			})
			close(release)
			within(t, "what hung", func() { must(t, <-done) })
			answersAll(t, b, true)
			within(t, "Apply", func() { must(t, apply(b)) })
		})
	}
}

// answersAll calls what does not wait.
func answersAll(t *testing.T, b *Balancer, stats bool) {
	t.Helper()
	name := ServerRef{"service 2", "s6"}
	calls := map[string]func(){
		"Health": func() { b.Health() }, "Config": func() { b.Config() }, "Roles": func() { b.Roles() }, "Workers": func() { b.Workers() },
		"SetWeight": func() { must(t, b.SetWeight(name, 2)) }, "Drain": func() { must(t, b.Drain(name, 0)) },
		"Halt": func() { must(t, b.Halt(name)) }, "Activate": func() { must(t, b.Activate(name)) },
		"Connections":       func() { b.Connections(func(Connection) bool { return true }) },
		"Connection":        func() { b.Connection(TCP, applyVIP(1), applyVIP(0)) },
		"DeleteConnections": func() { b.DeleteConnections(ConnectionFilter{}) },
		"DeleteTemplates":   func() { b.DeleteTemplates(ConnectionFilter{}) },
	}
	if stats {
		calls["Stats"] = func() { b.Stats() }
	}
	for name, call := range calls {
		within(t, name, call)
	}
}

// TestGolbEndsWhileAChangeIsUnderWay: Run ends, and has the change fail.
func TestGolbEndsWhileAChangeIsUnderWay(t *testing.T) {
	old, next := applyConfigs()
	w := newWorld()
	b, err := New(onWorld(old), w.env(time.Now))
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ran, applied := make(chan error, 1), make(chan error, 1)
	hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	started := make(chan struct{})
	w.on("Probe world0", 0, func(context.Context) error {
		w.on("Probe world0", 0, func(ctx context.Context) error { cancel(); return hang(ctx) })
		close(started)
		return nil
	})
	go func() { ran <- b.Run(ctx) }()
	within(t, "the start", func() { <-started })
	go func() { applied <- b.Apply(context.Background(), onWorld(next)) }()
	within(t, "Apply", func() {
		if err := <-applied; !errors.Is(err, context.Canceled) {
			t.Errorf("Apply: %v, want %v", err, context.Canceled)
		}
	})
	within(t, "Run", func() { must(t, <-ran) })
	must(t, b.Apply(t.Context(), onWorld(next)))
}

// TestRunReturnsNilWhereItsContextEnds: also before it forwards.
func TestRunReturnsNilWhereItsContextEnds(t *testing.T) {
	old, _ := applyConfigs()
	for name, hang := range map[string]bool{"before": false, "while VIPs are probed": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			b, err := New(onWorld(old), w.env(time.Now))
			must(t, err)
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			if hang {
				w.on("Probe world1", 0, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
			} else {
				<-ctx.Done()
			}
			within(t, "Run", func() { must(t, b.Run(ctx)) })
		})
	}
}
