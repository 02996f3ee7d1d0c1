package arp

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestVIPsAreAnnouncedAsConfigured(t *testing.T) {
	const ms, second = time.Millisecond, time.Second
	for _, tc := range []struct {
		name string
		how  Announcement
		took time.Duration   // Announce
		want []time.Duration // within 20 s
	}{
		{"as keepalived does by default", Announcement{}, 5 * second, []time.Duration{0, 0, 0, 0, 0, 5 * second, 5 * second, 5 * second, 5 * second, 5 * second}},
		{"in one burst", Announcement{Repeat: 2, Delay: -1}, 0, []time.Duration{0, 0}},
		{"with an interval", Announcement{Repeat: 2, Interval: 300 * ms, Delay: second}, 1300 * ms, []time.Duration{0, 300 * ms, second, 1300 * ms}},
		{"a second burst that is due before the first has ended", Announcement{Repeat: 2, Interval: 3 * second, Delay: second}, 6 * second,
			[]time.Duration{0, 3 * second, 3 * second, 6 * second}},
		{"again and again", Announcement{Repeat: 1, Delay: -1, Refresh: 8 * second}, 0, []time.Duration{0, 8 * second, 16 * second}},
		{"again and again, twice each", Announcement{Repeat: 1, Delay: -1, Refresh: 8 * second, RefreshRepeat: 2, Interval: 500 * ms}, 0,
			[]time.Duration{0, 8 * second, 8500 * ms, 16500 * ms, 17 * second}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inLAN(t, func(n *lan, w nums) {
				l, p := n.host(Config{}, 1)
				must(n.t, l.SetVIPs([]VIP{{Addr: w.addr(100), Announce: tc.how}, {Addr: w.addr(101)}}))
				start := time.Now()
				must(n.t, l.Announce(n.t.Context(), w.addr(100)))
				if took := time.Since(start); took != tc.took {
					n.t.Errorf("Announce took %s, want %s", took, tc.took)
				}
				time.Sleep(20*time.Second - tc.took)
				each := len(announcement(macOf(1), w.addr(100)))
				var got []time.Duration
				for i, h := range p.announcements() {
					if h.claimed != w.addr(100) {
						n.t.Errorf("%+v", h)
					}
					if i%each == 0 {
						got = append(got, h.at.Sub(start))
					}
				}
				if !slices.Equal(got, tc.want) {
					n.t.Errorf("announced after %v, want %v", got, tc.want)
				}
				if a := l.Stats().AnnouncementsSent; a != uint64(len(tc.want)) {
					n.t.Errorf("%d counted", a)
				}
			})
		})
	}
}

// TestAnnouncementsAreLimitedInRate: however many VIPs there are, each gets all of its own.
func TestAnnouncementsAreLimitedInRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lan{t: t}
		l, p := n.host(Config{}, 1)
		const count = 1000
		var vips []VIP
		var addrs []netip.Addr
		for i := range count {
			a := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
			vips, addrs = append(vips, VIP{Addr: a, Announce: Announcement{Delay: -1}}), append(addrs, a)
		}
		must(t, l.SetVIPs(vips))
		start := time.Now()
		must(t, l.Announce(t.Context(), addrs...))
		frames, each, atOnce := map[netip.Addr]int{}, len(announcement(macOf(1), v4.addr(100))), 0
		for _, h := range p.announcements() {
			frames[h.claimed]++
			if h.at.Equal(start) {
				atOnce++
			}
		}
		for _, a := range addrs {
			if frames[a] != 5*each {
				t.Errorf("%s: %d frames, want %d", a, frames[a], 5*each)
			}
		}
		if atOnce > 1000*each {
			t.Errorf("%d frames at once, want at most %d", atOnce, 1000*each)
		}
		if took := time.Since(start); took != 4*time.Second {
			t.Errorf("5,000 announcements took %s, want 4 s: 1,000 at once and 1,000 a second", took)
		}
	})
}

func TestAnnouncementsAreOnTheWireWhenAnnounceReturns(t *testing.T) {
	inLAN(t, func(n *lan, w nums) {
		l, p := n.host(Config{}, 1)
		var vips []VIP
		var addrs []netip.Addr
		for i := range 250 {
			a := w.addr(byte(i) + 1)
			vips, addrs = append(vips, VIP{Addr: a, Announce: Announcement{Repeat: 1, Delay: -1}}), append(addrs, a)
		}
		must(n.t, l.SetVIPs(vips))
		must(n.t, l.Announce(n.t.Context(), addrs...))
		must(n.t, l.Close())
		if got, want := len(p.announcements()), 250*len(announcement(macOf(1), w.addr(1))); got != want {
			n.t.Errorf("%d frames sent, want %d", got, want)
		}
	})
}

func TestAnnounceOfAnotherAddressIsAnError(t *testing.T) {
	inLAN(t, func(n *lan, w nums) {
		l, p := n.host(Config{}, 1)
		err := l.Announce(n.t.Context(), w.addr(100))
		if err == nil || !strings.HasPrefix(err.Error(), "arp: announce "+w.addr(100).String()+" on eth0: ") {
			n.t.Errorf("got %v", err)
		}
		if len(p.announcements()) != 0 {
			n.t.Error("announced all the same")
		}
	})
}

func TestWithdrawnVIPIsAnnouncedNoMore(t *testing.T) {
	inLAN(t, func(n *lan, w nums) {
		l, p := n.host(Config{}, 1)
		must(n.t, l.SetVIPs(vipsAt(mac{}, w.addr(100))))
		end := make(chan error, 1)
		go func() { end <- l.Announce(n.t.Context(), w.addr(100)) }()
		synctest.Wait()
		must(n.t, l.SetVIPs(nil))
		if err := <-end; !errors.Is(err, errWithdrawn) {
			n.t.Errorf("got %v", err)
		}
		n.reset()
		time.Sleep(time.Minute)
		if len(p.announcements()) != 0 {
			n.t.Error("announced after it was withdrawn")
		}
	})
}

func TestLinkThatIsBackIsAnnouncedOn(t *testing.T) {
	inLAN(t, func(n *lan, w nums) {
		l, p := n.host(Config{}, 1)
		must(n.t, l.SetVIPs(vipsAt(mac{}, w.addr(100))))
		want := func(m mac) {
			n.t.Helper()
			time.Sleep(10 * time.Second)
			sent := p.announcements()
			if len(sent) != 10*len(announcement(m, w.addr(100))) {
				n.t.Errorf("%d frames", len(sent))
			}
			for _, h := range sent {
				if h.mac != m || h.src != m {
					n.t.Errorf("announced at %x from %x, want %x", h.mac, h.src, m)
				}
			}
			n.reset()
		}
		p.set(func(s *state) { s.up = false })
		p.set(func(s *state) { s.up = true })
		want(macOf(1))
		p.set(func(s *state) { s.mac = macOf(7) })
		want(macOf(7))
		p.set(func(s *state) { s.moved = true }) // a bond's other port
		want(macOf(7))
		p.set(func(s *state) { s.addrs, s.moved = []netip.Prefix{netip.MustParsePrefix(w.host(1))}, false })
		time.Sleep(10 * time.Second)
		if len(p.announcements()) != 0 {
			n.t.Error("announced for a new host address")
		}
	})
}

// TestPortThatPassesFramesAgainIsAnnouncedOn: spanning tree or LACP keeps frames from both
// sides while the link is up all the time, and nobody says when that ends.
func TestPortThatPassesFramesAgainIsAnnouncedOn(t *testing.T) {
	inLAN(t, func(n *lan, w nums) {
		_, server := n.neighbor(w)
		l, p := n.host(Config{}, 1, w.host(1))
		block := func(on bool) {
			n.mu.Lock()
			defer n.mu.Unlock()
			p.deaf, server.deaf = on, on
		}
		announced := func(when string, want uint64) {
			n.t.Helper()
			if got := l.Stats().AnnouncementsSent; got != want {
				n.t.Errorf("%s: %d announcements, want %d", when, got, want)
			}
		}
		block(true)
		must(n.t, l.SetVIPs(vipsAt(mac{}, w.addr(100))))
		must(n.t, l.Announce(n.t.Context(), w.addr(100)))
		time.Sleep(25 * time.Second)
		announced("blocked from the start", 10)
		block(false)
		n.inject(announcement(macOf(3), w.addr(3))[0]) // of a router
		time.Sleep(10 * time.Second)
		announced("open", 20)

		defer l.Resolve(w.addr(2), func([6]byte, bool) {})()
		defer l.Resolve(w.addr(99), func([6]byte, bool) {})() // there is none
		time.Sleep(time.Hour)
		announced("one neighbor of two answers", 20)
		block(true)
		time.Sleep(time.Minute)
		announced("blocked later", 20)
		block(false)
		time.Sleep(time.Minute)
		announced("open again", 30)
	})
}

func TestRunEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lan{t: t}
		l, p := unstarted(t, n)
		ctx, cancel := context.WithCancel(t.Context())
		end := make(chan error, 1)
		go func() { end <- l.Run(ctx) }()
		synctest.Wait()
		cancel()
		must(t, <-end)
		select {
		case <-p.closed:
		default:
			t.Error("sockets are open")
		}
		if err := l.Run(t.Context()); err == nil {
			t.Error("ran twice")
		}
	})
}

func TestRunSaysWhyTheInterfaceIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lan{t: t}
		l, p := unstarted(t, n)
		end := make(chan error, 1)
		go func() { end <- l.Run(t.Context()) }()
		p.gone = errors.New("gone")
		p.states <- state{}
		if err := <-end; !errors.Is(err, p.gone) || err.Error() != "arp: eth0: gone" {
			t.Errorf("got %v", err)
		}
	})
}

func TestCallsBeforeRunTakeEffectInIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lan{t: t}
		n.neighbor(v4)
		l, _ := unstarted(t, n)
		var got told
		defer l.Resolve(v4.addr(2), got.changed)()
		end := make(chan error, 1)
		go func() { end <- l.Probe(t.Context(), v4.addr(100)) }()
		time.Sleep(time.Hour)
		ran := make(chan error, 1)
		go func() { ran <- l.Run(t.Context()) }()
		must(t, <-end)
		got.want(t, "2 true")
		must(t, l.Close())
		must(t, <-ran)
	})
}

func TestCallbacksMayUseTheLink(t *testing.T) {
	inLAN(t, func(n *lan, w nums) {
		n.neighbor(w)
		l, _ := n.host(Config{}, 1, w.host(1))
		called := make(chan error, 1)
		l.Resolve(w.addr(2), func([6]byte, bool) {
			l.Stats()
			called <- l.SetVIPs(vipsAt(mac{}, w.addr(100)))
		})
		must(n.t, <-called)
	})
}

// unstarted is a link at MAC 1 that nobody runs yet.
func unstarted(t *testing.T, n *lan) (*Link, *port) {
	t.Helper()
	p := n.port(1, v4.host(1))
	cfg, err := Config{Interface: "eth0"}.withDefaults()
	must(t, err)
	return newLink(cfg, p, p.state), p
}
