package dataplane

import (
	"cmp"
	"slices"

	"github.com/golb/golb/forward"
)

// matcher finds the service of a packet. The most specific match wins: the longest
// VIP prefix that has the port at all, and of its ports the narrowest range; of
// equally narrow ones that with the lower first port. It is never changed.
//
// The cost of a look-up grows with the number of different prefix lengths, and
// with the logarithm of the ranges of one VIP; not with the number of services:
// where all have one address and one port it is one look at one hash table.
type matcher struct {
	lengths []prefixLength // longest first
	single  map[matchKey]*Service
	ranges  map[matchKey][]servicePorts // of port 0: disjoint, ascending
	vips    map[matchKey]struct{}       // of port 0 and protocol 0
}

// prefixLength is a length, as of an IPv6 prefix, that some VIP has.
type prefixLength struct {
	bits   int
	ranged bool // and ports that are not single
}

// matchKey has no padding, so that it hashes and compares as bytes.
type matchKey struct {
	prefix forward.Addr
	port   uint16
	proto  uint8
	bits   uint8
}

type portRange struct{ First, Last uint16 }

type servicePorts struct {
	portRange
	service *Service
}

// add enters a match of a service.
func (x *matcher) add(m Match, v *Service) {
	if x.vips == nil {
		x.single, x.ranges, x.vips = map[matchKey]*Service{}, map[matchKey][]servicePorts{}, map[matchKey]struct{}{}
	}
	bits := m.VIP.Bits() + 128 - m.VIP.Addr().BitLen()
	at, found := slices.BinarySearchFunc(x.lengths, bits, func(l prefixLength, b int) int { return b - l.bits })
	if !found {
		x.lengths = slices.Insert(x.lengths, at, prefixLength{bits: bits})
	}
	key := matchKey{prefix: mask(forward.AddrFrom(m.VIP.Addr()), bits), bits: uint8(bits)}
	x.vips[key] = struct{}{}
	key.proto = m.Proto
	if m.First == m.Last {
		key.port = m.First
		x.single[key] = v
	} else {
		x.ranges[key] = append(x.ranges[key], servicePorts{portRange{m.First, m.Last}, v})
		x.lengths[at].ranged = true
	}
}

// finish makes the ranges of all VIPs disjoint.
func (x *matcher) finish() {
	for key, ranges := range x.ranges {
		x.ranges[key] = disjoint(ranges)
	}
}

// disjoint cuts ranges so that each port is in the narrowest that had it.
func disjoint(ranges []servicePorts) []servicePorts {
	slices.SortStableFunc(ranges, func(a, b servicePorts) int {
		return cmp.Or(cmp.Compare(a.Last-a.First, b.Last-b.First), cmp.Compare(a.First, b.First))
	})
	var out []servicePorts
	for _, r := range ranges {
		// What is left of r between the ranges that are there.
		first, last := int(r.First), int(r.Last)
		var parts []servicePorts
		for _, o := range out {
			if int(o.First) > first && first <= last {
				parts = append(parts, servicePorts{portRange{uint16(first), uint16(min(last, int(o.First)-1))}, r.service})
			}
			if int(o.Last) >= first {
				first = int(o.Last) + 1
			}
		}
		if first <= last {
			parts = append(parts, servicePorts{portRange{uint16(first), uint16(last)}, r.service})
		}
		parts = slices.DeleteFunc(parts, func(p servicePorts) bool { return p.First > p.Last || p.First > r.Last })
		out = append(out, parts...)
		slices.SortFunc(out, func(a, b servicePorts) int { return cmp.Compare(a.First, b.First) })
	}
	return out
}

// find returns the service of a packet, or nil.
func (x *matcher) find(proto uint8, vip forward.Addr, port uint16) *Service {
	for _, length := range x.lengths {
		key := matchKey{mask(vip, length.bits), port, proto, uint8(length.bits)}
		if v := x.single[key]; v != nil {
			return v
		}
		if !length.ranged {
			continue
		}
		key.port = 0
		if v := findPort(x.ranges[key], port); v != nil {
			return v
		}
	}
	return nil
}

// isVIP reports whether some service has the address.
func (x *matcher) isVIP(a forward.Addr) bool {
	for _, length := range x.lengths {
		if _, ok := x.vips[matchKey{prefix: mask(a, length.bits), bits: uint8(length.bits)}]; ok {
			return true
		}
	}
	return false
}

func findPort(ranges []servicePorts, port uint16) *Service {
	i, ok := slices.BinarySearchFunc(ranges, port, func(r servicePorts, p uint16) int {
		switch {
		case p < r.First:
			return 1
		case p > r.Last:
			return -1
		}
		return 0
	})
	if !ok {
		return nil
	}
	return ranges[i].service
}
