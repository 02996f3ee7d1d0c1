package lb

import (
	"context"
	"errors"
	"net/netip"
	"testing"
)

func TestWhatStaysUntilTheNextStart(t *testing.T) {
	cfg := Config{Workers: 1, MaxConnections: minConnections, Services: []Service{{
		VIP: crowdVIP.Addr(), Port: 80, Check: Check{Type: "none"}, Servers: []Server{{Address: netip.MustParseAddr("10.0.0.1")}},
	}}}
	r := newRig(t, cfg)
	running := r.b.Config()
	for path, change := range map[string]func(*Config){
		"interfaces":      func(c *Config) { c.Interfaces = []string{"rig0", "rig1"} },
		"workers":         func(c *Config) { c.Workers = 2 },
		"cpus":            func(c *Config) { c.CPUs = []int{0} },
		"busy_poll":       func(c *Config) { c.BusyPoll = true },
		"max_connections": func(c *Config) { c.MaxConnections = 2 * minConnections },
	} {
		changed := running
		change(&changed)
		var mistakes ConfigErrors
		if err := r.b.Apply(context.Background(), changed); !errors.As(err, &mistakes) || len(mistakes) != 1 || mistakes[0].Path != path {
			t.Errorf("%s changed: %v", path, err)
		}
	}
	if err := r.b.Apply(context.Background(), running); err != nil {
		t.Errorf("nothing changed: %v", err)
	}
}
