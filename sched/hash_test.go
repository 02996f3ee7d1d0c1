package sched

import (
	"net/netip"
	"testing"
)

func TestHash32OfFoldedAddressPlusPort(t *testing.T) {
	for _, tt := range []struct {
		addr string
		port uint32
		want uint8
	}{
		{"192.0.2.1", 0, 50},
		{"192.0.2.2", 0, 148},
		{"10.0.0.1", 0, 39},
		{"203.0.113.7", 0, 124},
		{"2001:db8::1", 0, 63},
		{"203.0.113.7", 12345, 219},
	} {
		a := netip.MustParseAddr(tt.addr).As16()
		if got := hash32(fold(&a) + tt.port); got != tt.want {
			t.Errorf("%s + %d: got %d, want %d", tt.addr, tt.port, got, tt.want)
		}
	}
}
