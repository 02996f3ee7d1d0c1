package lb

import (
	"errors"
	"net/netip"
	"testing"
)

func TestServicesHaveNamesOfTheirOwn(t *testing.T) {
	of := func(vip string) []Match {
		return []Match{{VIP: VIP{netip.MustParsePrefix(vip)}}}
	}
	for _, tt := range []struct {
		service Service
		want    string
	}{
		{Service{VIP: netip.MustParseAddr("192.0.2.1"), Port: 80}, "tcp 192.0.2.1:80"},
		{Service{VIP: netip.MustParseAddr("192.0.2.1"), Port: 80, Name: "web"}, "web"},
		{Service{Mark: 7, Match: of("192.0.2.0/24")}, "mark 7"},
		{Service{Mark: 7, Match: of("2001:db8::/64")}, "mark 7 IPv6"},
	} {
		if got := tt.service.name(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestServicesOfAVIPAreOfOneGroup(t *testing.T) {
	vip := netip.MustParseAddr("192.0.2.80")
	cfg := Config{Interfaces: []string{"eth0"}, Groups: []Group{{Name: "blue"}}, Services: []Service{
		{VIP: vip, Port: 80}, {VIP: vip, Port: 443, Group: "blue"}, {VIP: netip.MustParseAddr("192.0.2.81"), Port: 80, Group: "blue"},
	}}
	var mistakes ConfigErrors
	if err := cfg.Validate(Env{}); !errors.As(err, &mistakes) || len(mistakes) != 1 || mistakes[0].Path != "services[1].group" {
		t.Errorf("a VIP of two groups: %v", err)
	}
	cfg.Services[0].Group = "blue"
	if err := cfg.Validate(Env{}); err != nil {
		t.Errorf("a VIP of one group: %v", err)
	}
}
