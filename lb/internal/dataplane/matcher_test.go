package dataplane

import (
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb/lbtest/seeded"
)

// matched is a service, and what it takes.
type matched struct {
	Match
	service *Service
}

// plainFind is the rule of matcher, the slow way.
func plainFind(list []matched, proto uint8, vip netip.Addr, port uint16) *Service {
	var best *Service
	bits, width, first := -1, 0, uint16(0)
	for _, m := range list {
		w := int(m.Last) - int(m.First)
		if m.Proto != proto || !m.VIP.Contains(vip) || port < m.First || port > m.Last || m.VIP.Bits() < bits {
			continue
		}
		if m.VIP.Bits() > bits || w < width || w == width && m.First < first {
			best, bits, width, first = m.service, m.VIP.Bits(), w, m.First
		}
	}
	return best
}

func TestMatcherAgreesWithItsRule(t *testing.T) {
	vips := []string{"192.0.2.1/32", "192.0.2.2/32", "192.0.2.0/30", "192.0.0.0/16", "2001:db8::1/128", "2001:db8::/64"}
	targets := []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.9.9", "2001:db8::1", "2001:db8::2", "2001:db9::"}
	protocols := []uint8{forward.ProtoTCP, forward.ProtoUDP, forward.ProtoSCTP}
	seeded.Check(t, func(rt *rapid.T) {
		var x matcher
		var list []matched
		for range rapid.IntRange(1, 24).Draw(rt, "matches") {
			m := Match{
				VIP: netip.MustParsePrefix(rapid.SampledFrom(vips).Draw(rt, "vip")), Last: 65535,
				Proto: rapid.SampledFrom(protocols).Draw(rt, "protocol"),
			}
			if rapid.IntRange(0, 3).Draw(rt, "ranged") > 0 {
				m.First = rapid.Uint16Range(1, 20).Draw(rt, "first")
				m.Last = m.First + rapid.Uint16Range(0, 9).Draw(rt, "width")
			}
			if slices.ContainsFunc(list, func(o matched) bool { return o.Match == m }) {
				continue // no two services take the same
			}
			v := &Service{}
			list = append(list, matched{m, v})
			x.add(m, v)
		}
		x.finish()
		for _, target := range targets {
			a := netip.MustParseAddr(target)
			for port := uint16(0); port < 32; port++ {
				for _, proto := range protocols {
					got, want := x.find(proto, forward.AddrFrom(a), port), plainFind(list, proto, a, port)
					if got != want {
						rt.Fatalf("%v %v:%d: %p, want %p", proto, a, port, got, want)
					}
				}
			}
		}
	})
}
