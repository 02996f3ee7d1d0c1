package vrrp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// announcements lists what a node announces with the time since it became master.
type announcements struct {
	*node
	list []string
}

func (a *announcements) Announce(in *Instance, addr netip.Addr) {
	a.list = append(a.list, fmt.Sprintf("%v %s", a.net.now.Sub(in.since).Round(time.Millisecond), addr))
}

// announced runs an instance alone for a time after it has become master.
func announced(t *testing.T, c Config, d time.Duration) []string {
	t.Helper()
	n := newNetwork()
	a := &announcements{node: n.add(c)}
	r, err := NewRouter(a, c)
	if err != nil {
		t.Fatal(err)
	}
	a.router, a.up = r, true
	r.Start(n.now)
	a.until(StateMaster)
	n.run(d)
	return a.list
}

// times returns each line so many times.
func times(n int, lines ...string) (l []string) {
	for range n {
		l = append(l, lines...)
	}
	return l
}

func TestAnnouncements(t *testing.T) {
	const one, two, six = "192.0.2.100", "192.0.2.150", "2001:db8::150"
	at := func(when string, addrs ...string) (l []string) {
		for _, a := range addrs {
			l = append(l, when+" "+a)
		}
		return l
	}
	excluded := []netip.Addr{netip.MustParseAddr(two), netip.MustParseAddr(six)}
	for _, c := range []struct {
		name string
		a    Announce
		run  time.Duration
		want []string
	}{
		{"default: five times, once more after 5 s", Announce{}, 20 * time.Second,
			append(times(5, at("0s", one, two, six)...), times(5, at("5s", one, two, six)...)...)},
		{"min_garp", Announce{Repeat: 1, Delay: -1}, 20 * time.Second, at("0s", one, two, six)},
		{"delay", Announce{Repeat: 1, Delay: 2 * time.Second}, 20 * time.Second, append(at("0s", one, two, six), at("2s", one, two, six)...)},
		{"refresh begins after the delay", Announce{Repeat: 1, Delay: 2 * time.Second, Refresh: 3 * time.Second, RefreshRepeat: 2}, 10 * time.Second,
			slices.Concat(at("0s", one, two, six), at("2s", one, two, six), times(2, at("5s", one, two, six)...), times(2, at("8s", one, two, six)...))},
		{"refresh waits for the next advert", Announce{Repeat: 1, Delay: -10 * time.Second, Refresh: 2500 * time.Millisecond}, 7 * time.Second,
			slices.Concat(at("0s", one, two, six), at("3s", one, two, six), at("6s", one, two, six))},
		{"gaps: each family in turn", Announce{Repeat: 2, Delay: -1, ARPInterval: 100 * time.Millisecond, NDInterval: 250 * time.Millisecond}, time.Second,
			[]string{"0s " + one, "0s " + six, "100ms " + two, "200ms " + one, "250ms " + six, "300ms " + two}},
		{"gaps of one family", Announce{Repeat: 2, Delay: -1, NDInterval: 250 * time.Millisecond}, time.Second,
			append(times(2, at("0s", one, two)...), "0s "+six, "250ms "+six)},
		{"a burst that is due while one goes on adds what is missing", Announce{Repeat: 2, Delay: 200 * time.Millisecond, ARPInterval: 100 * time.Millisecond, NDInterval: time.Hour}, time.Second,
			[]string{"0s " + one, "0s " + six, "100ms " + two, "200ms " + one, "300ms " + two, "400ms " + one, "500ms " + two}},
	} {
		cfg := config4(1, 100)
		cfg.Excluded, cfg.Announce = excluded, c.a
		if got := announced(t, cfg, c.run); !slices.Equal(got, c.want) {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

func TestNothingIsAnnouncedAfterTheRoleIsLost(t *testing.T) {
	c := config4(1, 100)
	c.Announce = Announce{ARPInterval: 100 * time.Millisecond, Refresh: time.Second}
	x := newNetwork().add(c).start(t)
	x.until(StateMaster)
	x.net.run(250 * time.Millisecond)
	x.in().SetFault(x.net.now, true)
	x.log = nil
	x.net.run(20 * time.Second)
	if len(x.log) > 0 {
		t.Errorf("%q", x.log)
	}
}

// TestManyAddressesArePaced: 1000 of them with a gap of 1 ms, and adverts go on.
func TestManyAddressesArePaced(t *testing.T) {
	c := config4(1, 100)
	a := netip.MustParseAddr("10.0.0.0")
	for range 1000 {
		a = a.Next()
		c.Excluded = append(c.Excluded, a)
	}
	c.Announce = Announce{Repeat: 2, Delay: -1, ARPInterval: time.Millisecond}
	x := newNetwork().add(c).start(t)
	x.until(StateMaster)
	for range 5 {
		before := x.in().Stats().Announced
		x.net.run(100 * time.Millisecond)
		if got := x.in().Stats().Announced - before; got != 100 {
			t.Errorf("%d announcements in 100 ms", got)
		}
	}
	x.net.run(3 * time.Second)
	if got := x.in().Stats(); got.Announced != 2*1001 || got.Sent != 4 {
		t.Errorf("%+v", got)
	}
}
