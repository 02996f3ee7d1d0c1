package arp

import (
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Virtual MACs of VRRP routers 7 and 8.
var virtual7, virtual8 = mac{0, 0, 0x5e, 0, 1, 7}, mac{0, 0, 0x5e, 0, 1, 8}

// answers sends host 3's request for an address, and returns the MAC that p's host
// answers with and from; zero if it does not.
func (p *port) answers(addr netip.Addr) mac {
	p.lan.t.Helper()
	p.lan.reset()
	them := v4.addr(3)
	if addr.Is6() {
		them = v6.addr(3)
	}
	p.lan.inject(request(macOf(3), them, addr, mac{}))
	sent := slices.DeleteFunc(p.sent(), func(h sentFrame) bool { return h.dst != macOf(3) })
	if len(sent) == 0 {
		return mac{}
	}
	if len(sent) != 1 || sent[0].claimed != addr || sent[0].src != sent[0].mac {
		p.lan.t.Errorf("answer to a request for %s: %+v", addr, sent)
	}
	return sent[0].mac
}

func TestSetVIPsReplacesTheSet(t *testing.T) {
	inLAN(t, func(n *lan, w nums) {
		l, p := n.host(Config{}, 1, w.host(1))
		// Two that share a group, if there are groups.
		shared := netip.MustParseAddr("2001:db8:1::64")
		must(n.t, l.SetVIPs(vipsAt(mac{}, w.addr(100), w.addr(101), w.addr(101), shared)))
		must(n.t, l.SetVIPs(vipsAt(mac{}, w.addr(100), w.addr(102))))
		for i, want := range map[byte]mac{100: macOf(1), 101: {}, 102: macOf(1)} {
			if got := p.answers(w.addr(i)); got != want {
				n.t.Errorf("VIP %d is at %x, want %x", i, got, want)
			}
		}
		if w == v6 {
			want := map[membership]bool{{group: solicitedNode(w.addr(100))}: true, {group: solicitedNode(w.addr(102))}: true}
			if !maps.Equal(p.members, want) {
				n.t.Errorf("memberships %v", p.members)
			}
		}
		must(n.t, l.SetVIPs(nil))
		if p.answers(w.addr(100)) != (mac{}) || len(p.members) != 0 {
			n.t.Errorf("something is left of no VIPs: %v", p.members)
		}
	})
}

func TestVIPsHaveMACsOfTheirOwn(t *testing.T) {
	inLAN(t, func(n *lan, w nums) {
		l, p := n.host(Config{MAC: virtual7}, 1, w.host(1))
		must(n.t, l.SetVIPs(append(vipsAt(virtual8, w.addr(108), w.addr(109)), vipsAt(mac{}, w.addr(107))...)))
		must(n.t, l.Announce(n.t.Context(), w.addr(107), w.addr(108)))
		defer l.Resolve(w.addr(2), func([6]byte, bool) {})()
		must(n.t, l.Probe(n.t.Context(), w.addr(110)))
		count := map[mac]int{}
		for _, h := range p.sent() {
			want := macOf(1) // requests and probes
			switch h.claimed {
			case w.addr(107):
				want = virtual7
			case w.addr(108):
				want = virtual8
			}
			if h.mac != want || h.src != want {
				n.t.Errorf("%s said at %x from %x, want %x", h.claimed, h.mac, h.src, want)
			}
			count[h.mac]++
		}
		if len(count) != 3 {
			n.t.Errorf("sent by MAC: %v", count)
		}
		for addr, want := range map[netip.Addr]mac{w.addr(107): virtual7, w.addr(108): virtual8, w.addr(109): virtual8} {
			if got := p.answers(addr); got != want {
				n.t.Errorf("%s is at %x, want %x", addr, got, want)
			}
		}
		n.reset()
		n.inject(request(macOf(3), w.addr(3), w.addr(108), virtual8)) // as a host confirms what it knows
		if len(p.sent()) != 1 {
			n.t.Error("a request to a virtual MAC is not answered")
		}
		n.inject(announcement(virtual8, w.addr(108))[0]) // its own, come back through a loop
		if c := l.Stats().Conflicts; c != 0 {
			n.t.Errorf("%d conflicts with itself", c)
		}
		if !p.members[membership{mac: virtual7}] || !p.members[membership{mac: virtual8}] {
			n.t.Errorf("memberships %v", p.members)
		}
		// A takeover gives the VIPs of one group away, another MAC moves one.
		must(n.t, l.SetVIPs(vipsAt(virtual7, w.addr(108))))
		if got := p.answers(w.addr(108)); got != virtual7 {
			n.t.Errorf("moved VIP is at %x", got)
		}
		if p.members[membership{mac: virtual8}] {
			n.t.Error("the MAC of no VIP is still received")
		}
	})
}

func TestVirtualMACStaysWhenTheInterfaceGetsAnother(t *testing.T) {
	inLAN(t, func(n *lan, w nums) {
		l, p := n.host(Config{}, 1, w.host(1))
		must(n.t, l.SetVIPs(append(vipsAt(virtual7, w.addr(107)), vipsAt(mac{}, w.addr(100))...)))
		p.set(func(s *state) { s.mac = macOf(5) })
		time.Sleep(time.Minute)
		for _, h := range p.sent() {
			if h.claimed == w.addr(1) {
				continue // the host asks for a VIP of the link
			}
			if h.claimed != w.addr(100) || h.mac != macOf(5) {
				n.t.Errorf("announced: %s at %x", h.claimed, h.mac)
			}
		}
		if len(p.sent()) == 0 {
			n.t.Error("new MAC is not announced")
		}
		if at, plain := p.answers(w.addr(107)), p.answers(w.addr(100)); at != virtual7 || plain != macOf(5) {
			n.t.Errorf("VIPs are at %x and %x", at, plain)
		}
	})
}

// A standby knows its VIPs and is silent about them.
func TestVIPThatIsNotSetIsNeitherAnsweredAnnouncedNorDefended(t *testing.T) {
	inLAN(t, func(n *lan, w nums) {
		l, p := n.host(Config{OnConflict: func(c Conflict) { n.t.Errorf("conflict %+v", c) }}, 1, w.host(1))
		must(n.t, l.Probe(n.t.Context(), w.addr(100)))
		must(n.t, l.SetVIPs(vipsAt(virtual7, w.addr(100))))
		must(n.t, l.SetVIPs(nil))
		n.reset()
		n.inject(request(macOf(3), w.addr(3), w.addr(100), mac{}))
		n.inject(request(macOf(3), unspecifiedOf(w), w.addr(100), mac{}))
		n.inject(announcement(virtual7, w.addr(100))[0]) // by the active one
		n.inject(announcement(macOf(9), w.addr(100))[0])
		p.set(func(s *state) { s.up = false })
		p.set(func(s *state) { s.up, s.mac = true, macOf(5) })
		time.Sleep(time.Minute)
		if len(p.sent()) != 0 || len(p.members) != 0 {
			n.t.Errorf("sent %+v, memberships %v", p.sent(), p.members)
		}
	})
}

func TestSetVIPsThatFailsChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lan{t: t}
		var log strings.Builder
		l, p := n.host(Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}, 1, v4.host(1), v6.host(1))
		old := append(vipsAt(virtual7, v4.addr(100), v6.addr(100)), vipsAt(mac{}, v6.addr(101))...)
		must(t, l.SetVIPs(old))
		fresh := slices.Concat(vipsAt(mac{}, v6.addr(101), v6.addr(110)), vipsAt(virtual8, v6.addr(100), v4.addr(111), v6.addr(112)),
			vipsAt(mac{2, 7}, v4.addr(100), v6.addr(113)))
		before := maps.Clone(p.members)
		const joins = 5 // groups of 110, 112, 113 and two MACs
		refused := errors.New("no more memberships")
		for fails := range joins + 1 {
			var count int
			p.joinErr = func(membership) error {
				if count++; count == fails+1 {
					return refused
				}
				return nil
			}
			err := l.SetVIPs(fresh)
			if fails == joins {
				if err != nil || count != joins {
					t.Errorf("%d joins, want %d: %v", count, joins, err)
				}
				break
			}
			if !errors.Is(err, refused) || !strings.HasPrefix(err.Error(), "arp: receive for ") {
				t.Fatalf("join %d failed: got %v", fails+1, err)
			}
			if d := cmp.Diff(before, p.members, cmp.AllowUnexported(membership{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
				t.Errorf("join %d failed: memberships (-before +after)\n%s", fails+1, d)
			}
			for addr, want := range map[netip.Addr]mac{
				v4.addr(100): virtual7, v6.addr(100): virtual7, v6.addr(101): macOf(1), v4.addr(111): {}, v6.addr(110): {}, v6.addr(113): {},
			} {
				if got := p.answers(addr); got != want {
					t.Errorf("join %d failed: %s is at %x, want %x", fails+1, addr, got, want)
				}
			}
		}
		for addr, want := range map[netip.Addr]mac{
			v4.addr(100): {2, 7}, v6.addr(100): virtual8, v6.addr(101): macOf(1), v4.addr(111): virtual8, v6.addr(110): macOf(1), v6.addr(113): {2, 7},
		} {
			if got := p.answers(addr); got != want {
				t.Errorf("at last %s is at %x, want %x", addr, got, want)
			}
		}
		if log.Len() != 0 {
			t.Errorf("logged: %s", log.String())
		}
	})
}

func TestSetVIPsDoesNotFailWhereAMembershipIsNotLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lan{t: t}
		var log strings.Builder
		l, p := n.host(Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}, 1, v6.host(1))
		must(t, l.SetVIPs(vipsAt(virtual7, v6.addr(100))))
		p.leaveErr = errors.New("not a member")
		must(t, l.SetVIPs(vipsAt(mac{}, v6.addr(101))))
		if p.answers(v6.addr(100)) != (mac{}) || p.answers(v6.addr(101)) != macOf(1) {
			t.Error("VIPs are not the new ones")
		}
		for _, want := range []string{"ff02::1:ff00:64", "00:00:5e:00:01:07", "not a member"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("%q is missing in the log:\n%s", want, log.String())
			}
		}
		must(t, l.SetVIPs(vipsAt(virtual7, v6.addr(100))))
		if p.answers(v6.addr(100)) != virtual7 {
			t.Error("VIP is not back")
		}
	})
}

func TestSetVIPsRefusesWhatNoHostCanHave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lan{t: t}
		l, p := n.host(Config{}, 1)
		must(t, l.SetVIPs(vipsAt(mac{}, v4.addr(100))))
		type test struct {
			vip  VIP
			want string
		}
		tests := []test{
			{VIP{Addr: v4.addr(101), MAC: mac{1, 0, 0x5e, 0, 0, 1}}, "MAC 01:00:5e:00:00:01"},
			{VIP{Addr: v4.addr(103), Announce: Announcement{Repeat: -1}}, "announcement: Repeat -1"},
			{VIP{Addr: v4.addr(102), MAC: virtual7}, "192.0.2.102 is given twice, at the interface's MAC and at 00:00:5e:00:01:07"},
		}
		for _, a := range []string{"0.0.0.0", "::", "224.0.0.1", "ff02::1", "127.0.0.1", "::1", "255.255.255.255"} {
			tests = append(tests, test{VIP{Addr: netip.MustParseAddr(a)}, a})
		}
		for _, tc := range tests {
			err := l.SetVIPs([]VIP{{Addr: v4.addr(102)}, tc.vip})
			if err == nil || !strings.HasPrefix(err.Error(), "arp: VIP on eth0: ") || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v: %v", tc.vip, err)
			}
		}
		if p.answers(v4.addr(100)) != macOf(1) || p.answers(v4.addr(102)) != (mac{}) {
			t.Error("VIPs have changed")
		}
	})
}
