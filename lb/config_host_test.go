package lb

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWarningsNameWhatTheHostsKernelWouldDo(t *testing.T) {
	const (
		forward4, forward6 = "/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"
		vip4, vip6         = "192.0.2.80", "2001:db8::80"
		again4             = "this host routes packets, and would send those for 192.0.2.80 a second time; to prevent it: ip route add blackhole 192.0.2.80"
		again6             = "this host routes packets, and would send those for 2001:db8::80 a second time; to prevent it: ip route add blackhole 2001:db8::80"
		noRoute4           = "this host has no route to 192.0.2.80, and its kernel would send unreachables to clients; to prevent it: ip route add blackhole 192.0.2.80"
		noRoute6           = "this host has no route to 2001:db8::80, and its kernel would send unreachables to clients; to prevent it: ip route add blackhole 2001:db8::80"
	)
	for _, c := range []struct {
		name, vip string
		on        string // the sysctls that are on
		route     error
		want      string // "": no warning
	}{
		{"routed, forwarding off", vip4, "", nil, ""},
		{"routed, forwarding on", vip4, forward4, nil, again4},
		{"routed, forwarding on for the other family", vip4, forward6, nil, ""},
		{"no route", vip4, "", syscall.ENETUNREACH, ""},
		{"no route, forwarding on for the other family", vip4, forward6, syscall.ENETUNREACH, ""},
		{"no route, forwarding on", vip4, forward4, syscall.ENETUNREACH, noRoute4},
		{"blackhole, forwarding on", vip4, forward4, syscall.EINVAL, ""},

		{"routed, forwarding off", vip6, "", nil, ""},
		{"routed, forwarding on", vip6, forward6, nil, again6},
		{"routed, forwarding on for the other family", vip6, forward4, nil, ""},
		{"no route", vip6, "", syscall.ENETUNREACH, noRoute6},
		{"no route, forwarding on", vip6, forward6, syscall.ENETUNREACH, noRoute6},
		{"blackhole", vip6, "", syscall.EINVAL, ""},
		{"blackhole, forwarding on", vip6, forward6, syscall.EINVAL, ""},
	} {
		t.Run(c.vip+" "+c.name, func(t *testing.T) {
			cfg := Config{Services: []Service{{VIP: netip.MustParseAddr(c.vip), Port: 80}}}
			route := func(a netip.Addr) (Route, error) {
				if a.String() != c.vip {
					t.Errorf("asked for a route to %s", a)
				}
				if c.route != nil {
					return Route{}, fmt.Errorf("route: %w", c.route)
				}
				return Route{}, nil
			}
			got := cfg.warnings(route, func(file string) bool { return c.on == file })
			if strings.Join(got, "\n") != c.want {
				t.Errorf("warned %q, want %q", got, c.want)
			}
		})
	}
}

func TestWarningsAreForEachVIP(t *testing.T) {
	cfg := Config{Services: []Service{
		{VIP: netip.MustParseAddr("192.0.2.80"), Port: 80},
		{VIP: netip.MustParseAddr("192.0.2.80"), Port: 443},
		{VIP: netip.MustParseAddr("2001:db8::80"), Port: 80},
	}}
	got := cfg.warnings(func(netip.Addr) (Route, error) { return Route{}, nil }, func(string) bool { return true })
	if len(got) != 2 || !strings.Contains(got[0], "192.0.2.80 ") || !strings.Contains(got[1], "2001:db8::80 ") {
		t.Errorf("warned %q", got)
	}
}

func TestIsOnReadsASysctl(t *testing.T) {
	for text, want := range map[string]bool{"0\n": false, "1\n": true, "2\n": true} {
		file := t.TempDir() + "/sysctl"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := isOn(file); got != want {
			t.Errorf("%q is on: %v, want %v", text, got, want)
		}
	}
	if isOn("/no/such/file") {
		t.Error("a sysctl that is not there is on")
	}
}

// TestRunLooksAtTheHost: before it opens anything.
func TestRunLooksAtTheHost(t *testing.T) {
	b, err := New(Config{Interfaces: []string{"nosuch0"}, CPUs: []int{1 << 14}, MaxConnections: minConnections, Services: []Service{applyService(0, 1)}}, Env{})
	must(t, err)
	var mistakes ConfigErrors
	if err := b.Run(t.Context()); !errors.As(err, &mistakes) || mistakes[0].Path != "cpus[0]" {
		t.Errorf("got %v, want a mistake in cpus[0]", err)
	}
}

func TestHostWarnsOfSourcesThatItDoesNotHave(t *testing.T) {
	none, loopback := netip.MustParseAddr("192.0.2.99"), netip.MustParseAddr("127.0.0.1")
	cfg := Config{Services: []Service{
		{Name: "a", Check: Check{Source: none}, MoreChecks: []Check{{Source: none}, {Source: loopback}}, Agent: Agent{Source: none}},
		{Name: "b", Check: Check{Interface: "golb-none"}, Servers: []Server{{Check: Check{Source: none, Interface: "lo"}}, {Check: Check{Interface: "lo"}}}},
	}}
	got, err := cfg.HostWarnings()
	if err != nil {
		t.Skip(err)
	}
	want := []string{
		"checks of a: no interface of this host has the source address 192.0.2.99", "agents of a: no interface of this host has the source address 192.0.2.99",
		"checks of b: this host has no interface golb-none", "checks of b: no interface of this host has the source address 192.0.2.99",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestConfigsThatHardlyAnybodyMeans(t *testing.T) {
	servers := []Server{{Address: netip.MustParseAddr("192.0.2.1")}}
	tests := []struct {
		name string
		cfg  Config
		want []string // beginnings
	}{
		{"no services", Config{}, []string{"services: none"}},
		{"no servers", Config{Services: []Service{{Servers: servers}, {}}}, []string{"services[1].servers: none"}},
		{"a page in place of servers", Config{Services: []Service{{Fallback: Fallback{Page: DefaultPage}}}}, nil},
		{"one packet, counted", Config{Services: []Service{{OnePacket: true, Servers: servers}}}, []string{"services[0].scheduler: wlc counts connections, and one_packet"}},
		{"calls, counted", Config{Services: []Service{{Scheduler: "lc", Persistence: Persistence{Engine: EngineSIP}, Servers: servers}}}, []string{"services[0].scheduler: lc counts connections, and the calls"}},
		{"one packet, by NAT", Config{Services: []Service{{Scheduler: "rr", OnePacket: true, Servers: []Server{{Method: NAT}}}}}, []string{"services[0].one_packet: with method nat"}},
		{"one packet, in turn", Config{Services: []Service{{Scheduler: "rr", OnePacket: true, Servers: servers}}}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.cfg.Warnings()
			if !slices.EqualFunc(got, tt.want, strings.HasPrefix) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
