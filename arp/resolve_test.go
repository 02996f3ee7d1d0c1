package arp

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// told records calls of changed.
type told struct {
	mu    sync.Mutex
	calls []string
}

func (s *told) changed(m [6]byte, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, fmt.Sprintf("%d %t", m[5], ok))
}

func (s *told) want(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := cmp.Diff(want, s.calls); d != "" {
		t.Fatalf("told (-want +got):\n%s", d)
	}
	s.calls = nil
}

func TestResolveTellsOnceAndConfirmsByUnicast(t *testing.T) {
	inLAN(t, func(n *lan, w nums) {
		n.neighbor(w)
		l, p := n.host(Config{}, 1, w.host(1))
		var got told
		start := time.Now()
		defer l.Resolve(w.addr(2), got.changed)()
		got.want(n.t, "2 true")
		if at := p.sent()[0].at; at != start {
			n.t.Errorf("first asked after %s", at.Sub(start))
		}
		time.Sleep(10 * time.Minute)
		got.want(n.t)
		asked := p.sent()
		if !group(asked[0].dst) {
			n.t.Errorf("first request to %x", asked[0].dst)
		}
		for i, q := range asked[1:] {
			gap := q.at.Sub(asked[i].at)
			if q.dst != macOf(2) || gap < 15*time.Second || gap > 25*time.Second {
				n.t.Errorf("request %d after %s to %x", i+1, gap, q.dst)
			}
		}
		if len(asked) < 24 || len(asked) > 41 {
			n.t.Errorf("%d requests in 10 minutes", len(asked))
		}
		if s := l.Stats(); s.Known != 1 || s.Neighbors != 1 || s.RequestsSent != uint64(len(asked)) {
			n.t.Errorf("stats %+v", s)
		}
	})
}

func TestResolveAsksUntilAnswered(t *testing.T) {
	inLAN(t, func(n *lan, w nums) {
		server, _ := n.host(Config{}, 2)
		l, p := n.host(Config{}, 1, w.host(1))
		var got told
		defer l.Resolve(w.addr(2), got.changed)()
		time.Sleep(time.Minute)
		got.want(n.t)
		if c := len(p.sent()); c < 48 || c > 81 {
			n.t.Errorf("%d requests in a minute", c)
		}
		must(n.t, server.SetVIPs(vipsAt(mac{}, w.addr(2))))
		time.Sleep(1250 * time.Millisecond)
		got.want(n.t, "2 true")
	})
}

func TestResolveTellsOfSilenceAndReturn(t *testing.T) {
	inLAN(t, func(n *lan, w nums) {
		server, _ := n.neighbor(w)
		l, p := n.host(Config{}, 1, w.host(1))
		l.do(func(m *machine, _ time.Time) { m.random = func() float64 { return 0.5 } }) // spreads by nothing
		var got told
		defer l.Resolve(w.addr(2), got.changed)()
		got.want(n.t, "2 true")
		must(n.t, server.SetVIPs(nil))
		n.reset()
		time.Sleep(22*time.Second + 999*time.Millisecond) // 20 s, then three requests, 1 s for each
		got.want(n.t)
		time.Sleep(time.Millisecond)
		got.want(n.t, "2 false")
		if q := p.sent(); q[0].dst != macOf(2) || !group(q[1].dst) || !group(q[2].dst) {
			n.t.Error("want one request to the known MAC, then to all")
		}
		must(n.t, server.SetVIPs(vipsAt(mac{}, w.addr(2))))
		time.Sleep(2 * time.Second)
		got.want(n.t, "2 true")
	})
}

func TestResolveLearnsFromRequestsOfTheNeighbor(t *testing.T) {
	inLAN(t, func(n *lan, w nums) {
		l, p := n.host(Config{}, 1, w.host(1))
		must(n.t, p.Join(membership{group: solicitedNode(w.addr(9))}))
		var got told
		defer l.Resolve(w.addr(2), got.changed)()
		got.want(n.t)
		n.inject(request(macOf(2), w.addr(2), w.addr(9), mac{}))
		got.want(n.t, "2 true")
		// It never answers, so it does not hear us.
		time.Sleep(10 * time.Second)
		got.want(n.t, "2 false")
	})
}

func TestResolveWithoutAHostAddressAsksAsAProbe(t *testing.T) {
	inLAN(t, func(n *lan, w nums) {
		n.neighbor(w)
		l, p := n.host(Config{}, 1)
		must(n.t, l.SetVIPs(vipsAt(mac{}, w.addr(100)))) // not to be asked from
		var got told
		defer l.Resolve(w.addr(2), got.changed)()
		time.Sleep(5 * time.Minute)
		got.want(n.t, "2 true")
		for _, q := range p.sent() {
			if !q.probe() {
				n.t.Errorf("asked from %s", q.claimed)
			}
		}
	})
}

func TestStopEndsRequestsAndCalls(t *testing.T) {
	inLAN(t, func(n *lan, w nums) {
		server, _ := n.host(Config{}, 2)
		l, p := n.host(Config{}, 1, w.host(1))
		var got, still told
		stop := l.Resolve(w.addr(2), got.changed)
		stopStill := l.Resolve(w.addr(2), still.changed)
		stop()
		stop()
		must(n.t, server.SetVIPs(vipsAt(mac{}, w.addr(2))))
		time.Sleep(2 * time.Second)
		got.want(n.t)
		still.want(n.t, "2 true")
		var second told
		stopLate := l.Resolve(w.addr(2), second.changed)
		second.want(n.t, "2 true")
		stopLate()
		stopStill()
		n.reset()
		time.Sleep(time.Hour)
		if c := len(p.sent()); c != 0 || l.Stats().Neighbors != 0 {
			n.t.Errorf("%d requests after stop", c)
		}
	})
}

func TestRequestsForHundredsAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lan{t: t}
		server, _ := n.host(Config{}, 2)
		l, p := n.host(Config{}, 1, "10.0.0.1/8")
		var addrs []netip.Addr
		for i := range 500 {
			addrs = append(addrs, netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}))
		}
		must(t, server.SetVIPs(vipsAt(mac{}, addrs...)))
		for _, a := range addrs {
			l.Resolve(a, func([6]byte, bool) {})
		}
		time.Sleep(10 * time.Second)
		if s := l.Stats(); s.Known != 500 {
			t.Fatalf("%d of 500 known", s.Known)
		}
		n.reset()
		time.Sleep(10 * time.Minute)
		perSecond := map[int64]int{}
		for _, q := range p.sent() {
			perSecond[q.at.Unix()]++
		}
		for s, c := range perSecond {
			if c > 100 { // 25 on average, 50 where spread evenly over the 10 s of the first round
				t.Errorf("%d requests in second %d", c, s)
			}
		}
	})
}

func TestLinkUpAsksAtOnce(t *testing.T) {
	inLAN(t, func(n *lan, w nums) {
		n.neighbor(w)
		l, p := n.host(Config{}, 1, w.host(1))
		var got told
		defer l.Resolve(w.addr(2), got.changed)()
		got.want(n.t, "2 true")
		p.set(func(s *state) { s.up = false })
		time.Sleep(time.Minute)
		got.want(n.t, "2 false")
		n.reset()
		p.set(func(s *state) { s.up = true })
		got.want(n.t, "2 true")
		if l.Stats().SendDropped == 0 {
			n.t.Error("frames that were not sent are not counted")
		}
	})
}

func TestSourceOfRequests(t *testing.T) {
	for _, tc := range []struct {
		name, target, want string
		addrs              []string
	}{
		{"same subnet", "192.0.2.9", "192.0.2.1", []string{"198.51.100.1/24", "192.0.2.1/24"}},
		{"any on the interface", "203.0.113.1", "198.51.100.1", []string{"2001:db8::1/64", "198.51.100.1/24", "192.0.2.1/24"}},
		{"none", "192.0.2.9", "0.0.0.0", []string{"2001:db8::1/64"}},
		{"same IPv6 subnet", "2001:db8::9", "2001:db8::1", []string{"192.0.2.1/24", "fe80::1/64", "2001:db8::1/64"}},
		{"link-local to link-local", "fe80::9", "fe80::1", []string{"2001:db8::1/64", "fe80::1/64"}},
		{"link-local rather", "2001:db8:1::9", "fe80::1", []string{"2001:db8::1/64", "fe80::1/64"}},
		{"no IPv6", "2001:db8::9", "::", []string{"192.0.2.1/24"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg, err := Config{Interface: "eth0"}.withDefaults()
			must(t, err)
			m := newMachine(cfg, state{})
			for _, a := range tc.addrs {
				m.link.addrs = append(m.link.addrs, netip.MustParsePrefix(a))
			}
			if got := m.source(netip.MustParseAddr(tc.target)); got.String() != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}
