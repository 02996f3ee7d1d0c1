package lb

import (
	"net/netip"
	"testing"
	"time"

	"github.com/golb/golb/health"
)

func TestFailedServersAreTakenOutOrQuiescent(t *testing.T) {
	for _, quiescent := range []bool{false, true} {
		cfg := Config{Interfaces: []string{"wire0"}, MaxConnections: minConnections, Services: []Service{{
			VIP: netip.MustParseAddr("192.0.2.80"), Port: 80, Quiescent: quiescent,
			Servers: []Server{{Address: netip.MustParseAddr("10.0.0.1"), Weight: new(50)}},
		}}}
		b, err := New(withoutFirstChecks(cfg), Env{})
		if err != nil {
			t.Fatal(err)
		}
		b.watchLocked()
		s := b.serversLocked()[0]
		key := s.checks[0].key
		for range 3 {
			b.onCheckEvent(health.Event{Key: key, State: health.Down})
			if s.dp.Gone() == quiescent || quiescent && s.dp.Weight() != 0 {
				t.Errorf("quiescent %v: failed: gone %v, weight %d", quiescent, s.dp.Gone(), s.dp.Weight())
			}
			b.onCheckEvent(health.Event{Key: key, State: health.Up})
			if s.dp.Gone() || s.dp.Weight() != 50 {
				t.Errorf("quiescent %v: back: gone %v, weight %d", quiescent, s.dp.Gone(), s.dp.Weight())
			}
		}
	}
}

func TestSlowStartRaisesTheWeightWithTime(t *testing.T) {
	now := time.Unix(1e9, 0)
	cfg := Config{Interfaces: []string{"wire0"}, MaxConnections: minConnections, Services: []Service{{
		VIP: netip.MustParseAddr("192.0.2.80"), Port: 80, SlowStart: 100 * time.Second,
		Servers: []Server{{Address: netip.MustParseAddr("10.0.0.1"), Weight: new(50)}},
	}}}
	b, err := New(withoutFirstChecks(cfg), Env{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	b.watchLocked()
	weight := func() int {
		b.updateDrains()
		return b.Stats().Services[0].Servers[0].Weight
	}
	if got := weight(); got != 50 {
		t.Errorf("before any failure: weight %d, want 50", got)
	}
	key := b.serversLocked()[0].checks[0].key
	b.onCheckEvent(health.Event{Key: key, State: health.Down})
	b.onCheckEvent(health.Event{Key: key, State: health.Up})
	for _, step := range []struct {
		elapsed time.Duration
		want    int
	}{{0, 1}, {10 * time.Second, 5}, {50 * time.Second, 25}, {99 * time.Second, 49}, {100 * time.Second, 50}, {time.Hour, 50}} {
		now = time.Unix(1e9, 0).Add(step.elapsed)
		if got := weight(); got != step.want {
			t.Errorf("%v after it came back: weight %d, want %d", step.elapsed, got, step.want)
		}
	}
}
