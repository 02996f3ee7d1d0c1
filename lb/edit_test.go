package lb

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"
)

// TestApplyingWhatRunsChangesNothing: what was set at run time is in Config, and a
// balancer that gets it goes on as one that does not.
func TestApplyingWhatRunsChangesNothing(t *testing.T) {
	for _, scheduler := range []string{"rr", "wrr", "wlc", "lc", "mh", "sh", "lblc", "sed"} {
		t.Run(scheduler, func(t *testing.T) {
			cfg := Config{Services: []Service{applyService(0, 1, 2, 3), applyService(1, 4), applyService(2, 5, 6)}}
			cfg.Services[0].Scheduler = scheduler
			x, twin := newBed(t, cfg), newBed(t, cfg)
			for _, x := range []*bed{x, twin} {
				must(t, x.b.SetWeight(ServerRef{"service 0", "s2"}, 3))
				must(t, x.b.SetWeight(ServerRef{"service 0", "s3"}, 0))
				must(t, x.b.Drain(ServerRef{"service 2", "s5"}, time.Minute))
				must(t, x.b.Halt(ServerRef{"service 1", "s4"}))
			}
			same(t, "before", x, twin, 0)
			got := x.b.Config()
			if w := got.Services[0].Servers[1].Weight; w == nil || *w != 3 {
				t.Errorf("weight %v, want 3", w)
			}
			if s := got.Services[2].Servers[0].State; s != StateDrain {
				t.Errorf("state %q, want %q", s, StateDrain)
			}
			for round := range 3 {
				must(t, x.b.Apply(t.Context(), x.b.Config()))
				same(t, "after Apply", x, twin, round+1)
			}
			for _, x := range []*bed{x, twin} {
				x.advance(ticksPerSecond * 61)
				x.b.updateDrains()
				must(t, x.b.Apply(t.Context(), x.b.Config()))
				x.b.updateDrains()
			}
			same(t, "after the drain", x, twin, 4)
			drained := func(x *bed) (n int) {
				for _, e := range x.world.events {
					if e.Kind == EventDrained {
						n++
					}
				}
				return n
			}
			if drained(x) != 1 || drained(twin) != 1 {
				t.Errorf("the end of the drain was told %d and %d times", drained(x), drained(twin))
			}
		})
	}
}

// TestConfigsAreTheirOwners: writing to a config that was applied, or read, changes
// nothing.
func TestConfigsAreTheirOwners(t *testing.T) {
	cfg := onWorld(Config{Services: []Service{applyService(0, 1)}})
	cfg.Services[0].Servers[0].Weight = new(2)
	x := newBed(t, cfg)
	spoil := func(cfg *Config) {
		cfg.Interfaces[0], cfg.Services[0].Name = "spoiled", "spoiled"
		*cfg.Services[0].Servers[0].Weight = 9
	}
	want := x.b.Config()
	spoil(&cfg)
	read := x.b.Config()
	spoil(&read)
	next := x.b.Config()
	must(t, x.b.Apply(t.Context(), next))
	spoil(&next)
	if got := x.b.Config(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// edits are the ways to change one thing, and what Apply does for it.
func edits() map[string]edit {
	web, weight := applyService(0, 1, 2), Server{Name: "s2", Address: rigServer(2), Weight: new(4)}
	web.Servers[1] = weight
	return map[string]edit{
		"add service": {
			func(ctx context.Context, b *Balancer) error { return b.AddService(ctx, applyService(3, 8, 9)) },
			func(c *Config) { c.Services = append(c.Services, applyService(3, 8, 9)) },
		},
		"edit service": {
			func(ctx context.Context, b *Balancer) error { return b.EditService(ctx, "service 2", web2()) },
			func(c *Config) { c.Services[2] = web2() },
		},
		"remove service": {
			func(ctx context.Context, b *Balancer) error { return b.RemoveService(ctx, "service 1") },
			func(c *Config) { c.Services = append(c.Services[:1], c.Services[2]) },
		},
		"add server": {
			func(ctx context.Context, b *Balancer) error {
				return b.AddServer(ctx, "service 1", Server{Name: "s9", Address: rigServer(9)})
			},
			func(c *Config) {
				c.Services[1].Servers = append(c.Services[1].Servers, Server{Name: "s9", Address: rigServer(9)})
			},
		},
		"edit server": {
			func(ctx context.Context, b *Balancer) error {
				return b.EditServer(ctx, ServerRef{"service 0", "s2"}, weight)
			},
			func(c *Config) { c.Services[0].Servers[1] = weight },
		},
		"remove server": {
			func(ctx context.Context, b *Balancer) error {
				return b.RemoveServer(ctx, ServerRef{"service 0", "s1"})
			},
			func(c *Config) { c.Services[0].Servers = c.Services[0].Servers[1:] },
		},
	}
}

// web2 is service 2 with another scheduler and one server less.
func web2() Service {
	s := applyService(2, 6)
	s.Scheduler = "wlc"
	return s
}

type edit struct {
	do    func(context.Context, *Balancer) error
	apply func(*Config)
}

func TestEditsDoWhatApplyDoes(t *testing.T) {
	cfg := onWorld(Config{Services: []Service{applyService(0, 1, 2, 3), applyService(1, 4), applyService(2, 5, 6)}})
	for name, tt := range edits() {
		t.Run(name, func(t *testing.T) {
			x, twin := newBed(t, cfg), newBed(t, cfg)
			for _, x := range []*bed{x, twin} { // what edits are to leave
				must(t, x.b.SetWeight(ServerRef{"service 0", "s3"}, 2))
				must(t, x.b.Drain(ServerRef{"service 2", "s6"}, time.Minute))
			}
			same(t, "before", x, twin, 0)
			canceled, cancel := context.WithCancel(t.Context())
			cancel()
			if err := tt.do(canceled, x.b); !errors.Is(err, context.Canceled) {
				t.Errorf("canceled: %v", err)
			}
			for _, step := range []string{"SetFilter receiver1", "SetVIPs world1"} {
				x.world.on(step, 0, func(context.Context) error { return errStep })
				if err := tt.do(t.Context(), x.b); !errors.Is(err, errStep) {
					t.Errorf("%s: %v, want %v", step, err, errStep)
				}
			}
			same(t, "after it failed", x, twin, 1)
			must(t, tt.do(t.Context(), x.b))
			next := cfg.clone()
			tt.apply(&next)
			must(t, twin.b.Apply(t.Context(), next))
			same(t, "after it", x, twin, 2)
		})
	}
}

func TestEditsOfWhatIsNotThereFail(t *testing.T) {
	x := newBed(t, Config{Services: []Service{applyService(0, 1)}})
	want := x.report()
	ctx, server := t.Context(), Server{Address: rigServer(2)}
	for name, tt := range map[string]struct {
		err, want error
	}{
		"edit service":              {x.b.EditService(ctx, "none", applyService(0, 1)), ErrNoService},
		"remove service":            {x.b.RemoveService(ctx, "none"), ErrNoService},
		"add server":                {x.b.AddServer(ctx, "none", server), ErrNoService},
		"edit server of no service": {x.b.EditServer(ctx, ServerRef{"none", "s1"}, server), ErrNoService},
		"edit server":               {x.b.EditServer(ctx, ServerRef{"service 0", "none"}, server), ErrNoServer},
		"remove server":             {x.b.RemoveServer(ctx, ServerRef{"service 0", "none"}), ErrNoServer},
	} {
		if !errors.Is(tt.err, tt.want) {
			t.Errorf("%s: %v, want %v", name, tt.err, tt.want)
		}
	}
	var mistakes ConfigErrors
	if err := x.b.AddService(ctx, applyService(0, 1)); !errors.As(err, &mistakes) {
		t.Errorf("a service twice: %v, want mistakes of the config", err)
	}
	if err := x.b.AddServer(ctx, "service 0", Server{Address: rigServer(1)}); !errors.As(err, &mistakes) {
		t.Errorf("a server twice: %v, want mistakes of the config", err)
	}
	if got := x.report(); !reflect.DeepEqual(got, want) {
		t.Errorf("after it:\n%+v, want\n%+v", got, want)
	}
}
