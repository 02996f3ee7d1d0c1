package lb

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/golb/golb/lb/lbtest/lab"
)

// routedHost is a host with eth0 and eth1, which tests change by netlink.
func routedHost(t *testing.T) *lab.Host {
	t.Helper()
	if err := lab.Unavailable(); err != nil {
		t.Skip(err)
	}
	l, err := lab.New()
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	h, err := l.Host("golb")
	must(t, err)
	for i, name := range []string{"eth0", "eth1"} {
		sw, err := l.Switch("switch-" + name)
		must(t, err)
		n := string('1' + rune(i))
		_, err = l.Attach(h, sw, lab.LinkConfig{Name: name, Addrs: []netip.Prefix{
			netip.MustParsePrefix("10." + n + ".0.1/24"), netip.MustParsePrefix("fd00:" + n + "::1/64"),
		}})
		must(t, err)
	}
	return h
}

// ip adds a route as `ip route` does; it is called on the host.
func ip(dst string, r netlink.Route) error {
	p := netip.MustParsePrefix(dst)
	r.Dst = &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
	return netlink.RouteAdd(&r)
}

func onDev(name string) int {
	link, err := netlink.LinkByName(name)
	if err != nil {
		panic(err)
	}
	return link.Attrs().Index
}

func gw(a string) net.IP { return net.ParseIP(a) }

// TestRoutesAreAsTheKernelMeansThem: what `ip route` can say, and golb's answer.
func TestRoutesAreAsTheKernelMeansThem(t *testing.T) {
	h := routedHost(t)
	gateway := netip.MustParseAddr
	type want struct {
		on      string
		gateway netip.Addr
		mtu     int
		others  []netip.Addr
		problem string
	}
	hop := func(dev, a string) *netlink.NexthopInfo {
		return &netlink.NexthopInfo{LinkIndex: onDev(dev), Gw: gw(a)}
	}
	for name, tt := range map[string]struct {
		add  func() error
		dst  string
		want want
	}{
		"on the link":  {nil, "10.1.0.9", want{on: "eth0"}},
		"IPv6":         {nil, "fd00:2::9", want{on: "eth1"}},
		"no route":     {nil, "198.51.100.1", want{problem: "no route: network is unreachable"}},
		"this host":    {nil, "10.1.0.1", want{problem: "golb does not balance to its own host"}},
		"itself, IPv6": {nil, "fd00:1::1", want{problem: "golb does not balance to its own host"}},
		"broadcast":    {nil, "10.1.0.255", want{problem: "a broadcast, multicast or anycast address"}},
		"gateway": {
			func() error { return ip("172.16.1.0/24", netlink.Route{Gw: gw("10.1.0.254"), MTU: 1280}) },
			"172.16.1.1", want{on: "eth0", gateway: gateway("10.1.0.254"), mtu: 1280},
		},
		"metrics": {
			func() error {
				return errors.Join(ip("172.16.2.0/24", netlink.Route{Gw: gw("10.1.0.254"), Priority: 200}),
					ip("172.16.2.0/24", netlink.Route{Gw: gw("10.2.0.254"), Priority: 100}))
			},
			"172.16.2.1", want{on: "eth1", gateway: gateway("10.2.0.254")},
		},
		"onlink": {
			func() error {
				return ip("172.16.3.0/24", netlink.Route{Gw: gw("192.0.2.1"), LinkIndex: onDev("eth0"), Flags: unix.RTNH_F_ONLINK})
			},
			"172.16.3.1", want{on: "eth0", gateway: gateway("192.0.2.1")},
		},
		"by IPv6": {
			func() error {
				return ip("172.16.4.0/24", netlink.Route{LinkIndex: onDev("eth0"), Via: &netlink.Via{AddrFamily: unix.AF_INET6, Addr: gw("fe80::1")}})
			},
			"172.16.4.1", want{on: "eth0", gateway: gateway("fe80::1")},
		},
		"several next hops": {
			func() error {
				return ip("172.16.5.0/24", netlink.Route{MultiPath: []*netlink.NexthopInfo{hop("eth0", "10.1.0.254"), hop("eth1", "10.2.0.254")}})
			},
			"172.16.5.1", want{others: []netip.Addr{gateway("10.1.0.254"), gateway("10.2.0.254")}},
		},
		"several next hops, IPv6": {
			func() error {
				return ip("fd01::/64", netlink.Route{MultiPath: []*netlink.NexthopInfo{hop("eth0", "fd00:1::fe"), hop("eth1", "fd00:2::fe")}})
			},
			"fd01::1", want{others: []netip.Addr{gateway("fd00:1::fe"), gateway("fd00:2::fe")}},
		},
		"blackhole":         {func() error { return ip("172.16.6.0/24", netlink.Route{Type: unix.RTN_BLACKHOLE}) }, "172.16.6.1", want{problem: "the route to it is blackhole"}},
		"unreachable":       {func() error { return ip("172.16.7.0/24", netlink.Route{Type: unix.RTN_UNREACHABLE}) }, "172.16.7.1", want{problem: "the route to it is unreachable"}},
		"prohibit":          {func() error { return ip("172.16.8.0/24", netlink.Route{Type: unix.RTN_PROHIBIT}) }, "172.16.8.1", want{problem: "the route to it is prohibit"}},
		"throw":             {func() error { return ip("172.16.9.0/24", netlink.Route{Type: unix.RTN_THROW}) }, "172.16.9.1", want{problem: "no route"}},
		"blackhole, IPv6":   {func() error { return ip("fd02::/64", netlink.Route{Type: unix.RTN_BLACKHOLE}) }, "fd02::1", want{problem: "the route to it is blackhole"}},
		"unreachable, IPv6": {func() error { return ip("fd03::/64", netlink.Route{Type: unix.RTN_UNREACHABLE}) }, "fd03::1", want{problem: "the route to it is unreachable"}},
		"prohibit, IPv6":    {func() error { return ip("fd04::/64", netlink.Route{Type: unix.RTN_PROHIBIT}) }, "fd04::1", want{problem: "the route to it is prohibit"}},
	} {
		t.Run(name, func(t *testing.T) {
			must(t, h.Do(func() error {
				if tt.add != nil {
					if err := tt.add(); err != nil {
						return err
					}
				}
				routes, err := openRoutes(slog.New(slog.DiscardHandler))
				if err != nil {
					return err
				}
				defer routes.close()
				r, err := routes.route(netip.MustParseAddr(tt.dst))
				if tt.want.problem != "" {
					if err == nil || !strings.Contains(err.Error(), tt.want.problem) {
						t.Errorf("%+v, %v; want %q", r, err, tt.want.problem)
					}
					return nil
				}
				if err != nil {
					return err
				}
				if len(tt.want.others) > 0 {
					if len(r.Others) != 1 || !sameSet(tt.want.others, r.Gateway, r.Others[0].Gateway) {
						t.Errorf("%+v, want the next hops %v", r, tt.want.others)
					}
					return nil
				}
				if r.Interface != tt.want.on || r.Index != onDev(tt.want.on) || r.Gateway != tt.want.gateway || r.MTU != tt.want.mtu || len(r.Others) > 0 || !r.Source.IsValid() {
					t.Errorf("%+v, want %+v", r, tt.want)
				}
				return nil
			}))
		})
	}
}

func sameSet(a []netip.Addr, b ...netip.Addr) bool {
	return a[0] == b[0] && a[1] == b[1] || a[0] == b[1] && a[1] == b[0]
}

// TestNextHopWithoutCarrierIsNotUsed: of several next hops.
func TestNextHopWithoutCarrierIsNotUsed(t *testing.T) {
	h := routedHost(t)
	must(t, h.Do(func() error {
		hops := []*netlink.NexthopInfo{{LinkIndex: onDev("eth0"), Gw: gw("10.1.0.254")}, {LinkIndex: onDev("eth1"), Gw: gw("10.2.0.254")}}
		if err := ip("172.16.5.0/24", netlink.Route{MultiPath: hops}); err != nil {
			return err
		}
		eth1, err := netlink.LinkByName("eth1")
		if err != nil {
			return err
		}
		if err := netlink.LinkSetDown(eth1); err != nil {
			return err
		}
		routes, err := openRoutes(slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		defer routes.close()
		for i := range 32 {
			dst := netip.AddrFrom4([4]byte{172, 16, 5, byte(i)})
			if r, err := routes.route(dst); err != nil || r.Interface != "eth0" || len(r.Others) != 0 {
				t.Errorf("%v: %+v, %v", dst, r, err)
			}
		}
		return nil
	}))
}

// TestChangesAreHeardAfterAnOverrun: what came too fast is lost, what comes later is heard.
func TestChangesAreHeardAfterAnOverrun(t *testing.T) {
	h := routedHost(t)
	var told strings.Builder
	var c *hostChanges
	route := netlink.Route{Type: unix.RTN_BLACKHOLE}
	must(t, h.Do(func() (err error) {
		if c, err = openChanges(slog.New(slog.NewTextHandler(&told, nil))); err != nil {
			return err
		}
		for i := range 2000 { // nobody receives yet
			if err := ip(netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 16, byte(i >> 8), byte(i)}), 32).String(), route); err != nil {
				return err
			}
		}
		return nil
	}))
	done := make(chan struct{})
	go func() { c.run(); close(done) }()
	heard := func(what string) {
		t.Helper()
		select {
		case <-c.changed:
		case <-time.After(time.Minute):
			t.Fatalf("%s was not heard of", what)
		}
	}
	for c.lost.Load() == 0 {
		heard("the overrun")
	}
	for quiet := false; !quiet; { // until the new socket is all that is received from
		select {
		case <-c.changed:
		case <-time.After(100 * time.Millisecond):
			quiet = true
		}
	}
	must(t, h.Do(func() error { return ip("172.17.0.0/16", route) }))
	heard("a later change")
	must(t, h.Do(func() error {
		eth0, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return netlink.LinkSetMTU(eth0, 1400)
	}))
	heard("a change of an interface")
	c.close()
	<-done
	if n := strings.Count(told.String(), "lost"); n != 1 {
		t.Errorf("it was told %d times:\n%s", n, &told)
	}
}
