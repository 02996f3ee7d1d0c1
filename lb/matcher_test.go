package lb

import (
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/internal/seeded"
)

// matched is a service, and what it says it takes.
type matched struct {
	Match
	service *service
}

// plainFind is the rule of matcher, the slow way.
func plainFind(list []matched, proto Protocol, vip netip.Addr, port uint16) *service {
	var best *service
	bits, width, first := -1, 0, uint16(0)
	for _, m := range list {
		if !slices.Contains(m.protocols(), proto) || !m.VIP.Contains(vip) {
			continue
		}
		ports := m.Ports
		if len(ports) == 0 {
			ports = Ports{{0, 65535}}
		}
		for _, r := range ports {
			w := int(r.Last) - int(r.First)
			if port < r.First || port > r.Last || m.VIP.Bits() < bits {
				continue
			}
			if m.VIP.Bits() > bits || w < width || w == width && r.First < first {
				best, bits, width, first = m.service, m.VIP.Bits(), w, r.First
			}
		}
	}
	return best
}

func TestMatcherAgreesWithItsRule(t *testing.T) {
	vips := []string{"192.0.2.1/32", "192.0.2.2/32", "192.0.2.0/30", "192.0.0.0/16", "2001:db8::1/128", "2001:db8::/64"}
	targets := []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.9.9", "2001:db8::1", "2001:db8::2", "2001:db9::"}
	seeded.Check(t, func(rt *rapid.T) {
		var x matcher
		var list []matched
		taken := map[string]bool{}
		for range rapid.IntRange(1, 12).Draw(rt, "matches") {
			m := Match{VIP: VIP{netip.MustParsePrefix(rapid.SampledFrom(vips).Draw(rt, "vip"))}}
			m.Protocols = rapid.SampledFrom([][]Protocol{nil, {UDP}, {TCP, UDP}}).Draw(rt, "protocols")
			for range rapid.IntRange(0, 3).Draw(rt, "ranges") {
				lo := rapid.Uint16Range(1, 20).Draw(rt, "first")
				m.Ports = append(m.Ports, PortRange{lo, lo + rapid.Uint16Range(0, 9).Draw(rt, "width")})
			}
			if taken[m.String()] || overlapsAlike(list, m) {
				continue // Validate refuses two services for the same
			}
			taken[m.String()] = true
			v := &service{name: m.String()}
			list = append(list, matched{m, v})
			x.add(m, v)
		}
		x.finish()
		for _, target := range targets {
			a := netip.MustParseAddr(target)
			for port := uint16(0); port < 32; port++ {
				for _, proto := range []Protocol{TCP, UDP, SCTP} {
					got, want := x.find(proto, forward.AddrFrom(a), port), plainFind(list, proto, a, port)
					if got != want {
						rt.Fatalf("%v %v:%d: %v, want %v", proto, a, port, got, want)
					}
				}
			}
		}
	})
}

// overlapsAlike reports whether m has a range, protocol and VIP just as the list has.
func overlapsAlike(list []matched, m Match) bool {
	for _, o := range list {
		if o.VIP != m.VIP || !slices.ContainsFunc(m.protocols(), func(p Protocol) bool { return slices.Contains(o.protocols(), p) }) {
			continue
		}
		if len(o.Ports) == 0 && len(m.Ports) == 0 || slices.ContainsFunc(m.Ports, func(r PortRange) bool { return slices.Contains(o.Ports, r) }) {
			return true
		}
	}
	return false
}
