package lb_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest/lab"
)

// TestSecondGolbForAVIPOnAHostIsRefused: both would take every packet.
func TestSecondGolbForAVIPOnAHostIsRefused(t *testing.T) {
	s := newSite(t, 0)
	cfg := s.config()
	first, stop := s.run(cfg)
	runSecond := func(cfg lb.Config) error {
		second, err := lb.New(cfg, lb.Env{Dial: s.golb.DialContext})
		must(t, err)
		return s.golb.Do(func() error { return second.Run(t.Context()) })
	}
	refused := func(err error) {
		t.Helper()
		var mistakes lb.ConfigErrors
		if !errors.As(err, &mistakes) || mistakes[0].Path != "services[0].vip" || !strings.HasPrefix(mistakes[0].Problem, "balanced on eth0 already, by ") {
			t.Errorf("got %v", err)
		}
	}
	refused(runSecond(cfg))
	prefix := cfg
	prefix.Services = []lb.Service{{Match: []lb.Match{{VIP: lb.VIP{Prefix: netip.MustParsePrefix("192.0.2.96/29")}}}, Check: lb.Check{Type: "none"}}}
	if err := runSecond(prefix); err == nil || !strings.Contains(err.Error(), "services[0].match[0].vip: ") {
		t.Errorf("a prefix around the VIP: %v", err)
	}

	other := s.config()
	other.Services = other.Services[:1]
	other.Services[0].VIP = netip.MustParseAddr("192.0.2.101")
	_, stopOther := s.run(other) // another VIP is no conflict
	stopOther()

	must(t, first.SetRole(t.Context(), lb.DefaultGroup, lb.RoleStandby))
	_, stopSecond := s.run(cfg) // a standby is none
	refused(first.SetRole(t.Context(), lb.DefaultGroup, lb.RoleActive))
	stopSecond()
	must(t, first.SetRole(t.Context(), lb.DefaultGroup, lb.RoleActive))

	less := s.config()
	less.Services = less.Services[:1]
	must(t, first.Apply(t.Context(), less))
	six := s.config()
	six.Services = six.Services[1:]
	_, stopSix := s.run(six) // given up by the reload
	refusedPath := first.Apply(t.Context(), s.config())
	if refusedPath == nil || !strings.Contains(refusedPath.Error(), "services[1].vip") {
		t.Errorf("reload with a VIP that another has: %v", refusedPath)
	}
	stopSix()
	must(t, first.Apply(t.Context(), s.config()))
	stop()
	_, stop = s.run(cfg) // nothing is left
	stop()
}

// TestServerThatAnswersARPForAVIP: arp_ignore was forgotten on one of three.
func TestServerThatAnswersARPForAVIP(t *testing.T) {
	s := newSite(t, 0)
	for _, key := range []string{"all", "eth0", "lo"} {
		must(t, s.server[2].Sysctl("net.ipv4.conf."+key+".arp_ignore", "0"))
	}
	cfg := s.config()
	cfg.Services = cfg.Services[:1]
	cfg.Groups = []lb.Group{{Name: lb.DefaultGroup, AddressConflict: lb.ConflictRefuse}}
	b, err := lb.New(cfg, lb.Env{Dial: s.golb.DialContext})
	must(t, err)
	err = s.golb.Do(func() error { return b.Run(t.Context()) })
	var mistakes lb.ConfigErrors
	if !errors.As(err, &mistakes) {
		t.Fatalf("with refuse: %v", err)
	}
	for _, want := range []string{"services[0].vip", "192.0.2.100", "server s3 (", "arp_ignore=1", "group default"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}

	cfg.Groups = nil
	told := make(chan lb.Event, 10)
	b, stop := s.runIn(lb.Env{OnEvent: conflictsTo(told)}, cfg)
	defer stop()
	e := awaitEvent(t, told)
	if e.Kind != lb.EventVIPConflict || e.VIP != cfg.Services[0].VIP || !strings.Contains(e.Reason, "server s3 (") {
		t.Errorf("told %+v", e)
	}
	if list := b.Health()[0].Conflicts; len(list) != 1 || list[0].Server != "s3" {
		t.Errorf("shown %+v", list)
	}
}

// TestProxyARPOfARouter: the VIP is routed to golb's host, and is in no subnet of the link.
func TestProxyARPOfARouter(t *testing.T) {
	if err := lab.Unavailable(); err != nil {
		t.Skip(err)
	}
	l, err := lab.New()
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	sw, err := l.Switch("switch")
	must(t, err)
	host := func(name, addr string) *lab.Host {
		h, err := l.Host(name)
		must(t, err)
		_, err = l.Attach(h, sw, lab.LinkConfig{Addrs: []netip.Prefix{netip.MustParsePrefix(addr)}})
		must(t, err)
		return h
	}
	s := &site{t: t, golb: host("golb", "10.1.0.2/24")}
	host("server", "10.1.0.11/24")
	router, behind := host("router", "10.1.0.1/24"), host("behind", "10.1.9.9/24")
	must(t, l.Connect(router, lab.LinkConfig{Name: "eth1", Addrs: []netip.Prefix{netip.MustParsePrefix("198.51.100.1/30")}}, behind, lab.LinkConfig{Name: "eth1"}))
	must(t, router.DefaultRoute(netip.MustParseAddr("198.51.100.2")))
	for key, value := range map[string]string{
		"net.ipv4.ip_forward": "1", "net.ipv4.conf.eth0.proxy_arp": "1", "net.ipv4.neigh.eth0.proxy_delay": "0",
	} {
		must(t, router.Sysctl(key, value))
	}
	cfg := lb.Config{Interfaces: []string{"eth0"}, MaxConnections: 1 << 16, Services: []lb.Service{{
		VIP: netip.MustParseAddr("203.0.113.5"), Port: 80, Check: lb.Check{Type: "none"},
		Servers: []lb.Server{{Address: netip.MustParseAddr("10.1.0.11")}},
	}}}
	told := make(chan lb.Event, 10)
	_, stop := s.runIn(lb.Env{OnEvent: conflictsTo(told)}, cfg)
	if e := awaitEvent(t, told); e.Kind != lb.EventVIPConflict || !strings.Contains(e.Reason, "proxy ARP") {
		t.Errorf("told %+v", e)
	}
	stop()

	cfg.Groups = []lb.Group{{Name: lb.DefaultGroup, AddressConflict: lb.ConflictIgnore}}
	b, stop := s.runIn(lb.Env{OnEvent: conflictsTo(told)}, cfg)
	for deadline := time.Now().Add(time.Minute); b.Stats().Interfaces[0].Link.AnnouncementsSent == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not announced")
		}
	}
	stop()
	if len(told) != 0 {
		t.Errorf("with ignore: told %+v", <-told)
	}
}

// conflictsTo passes on events about conflicts.
func conflictsTo(told chan lb.Event) func(lb.Event) {
	return func(e lb.Event) {
		if e.Kind == lb.EventVIPConflict || e.Kind == lb.EventConflictEnded {
			told <- e
		}
	}
}

func awaitEvent(t *testing.T, told <-chan lb.Event) lb.Event {
	t.Helper()
	select {
	case e := <-told:
		return e
	case <-time.After(time.Minute):
		t.Fatal("nothing is told")
		return lb.Event{}
	}
}
