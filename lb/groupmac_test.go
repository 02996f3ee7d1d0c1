package lb

import (
	"net/netip"
	"testing"

	"github.com/golb/golb/forward"
)

// TestFramesToGroupsAreNotForwarded: a switch that floods them gives them to other hosts too,
// of which another may be a balancer.
func TestFramesToGroupsAreNotForwarded(t *testing.T) {
	for _, method := range []Method{DSR, NAT, TUN} {
		t.Run(method.String(), func(t *testing.T) {
			cfg := Config{Services: []Service{applyService(0, 1)}}
			cfg.Services[0].Method = method
			x := newBed(t, cfg)
			client := netip.MustParseAddrPort("198.51.100.7:4000")
			for name, tc := range map[string]struct {
				mac  forward.MAC
				want Reason
			}{
				"broadcast": {forward.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, GroupMAC},
				"multicast": {forward.MAC{1, 0, 0x5e, 0, 0, 1}, GroupMAC},
				"golb's":    {rigMAC, forwarded},
			} {
				frame := rigFrame(rigClient, TCP, client, applyVIP(0), forward.FlagSYN)
				copy(frame, tc.mac[:])
				reason, sent := x.handle(0, frame)
				if reason != tc.want || (len(sent) == 1) != (tc.want == forwarded) {
					t.Errorf("%s: %s, %d sent; want %s", name, reason, len(sent), tc.want)
				}
			}
		})
	}
}
