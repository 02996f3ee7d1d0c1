package arp

import (
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// floodAddr is one of many addresses.
func floodAddr(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
}

func TestBudgetAllowsABurstAndThenARate(t *testing.T) {
	b := budget{interval: time.Second, burst: 3}
	for i, tc := range []struct {
		wait time.Duration
		n    int
		want bool
	}{
		{0, 1, true}, {0, 1, true}, {0, 1, true}, {0, 1, false}, {999 * time.Millisecond, 1, false}, {time.Second, 1, true},
		{time.Second, 1, false}, {time.Hour, 1, true}, {time.Hour, 3, true}, {time.Hour, 1, false},
		{time.Hour + time.Second, 1, false}, {time.Hour + 2*time.Second, 1, true},
	} {
		if got := b.take(epoch.Add(tc.wait), tc.n); got != tc.want {
			t.Errorf("%d: take %d after %s: %t", i, tc.n, tc.wait, got)
		}
	}
}

func TestLogLinesThatPacketsCauseAreLimited(t *testing.T) {
	var log strings.Builder
	m, _ := newTestMachine(t)
	m.log = slog.New(slog.NewTextHandler(&log, nil))
	for i := range 100 {
		m.logLimited(&m.logs.silent, epoch.Add(time.Duration(i)*time.Millisecond), slog.LevelWarn, "silent")
	}
	if c := strings.Count(log.String(), "\n"); c != 10 || strings.Contains(log.String(), "omitted") {
		t.Errorf("%d lines:\n%s", c, log.String())
	}
	log.Reset()
	m.logLimited(&m.logs.silent, epoch.Add(10*time.Second), slog.LevelWarn, "silent")
	if !strings.Contains(log.String(), "omitted=90") {
		t.Errorf("log:\n%s", log.String())
	}
	log.Reset()
	m.logLimited(&m.logs.silent, epoch.Add(20*time.Second), slog.LevelWarn, "silent")
	if log.Len() == 0 || strings.Contains(log.String(), "omitted") {
		t.Errorf("log:\n%s", log.String())
	}
}

// A scan of addresses that no host has may make its victim resolve them all.
func TestRequestsForAddressesThatNoHostHasAreBounded(t *testing.T) {
	const scanned, resolved, seconds = 8000, 300, 20
	f := newFloodLAN(t, resolved)
	f.until(f.now.Add(time.Minute)) // their confirmations are spread by now
	f.asked = 0
	dead := map[netip.Addr]bool{}
	for i := range scanned {
		a := netip.AddrFrom4([4]byte{172, 16, byte(i >> 8), byte(i)})
		dead[a] = true
		f.m.resolve(a, &subscriber{changed: func([6]byte, bool) {}}, f.now)
	}
	before := f.m.stats
	f.until(f.now.Add(time.Second))
	if c := f.m.stats.RequestsSent - before.RequestsSent; c > 1000+500+200+200+resolved {
		t.Errorf("%d requests in the first second", c)
	}
	f.until(f.now.Add(scanned / 500 * time.Second)) // until each was asked for once
	if f.asked < resolved*scanned/500/25 {
		t.Errorf("%d confirmations of %d neighbors meanwhile", f.asked, resolved)
	}
	before = f.m.stats
	f.asked = 0
	f.until(f.now.Add(seconds * time.Second))
	if c := f.m.stats.RequestsSent - before.RequestsSent - uint64(f.asked); c > 201*seconds {
		t.Errorf("%d requests in %d s for addresses that no host has", c, seconds)
	}
	if f.asked < resolved*seconds/25 || f.m.stats.NeighborsLost != 0 {
		t.Errorf("%d confirmations of %d neighbors in %d s, %d lost", f.asked, resolved, seconds, f.m.stats.NeighborsLost)
	}
	if f.m.stats.RequestsPostponed == 0 {
		t.Error("none postponed")
	}
	if lines := strings.Count(f.log.String(), "\n"); lines > 20 {
		t.Errorf("%d log lines", lines)
	}
	// Others that are there are found at once.
	for i := range 100 {
		f.m.resolve(floodAddr(resolved+i), &subscriber{changed: func([6]byte, bool) {}}, f.now)
	}
	f.until(f.now)
	for i := range 100 {
		if !f.m.neighbors[floodAddr(resolved+i)].valid {
			t.Fatalf("host %d is not found at once", i)
		}
	}
	for a := range dead {
		if f.m.neighbors[a].valid {
			t.Fatalf("%s is known", a)
		}
	}
}
