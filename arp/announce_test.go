package arp

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestAnnounceIsHeardAsOftenAsConfigured(t *testing.T) {
	inLAN(t, func(n *lan, w nums) {
		l, p := n.host(Config{}, 1)
		must(n.t, l.SetVIPs(vipsAt(mac{}, w.addr(100), w.addr(101), w.addr(102))))
		start := time.Now()
		must(n.t, l.Announce(n.t.Context(), w.addr(100), w.addr(101)))
		if took := time.Since(start); took != 2*time.Second {
			n.t.Errorf("took %s", took)
		}
		count := map[netip.Addr]int{}
		for _, h := range p.sent() {
			if !h.override || !group(h.dst) || h.at.Sub(start)%time.Second != 0 {
				n.t.Errorf("%+v", h)
			}
			count[h.claimed]++
		}
		each := 3 * len(announcement(macOf(1), w.addr(100)))
		if count[w.addr(100)] != each || count[w.addr(101)] != each || len(count) != 2 {
			n.t.Errorf("%v, want %d each", count, each)
		}
		if a := l.Stats().AnnouncementsSent; a != 6 {
			n.t.Errorf("%d counted", a)
		}
	})
}

func TestAnnouncementsAreOnTheWireWhenAnnounceReturns(t *testing.T) {
	inLAN(t, func(n *lan, w nums) {
		l, p := n.host(Config{AnnounceCount: 1}, 1)
		var vips []netip.Addr
		for i := range 250 {
			vips = append(vips, w.addr(byte(i)+1))
		}
		must(n.t, l.SetVIPs(vipsAt(mac{}, vips...)))
		must(n.t, l.Announce(n.t.Context(), vips...))
		must(n.t, l.Close())
		if got, want := len(p.sent()), 250*len(announcement(macOf(1), w.addr(1))); got != want {
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
		if len(p.sent()) != 0 {
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
		if len(p.sent()) != 0 {
			n.t.Error("announced after it was withdrawn")
		}
	})
}

func TestLinkUpAndNewMACAreAnnounced(t *testing.T) {
	inLAN(t, func(n *lan, w nums) {
		l, p := n.host(Config{}, 1)
		must(n.t, l.SetVIPs(vipsAt(mac{}, w.addr(100))))
		want := func(m mac) {
			n.t.Helper()
			time.Sleep(10 * time.Second)
			sent := p.sent()
			if len(sent) != 3*len(announcement(m, w.addr(100))) {
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
		p.set(func(s *state) { s.addrs = []netip.Prefix{netip.MustParsePrefix(w.host(1))} })
		time.Sleep(10 * time.Second)
		if len(p.sent()) != 0 {
			n.t.Error("announced for a new host address")
		}
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
