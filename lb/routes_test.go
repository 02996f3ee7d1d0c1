package lb_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
)

// settle is longer than it takes golb to follow routes and neighbors.
const settle = 5 * time.Second

func oneService(s lb.Service) lb.Config { return lb.Config{Services: []lb.Service{s}} }

// TestServerWithoutRouteIsDown: at start, at reload and while golb runs.
func TestServerWithoutRouteIsDown(t *testing.T) {
	elsewhere := lb.Route{Interface: "mgmt0"}
	for name, tt := range map[string]struct {
		route lb.Route
		err   error
		want  string
	}{
		"no route":          {lb.Route{}, errNoRoute, errNoRoute.Error()},
		"another interface": {elsewhere, nil, "the route to it leaves by mgmt0, and not by one of the config's interfaces: [front back]"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newFaultyHost(t)
				lost := server4(2)
				h.route(lost, tt.route, tt.err)
				defer h.run(oneService(service(vip4, 2)))()
				check := func(when string, want ...string) {
					t.Helper()
					time.Sleep(settle)
					synctest.Wait()
					if got := h.reasons(0); !slices.Equal(got, want) {
						t.Fatalf("%s: servers are down for %q, want %q", when, got, want)
					}
					if up := h.balancer.Health()[0].Servers[1].Reason; up != want[1] {
						t.Errorf("%s: health says %q", when, up)
					}
				}
				check("at start", "", tt.want)
				if got := h.happened(lb.EventServerDown); len(got) != 1 || got[0].Reason != tt.want {
					t.Errorf("events %+v", got)
				}
				for n := range 4 {
					if got := h.connect(client(n)); got.to != serverMAC(server4(1)) {
						t.Errorf("a client went to %s", got.to)
					}
				}
				h.route(lost, lb.Route{Interface: "back"}, nil)
				check("with a route", "", "")
				if got := h.happened(lb.EventServerUp); len(got) != 1 {
					t.Errorf("events %+v", got)
				}
				h.route(lost, tt.route, tt.err)
				check("again without", "", tt.want)
				cfg := h.configured(oneService(service(vip4, 3)))
				must(t, h.balancer.Apply(t.Context(), cfg))
				check("after a reload", "", tt.want, "")
			})
		})
	}
}

// TestConnectionsOutliveTheirServersRoute: a route that is away for a while.
func TestConnectionsOutliveTheirServersRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFaultyHost(t)
		defer h.run(oneService(service(vip4, 2)))()
		at := map[int]forward.MAC{}
		for n := range 8 {
			at[n] = h.connect(client(n)).to
		}
		h.route(server4(1), lb.Route{}, errNoRoute)
		time.Sleep(settle)
		for n := range 8 {
			want := at[n]
			if want == serverMAC(server4(1)) {
				want = forward.MAC{}
			}
			if got := h.segment(client(n)); got.to != want {
				t.Errorf("without a route a segment went to %s, want %s", got.to, want)
			}
		}
		h.route(server4(1), lb.Route{Interface: "back"}, nil)
		time.Sleep(settle)
		for n := range 8 {
			if got := h.segment(client(n)); got.to != at[n] {
				t.Errorf("with a route again a segment went to %s, want %s", got.to, at[n])
			}
		}
	})
}

func TestServerWithoutNeighborIsDown(t *testing.T) {
	gateway := netip.MustParseAddr("10.0.0.254")
	for name, tt := range map[string]struct {
		route    lb.Route
		neighbor netip.Addr
		want     string
	}{
		"on the link":      {lb.Route{Interface: "back"}, server4(2), "no neighbor: 10.0.0.2 does not answer on back"},
		"behind a gateway": {lb.Route{Interface: "back", Gateway: gateway}, gateway, "no neighbor: its gateway 10.0.0.254 does not answer on back"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newFaultyHost(t)
				back := h.links["back"]
				back.set(tt.neighbor, faultyNeighbor{silent: true})
				h.route(server4(2), tt.route, nil)
				defer h.run(oneService(service(vip4, 2)))()
				check := func(when, want string) {
					t.Helper()
					time.Sleep(settle)
					synctest.Wait()
					if got := h.reasons(0); !slices.Equal(got, []string{"", want}) {
						t.Fatalf("%s: servers are down for %q, want %q", when, got, want)
					}
				}
				check("never answered", tt.want)
				back.set(tt.neighbor, faultyNeighbor{mac: serverMAC(server4(2))})
				check("answers", "")
				back.set(tt.neighbor, faultyNeighbor{silent: true})
				check("does not answer any more", tt.want)
				back.set(tt.neighbor, faultyNeighbor{mac: forward.MAC{2, 0, 0, 0, 7, 7}})
				check("answers elsewhere", "")
				seen := map[forward.MAC]int{}
				for n := range 8 {
					seen[h.connect(client(n)).to]++
				}
				if seen[forward.MAC{2, 0, 0, 0, 7, 7}] != 4 {
					t.Errorf("clients went to %v", seen)
				}
			})
		})
	}
}

// TestRouteWithSeveralNextHops: one that answers is used, the kernel's choice before others.
func TestRouteWithSeveralNextHops(t *testing.T) {
	first, second, third := netip.MustParseAddr("10.0.0.251"), netip.MustParseAddr("10.0.0.252"), netip.MustParseAddr("fe80::3")
	r := lb.Route{Interface: "back", Gateway: first, Others: []lb.RouteHop{
		{Interface: "mgmt0", Gateway: second}, {Interface: "back", Gateway: second}, {Interface: "front", Gateway: third},
	}}
	synctest.Test(t, func(t *testing.T) {
		h := newFaultyHost(t)
		h.route(server4(1), r, nil)
		defer h.run(oneService(service(vip4, 1)))()
		want := func(wire string, mac forward.MAC) {
			t.Helper()
			time.Sleep(settle)
			if got := h.connect(client(1)); got.wire != wire || got.to != mac {
				t.Errorf("a client's segment left by %s to %s, want by %s to %s", got.wire, got.to, wire, mac)
			}
		}
		dead := faultyNeighbor{silent: true}
		want("back", serverMAC(first))
		h.links["back"].set(first, dead)
		want("back", serverMAC(second))
		h.links["back"].set(second, dead)
		want("front", serverMAC(third))
		h.links["back"].set(first, faultyNeighbor{mac: serverMAC(first)})
		want("back", serverMAC(first))
		if down := h.happened(lb.EventServerDown); len(down) != 0 {
			t.Errorf("the server was down: %+v", down)
		}
		h.links["front"].set(third, dead)
		h.links["back"].set(first, dead)
		time.Sleep(settle)
		if down := h.happened(lb.EventServerDown); len(down) != 1 {
			t.Errorf("no next hop answers, and events are %+v", down)
		}
	})
}

func TestFallbackServerWithoutRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFaultyHost(t)
		s := service(vip4, 1)
		s.Fallback.Server.Address = server4(9)
		h.route(server4(1), lb.Route{}, errNoRoute)
		h.route(server4(9), lb.Route{}, errNoRoute)
		defer h.run(oneService(s))()
		time.Sleep(settle)
		st := h.balancer.Stats().Services[0]
		if st.Fallback.Up || st.Fallback.Reason != errNoRoute.Error() {
			t.Errorf("the fallback server is up: %v, %q", st.Fallback.Up, st.Fallback.Reason)
		}
		if got := h.connect(client(1)); got.to == serverMAC(server4(9)) {
			t.Error("a client went to a fallback server without a route")
		}
		h.route(server4(9), lb.Route{Interface: "back"}, nil)
		time.Sleep(settle)
		if got := h.connect(client(2)); got.to != serverMAC(server4(9)) {
			t.Errorf("a client went to %s, want to the fallback server", got.to)
		}
		h.route(server4(1), lb.Route{Interface: "back"}, nil)
		time.Sleep(settle)
		if got := h.connect(client(3)); got.to != serverMAC(server4(1)) {
			t.Errorf("a client went to %s, want to the server", got.to)
		}
	})
}

// TestServerThatIsAnotherVIP: golb does not answer itself.
func TestServerThatIsAnotherVIP(t *testing.T) {
	other := netip.MustParseAddr("192.0.2.81")
	for name, edit := range map[string]func(*lb.Service){
		"services[0].servers[1].address":       func(s *lb.Service) { s.Servers[1].Address = other },
		"services[0].fallback.server.address":  func(s *lb.Service) { s.Fallback.Server.Address = other },
		"services[0].check.address":            func(s *lb.Service) { s.Check = lb.Check{Type: "connect", Address: other} },
		"services[0].servers[1].check.address": func(s *lb.Service) { s.Servers[1].Check.Address = other },
	} {
		first, second := service(vip4, 2), service(other, 2)
		edit(&first)
		cfg := lb.Config{Interfaces: []string{"eth0"}, Services: []lb.Service{first, second}}
		err := cfg.Validate(lb.Env{})
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "a VIP of golb's") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
