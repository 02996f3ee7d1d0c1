package lb_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest"
)

// group is a service of servers 1 to n that takes what the matches say.
func group(n int, matches ...lb.Match) lb.Service {
	s := service(vip4, n)
	s.VIP, s.Port, s.Match, s.Scheduler = netip.Addr{}, 0, matches, "rr"
	return s
}

func vipOf(s string) lb.VIP {
	var v lb.VIP
	if err := v.UnmarshalText([]byte(s)); err != nil {
		panic(err)
	}
	return v
}

func TestPersistenceSpansAllThatAGroupTakes(t *testing.T) {
	s := group(3,
		lb.Match{VIP: vipOf("192.0.2.80"), Protocols: []lb.Protocol{lb.TCP, lb.UDP}, Ports: lb.Ports{{80, 80}, {8000, 8100}}},
		lb.Match{VIP: vipOf("198.51.100.0/28")})
	s.Persistence.Timeout = 5 * time.Minute
	b := start(t, lb.Config{Services: []lb.Service{s}})
	for n := range 9 {
		from := client(n)
		want := b.picks(from, netip.MustParseAddrPort("192.0.2.80:80"))
		for _, to := range []string{"192.0.2.80:8000", "192.0.2.80:8100", "198.51.100.15:1", "198.51.100.0:65535"} {
			if got := b.picks(from, netip.MustParseAddrPort(to)); got != want || got == 0 {
				t.Errorf("client %d: %s went to server %d, port 80 to %d", n, to, got, want)
			}
		}
		udp := b.inject(lbtest.Packet{SrcMAC: clientMAC, DstMAC: balancerMAC, Protocol: lb.UDP, Src: from, Dst: netip.MustParseAddrPort("192.0.2.80:8050")}.Frame())
		if len(udp) != 1 || udp[0].Data[5] != want {
			t.Errorf("client %d: UDP did not go to server %d", n, want)
		}
	}
}

func TestAGroupTakesNothingElse(t *testing.T) {
	b := start(t, lb.Config{Services: []lb.Service{group(1, lb.Match{VIP: vipOf("198.51.100.0/28"), Ports: lb.Ports{{80, 90}}})}})
	for to, want := range map[string]byte{
		"198.51.100.3:80": 1, "198.51.100.3:90": 1, "198.51.100.3:79": 0xfe, "198.51.100.3:91": 0xfe, "198.51.100.16:80": 0,
	} {
		// What goes to the client is a reset.
		if got := b.picks(client(1), netip.MustParseAddrPort(to)); got != want {
			t.Errorf("%s went to %#x, want %#x", to, got, want)
		}
	}
}

func TestServicesThatWouldTakeTheSameAreRefused(t *testing.T) {
	one := group(1, lb.Match{VIP: vipOf("192.0.2.80"), Ports: lb.Ports{{80, 80}, {443, 443}}})
	for name, other := range map[string]lb.Service{
		"a plain service": service(vip4, 1),
		"another group":   group(1, lb.Match{VIP: vipOf("192.0.2.80"), Protocols: []lb.Protocol{lb.UDP, lb.TCP}, Ports: lb.Ports{{443, 443}}}),
	} {
		cfg := lb.Config{Interfaces: []string{"eth0"}, Services: []lb.Service{one, other}}
		if err := cfg.Validate(lb.Env{}); err == nil {
			t.Errorf("%s with a port of the first service is accepted", name)
		}
	}
	wider := group(1, lb.Match{VIP: vipOf("192.0.2.80"), Ports: lb.Ports{{1, 1000}}})
	cfg := lb.Config{Interfaces: []string{"eth0"}, Services: []lb.Service{one, wider}}
	if err := cfg.Validate(lb.Env{}); err != nil {
		t.Errorf("a wider range beside single ports is refused: %v", err)
	}
}

func TestTimeoutsAreTheServicesThenTheSettings(t *testing.T) {
	withTimeout := service(vip4, 1)
	withTimeout.Timeouts.Established = 30 * time.Second
	other := service(vip4, 1)
	other.Port = 81
	cfg := lb.Config{Services: []lb.Service{withTimeout, other}}
	cfg.Settings.Timeouts = lb.Timeouts{Established: 50 * time.Second, SynRecv: 7 * time.Second}
	b := start(t, cfg)
	for port, want := range map[uint16]time.Duration{80: 30 * time.Second, 81: 50 * time.Second} {
		to := netip.AddrPortFrom(vip4, port)
		b.send(client(1), to, forward.FlagSYN)
		if c, ok := b.balancer.Connection(lb.TCP, client(1), to); !ok || c.Expires != 7*time.Second {
			t.Errorf("port %d, half open: expires in %v, want 7s", port, c.Expires)
		}
		b.send(client(1), to, forward.FlagACK)
		if c, ok := b.balancer.Connection(lb.TCP, client(1), to); !ok || c.Expires != want {
			t.Errorf("port %d, established: expires in %v, want %v", port, c.Expires, want)
		}
	}
}

func TestMarksAreShown(t *testing.T) {
	four := group(2, lb.Match{VIP: vipOf("192.0.2.80")})
	four.Mark = 7
	unnamed := group(2, lb.Match{VIP: vipOf("192.0.2.81")})
	for _, s := range []*lb.Service{&four, &unnamed} {
		s.Persistence.Timeout = time.Minute
	}
	b := start(t, lb.Config{Services: []lb.Service{four, unnamed}})
	b.picks(client(1), netip.MustParseAddrPort("192.0.2.80:80"))
	st := b.balancer.Stats()
	if s := st.Services[0]; s.Mark != 7 || s.Name != "mark 7" {
		t.Errorf("service %q has mark %d, want 7", s.Name, s.Mark)
	}
	if s := st.Services[1]; s.Mark == 0 || s.Mark == 7 {
		t.Errorf("a service without a number has mark %d", s.Mark)
	}
	for c := range b.balancer.Connections {
		if c.Template && (c.Mark != 7 || c.Service != "mark 7") {
			t.Errorf("template of mark %d, service %q", c.Mark, c.Service)
		}
	}
	twice := lb.Config{Interfaces: []string{"eth0"}, Services: []lb.Service{four, unnamed}}
	twice.Services[1].Mark = 7
	if err := twice.Validate(lb.Env{}); err == nil {
		t.Error("two services have one mark")
	}
}
