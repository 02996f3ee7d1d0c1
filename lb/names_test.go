package lb

import (
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
