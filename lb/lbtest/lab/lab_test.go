package lab_test

import (
	"testing"
)

func TestTCPPassesASwitchUnharmed(t *testing.T) {
	for _, tc := range []struct {
		name, addr string
		mtu        int
	}{
		{"IPv4 MTU 1500", "192.0.2.2:80", 0},
		{"IPv6 MTU 1500", "[2001:db8::2]:80", 0},
		{"IPv4 MTU 9000", "192.0.2.2:80", 9000},
		{"IPv6 MTU 9000", "[2001:db8::2]:80", 9000},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := newLab(t)
			a, b, _ := pair(t, l, tc.mtu)
			transfer(t, a, b, tc.addr, 16<<20)
		})
	}
}
