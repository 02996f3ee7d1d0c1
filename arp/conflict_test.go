package arp

import (
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestConflictsAreToldWhenTheyBeginAndEnd(t *testing.T) {
	inLAN(t, func(n *lan, w nums) {
		told := make(chan Conflict, 10)
		l, p := n.host(Config{OnConflict: func(c Conflict) { told <- c }}, 1, w.host(1))
		must(n.t, l.SetVIPs(vipsAt(mac{}, w.addr(100))))
		want := Conflict{VIP: w.addr(100), MAC: macOf(9), Interface: "eth0", OnLink: true}
		for range 95 { // in 95 s, 100 ms into each
			time.Sleep(time.Second)
			n.inject(announcement(macOf(9), w.addr(100))[0])
		}
		if len(told) != 1 || <-told != want {
			n.t.Fatal("the begin of the conflict is not told, or not once")
		}
		defenses := 0
		for _, h := range p.sent() {
			if h.claimed == w.addr(100) {
				defenses++
			}
		}
		if want := 10 * len(announcement(macOf(1), w.addr(100))); defenses != want {
			n.t.Errorf("%d frames in defense, want %d", defenses, want)
		}
		if c := l.Stats().Conflicts; c != 95 {
			n.t.Errorf("%d conflicts counted", c)
		}
		silent := time.Now()
		want.Ended = true
		if got := <-told; got != want {
			n.t.Errorf("told %+v, want %+v", got, want)
		}
		if took := time.Since(silent); took < 2*conflictInterval || took > 4*conflictInterval {
			n.t.Errorf("ended after %s of silence", took)
		}
		n.inject(announcement(macOf(9), w.addr(100))[0])
		want.Ended = false
		if got := <-told; got != want {
			n.t.Errorf("told %+v, want %+v", got, want)
		}
	})
}

// TestHostThatAnswersForAVIPIsAConflict: as a DSR server without arp_ignore, which claims
// nothing unasked.
func TestHostThatAnswersForAVIPIsAConflict(t *testing.T) {
	inLAN(t, func(n *lan, w nums) {
		told := make(chan Conflict, 10)
		l, _ := n.host(Config{OnConflict: func(c Conflict) { told <- c }}, 1, w.host(1))
		must(n.t, l.SetVIPs(vipsAt(mac{}, w.addr(100))))
		server, _ := n.host(Config{}, 9, w.host(9))
		shared := []VIP{{Addr: w.addr(100), Shared: true}}
		must(n.t, server.SetVIPs(shared))
		time.Sleep(2 * verifyInterval)
		if len(told) != 1 {
			n.t.Fatalf("told %d times in 2 min", len(told))
		}
		if c := <-told; c.MAC != macOf(9) || c.Ended {
			n.t.Errorf("told %+v", c)
		}
		time.Sleep(time.Hour) // it answers whenever it is asked
		if len(told) != 0 {
			n.t.Errorf("told %+v while it goes on", <-told)
		}
		must(n.t, server.SetVIPs(nil))
		time.Sleep(time.Minute)
		if len(told) != 1 || !(<-told).Ended {
			n.t.Error("its end is not told")
		}
	})
}

func TestSharedVIPIsNeitherDefendedNorAskedFor(t *testing.T) {
	inLAN(t, func(n *lan, w nums) {
		l, p := n.host(Config{OnConflict: func(c Conflict) { n.t.Errorf("conflict %+v", c) }}, 1, w.host(1))
		must(n.t, l.SetVIPs([]VIP{{Addr: w.addr(100), Shared: true}}))
		n.inject(announcement(macOf(9), w.addr(100))[0])
		time.Sleep(10 * verifyInterval)
		if s := l.Stats(); s.Conflicts != 1 || s.DefensesSent != 0 || len(p.sent()) != 0 {
			n.t.Errorf("sent %+v, stats %+v", p.sent(), s)
		}
		if p.answers(w.addr(100)) != macOf(1) {
			n.t.Error("not answered for")
		}
	})
}

func TestConflictsOfAVIPAreBounded(t *testing.T) {
	inLAN(t, func(n *lan, w nums) {
		told := make(chan Conflict, 1000)
		l, _ := n.host(Config{OnConflict: func(c Conflict) { told <- c }}, 1, w.host(1))
		must(n.t, l.SetVIPs(vipsAt(mac{}, w.addr(100))))
		for i := range 200 {
			n.inject(announcement(macOf(byte(i+10)), w.addr(100))[0])
		}
		if len(told) != maxClaimants || l.Stats().Conflicts != 200 {
			n.t.Errorf("told %d, stats %+v", len(told), l.Stats())
		}
		must(n.t, l.SetVIPs(nil)) // ends them without a word
		time.Sleep(time.Hour)
		if len(told) != maxClaimants {
			n.t.Errorf("told %d", len(told))
		}
	})
}

func TestConflictsThatNobodyIsToldAreLogged(t *testing.T) {
	inLAN(t, func(n *lan, w nums) {
		var log strings.Builder
		l, _ := n.host(Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}, 1, w.host(1))
		must(n.t, l.SetVIPs(vipsAt(mac{}, w.addr(100))))
		n.inject(announcement(macOf(9), w.addr(100))[0])
		time.Sleep(time.Minute)
		synctest.Wait()
		for _, want := range []string{"another host claims a VIP\"", "another host claims a VIP no longer"} {
			if strings.Count(log.String(), want) != 1 {
				n.t.Errorf("%q is not there once:\n%s", want, log.String())
			}
		}
		if c := strings.Count(log.String(), "mac=02:00:00:00:00:09"); c != 2 {
			n.t.Errorf("%d lines with the MAC:\n%s", c, log.String())
		}
	})
}

func TestOnLink(t *testing.T) {
	for _, tc := range []struct {
		vip   string
		addrs []string
		want  bool
	}{
		{"10.1.0.100", []string{"10.1.0.2/24"}, true},
		{"203.0.113.5", []string{"10.1.0.2/24"}, false},
		{"203.0.113.5", []string{"10.1.0.2/24", "203.0.113.1/28"}, true},
		{"203.0.113.5", []string{"203.0.113.1/32"}, false}, // clouds
		{"203.0.113.5", nil, true},
		{"203.0.113.5", []string{"2001:db8::1/64"}, true},
		{"2001:db8::100", []string{"2001:db8::1/64", "fe80::1/64"}, true},
		{"2001:db8:9::100", []string{"2001:db8::1/64", "fe80::1/64"}, false},
		{"2001:db8:9::100", []string{"fe80::1/64"}, true},
		{"2001:db8::100", []string{"2001:db8::1/128", "fe80::1/64"}, true}, // DHCPv6
		{"fe80::100", []string{"2001:db8::1/64", "fe80::1/64"}, true},
	} {
		m := &machine{}
		for _, a := range tc.addrs {
			m.link.addrs = append(m.link.addrs, netip.MustParsePrefix(a))
		}
		if got := m.onLink(netip.MustParseAddr(tc.vip)); got != tc.want {
			t.Errorf("%s on %v: %t, want %t", tc.vip, tc.addrs, got, tc.want)
		}
	}
}

func TestQuestionsForOwnVIPsAreLimitedInRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lan{t: t}
		l, p := n.host(Config{}, 1, v4.host(1))
		var vips []VIP
		for i := range 5000 {
			vips = append(vips, VIP{Addr: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})})
		}
		must(t, l.SetVIPs(vips))
		time.Sleep(5 * time.Minute)
		asked := map[netip.Addr]bool{}
		for _, h := range p.sent() {
			asked[h.asked] = true
		}
		if sent := l.Stats().VerificationsSent; sent > 20+20*5*60 || len(asked) < 2000 {
			t.Errorf("%d questions, for %d VIPs", sent, len(asked))
		}
		if slices.ContainsFunc(p.sent(), func(h sentFrame) bool { return h.claimed != v4.addr(1) }) {
			t.Error("asked in another name than the host's")
		}
	})
}
