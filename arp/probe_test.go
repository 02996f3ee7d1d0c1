package arp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestProbeNamesTheHostThatHasTheAddress(t *testing.T) {
	inLAN(t, func(n *lan, w nums) {
		other, _ := n.host(Config{}, 2)
		must(n.t, other.SetVIPs(vipsAt(mac{}, w.addr(100))))
		l, p := n.host(Config{}, 1, w.host(1))
		err := l.Probe(n.t.Context(), w.addr(99), w.addr(100), w.addr(101))
		var c *ConflictError
		if !errors.As(err, &c) || c.VIP != w.addr(100) || c.MAC != macOf(2) || c.Interface != "eth0" {
			n.t.Fatalf("got %v", err)
		}
		if want := "arp: " + w.addr(100).String() + " is in use by 02:00:00:00:00:02 on eth0"; err.Error() != want {
			n.t.Errorf("got %q, want %q", err, want)
		}
		for _, h := range p.sent() {
			if !h.probe() || h.mac != macOf(1) {
				n.t.Errorf("asked for %s as %s at %x", h.asked, h.claimed, h.mac)
			}
		}
	})
}

func TestProbesOfManyTakeAsLongAsOne(t *testing.T) {
	inLAN(t, func(n *lan, w nums) {
		l, p := n.host(Config{}, 1, w.host(1))
		var addrs []netip.Addr
		for i := range 250 {
			addrs = append(addrs, w.addr(byte(i+2)))
		}
		start := time.Now()
		must(n.t, l.Probe(n.t.Context(), addrs...))
		if took := time.Since(start); took != 400*time.Millisecond {
			n.t.Errorf("took %s", took)
		}
		if c := len(p.sent()); c != 3*250 {
			n.t.Errorf("%d probes for 250 addresses", c)
		}
	})
}

// Switches that track devices send such probes to every host, golb's own among them.
func TestProbeOfAnotherHostIsNoClaim(t *testing.T) {
	inLAN(t, func(n *lan, w nums) {
		l, p := n.host(Config{OnConflict: func(c Conflict) { n.t.Errorf("conflict %+v", c) }}, 1, w.host(1))
		must(n.t, p.Join(membership{group: solicitedNode(w.addr(100))}))
		end := make(chan error, 1)
		go func() { end <- l.Probe(n.t.Context(), w.addr(100)) }()
		synctest.Wait()
		for _, to := range []mac{{}, macOf(1)} {
			n.inject(request(macOf(9), unspecifiedOf(w), w.addr(100), to))
		}
		other, _ := n.host(Config{}, 2, w.host(2))
		must(n.t, other.Probe(n.t.Context(), w.addr(100)))
		must(n.t, <-end)
	})
}

func TestProbeTime(t *testing.T) {
	for _, tc := range []struct {
		name         string
		config, want time.Duration
		asked        []time.Duration
	}{
		{"default", 0, 400 * time.Millisecond, []time.Duration{0, 100 * time.Millisecond, 200 * time.Millisecond}},
		{"of RFC 5227", 4 * time.Second, 4 * time.Second, []time.Duration{0, time.Second, 2 * time.Second}},
		{"none", -1, 0, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inLAN(t, func(n *lan, w nums) {
				l, p := n.host(Config{ProbeTime: tc.config}, 1, w.host(1))
				other, _ := n.host(Config{}, 2)
				must(n.t, other.SetVIPs(vipsAt(mac{}, w.addr(100))))
				start := time.Now()
				must(n.t, l.Probe(n.t.Context(), w.addr(99)))
				if took := time.Since(start); took != tc.want {
					n.t.Errorf("took %s", took)
				}
				var asked []time.Duration
				for _, h := range p.sent() {
					asked = append(asked, h.at.Sub(start))
				}
				if !slices.Equal(asked, tc.asked) {
					n.t.Errorf("asked after %s", asked)
				}
				if err := l.Probe(n.t.Context(), w.addr(100)); (err != nil) != (tc.config >= 0) {
					n.t.Errorf("of a taken address: %v", err)
				}
				if err := l.Probe(n.t.Context(), netip.IPv4Unspecified()); err == nil {
					n.t.Error("0.0.0.0 is probed for")
				}
			})
		})
	}
}

func TestProbeJoinsTheOneUnderWay(t *testing.T) {
	inLAN(t, func(n *lan, w nums) {
		l, p := n.host(Config{}, 1, w.host(1))
		errs := make(chan error, 2)
		for range 2 {
			go func() { errs <- l.Probe(n.t.Context(), w.addr(100)) }()
		}
		must(n.t, <-errs)
		must(n.t, <-errs)
		if c := len(p.sent()); c != 3 {
			n.t.Errorf("%d probes", c)
		}
	})
}

func TestProbeDoesNotTakeOurselvesForAnother(t *testing.T) {
	inLAN(t, func(n *lan, w nums) {
		l, p := n.host(Config{}, 1, w.host(1))
		must(n.t, l.SetVIPs(vipsAt(mac{}, w.addr(100))))
		end := make(chan error, 1)
		go func() { end <- l.Probe(n.t.Context(), w.addr(100)) }()
		synctest.Wait()
		n.inject(request(p.state.mac, unspecifiedOf(w), w.addr(100), mac{})) // a loop in the network
		must(n.t, <-end)
	})
}

func unspecifiedOf(w nums) netip.Addr {
	if w == v6 {
		return none6
	}
	return none4
}

func TestProbeFails(t *testing.T) {
	for _, tc := range []struct {
		name string
		do   func(l *Link, p *port, cancel func())
		want string
	}{
		{"on a link that goes down", func(_ *Link, p *port, _ func()) { p.set(func(s *state) { s.up = false }) }, "link is down"},
		{"when its context ends", func(_ *Link, _ *port, cancel func()) { cancel() }, context.Canceled.Error()},
		{"when the link is closed", func(l *Link, _ *port, _ func()) { l.Close() }, net.ErrClosed.Error()},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &lan{t: t}
				l, p := n.host(Config{}, 1, v4.host(1))
				ctx, cancel := context.WithCancel(t.Context())
				end := make(chan error, 1)
				go func() { end <- l.Probe(ctx, v4.addr(100)) }()
				synctest.Wait()
				tc.do(l, p, cancel)
				err := <-end
				cancel()
				if err == nil || !strings.HasPrefix(err.Error(), "arp: probe 192.0.2.100 on eth0: ") || !strings.HasSuffix(err.Error(), tc.want) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

func TestProbeOfALinkThatIsDownIsNoProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lan{t: t}
		l, p := n.host(Config{}, 1, v4.host(1))
		p.set(func(s *state) { s.up = false })
		if err := l.Probe(t.Context(), v4.addr(100)); !errors.Is(err, ErrLinkDown) {
			t.Errorf("got %v", err)
		}
	})
}
