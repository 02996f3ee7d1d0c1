package lb

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/golb/golb/forward"
)

// Match names packets by destination: those to one of the VIPs' addresses, by one
// of the protocols, to one of the ports.
type Match struct {
	VIP       VIP        `yaml:"vip"`
	Protocols []Protocol `yaml:"protocols"` // none means TCP
	Ports     Ports      `yaml:"ports"`     // none means all
}

// VIP is an address, or a prefix: every address in it is one. golb answers ARP and
// neighbour solicitations for prefixes of up to 256 addresses; larger ones have to
// be routed to golb's host.
type VIP struct{ netip.Prefix }

// UnmarshalText reads 192.0.2.1, 192.0.2.0/28 or their like in IPv6.
func (v *VIP) UnmarshalText(b []byte) error {
	if a, err := netip.ParseAddr(string(b)); err == nil && a.Zone() == "" {
		v.Prefix = netip.PrefixFrom(a, a.BitLen())
		return nil
	}
	p, err := netip.ParsePrefix(string(b))
	if err != nil || p != p.Masked() {
		return fmt.Errorf("allowed: an address, or a prefix without host bits")
	}
	v.Prefix = p
	return nil
}

// String prints a single address without its length.
func (v VIP) String() string {
	if v.IsSingleIP() {
		return v.Addr().String()
	}
	return v.Prefix.String()
}

// Ports is a set of ports; the empty set stands for all.
type Ports []PortRange

// PortRange is the ports from First to Last, both among them.
type PortRange struct{ First, Last uint16 }

// UnmarshalText reads all, 80, 80,443 or 8000-8100,9000.
func (p *Ports) UnmarshalText(b []byte) error {
	*p = nil
	if string(b) == "all" {
		return nil
	}
	for part := range strings.SplitSeq(string(b), ",") {
		first, last, ranged := strings.Cut(strings.TrimSpace(part), "-")
		if !ranged {
			last = first
		}
		lo, err1 := strconv.ParseUint(first, 10, 16)
		hi, err2 := strconv.ParseUint(last, 10, 16)
		if err1 != nil || err2 != nil || lo == 0 || lo > hi {
			return fmt.Errorf("allowed: all, or ports and ranges of 1 to 65535, as 80,443,8000-8100")
		}
		*p = append(*p, PortRange{uint16(lo), uint16(hi)})
	}
	return nil
}

// String is what UnmarshalText reads.
func (p Ports) String() string {
	if len(p) == 0 {
		return "all"
	}
	parts := make([]string, len(p))
	for i, r := range p {
		parts[i] = strconv.Itoa(int(r.First))
		if r.Last != r.First {
			parts[i] += "-" + strconv.Itoa(int(r.Last))
		}
	}
	return strings.Join(parts, ",")
}

// String prints a match in one line.
func (m Match) String() string {
	names := make([]string, 0, 2)
	for _, p := range m.protocols() {
		names = append(names, p.String())
	}
	ports := m.Ports.String()
	if m.VIP.Addr().Is6() && m.VIP.IsSingleIP() {
		return fmt.Sprintf("%s [%s]:%s", strings.Join(names, "+"), m.VIP, ports)
	}
	return fmt.Sprintf("%s %s:%s", strings.Join(names, "+"), m.VIP, ports)
}

func (m Match) protocols() []Protocol {
	if len(m.Protocols) == 0 {
		return []Protocol{TCP}
	}
	return m.Protocols
}

// matcher finds the service of a packet. The most specific match wins: the longest
// VIP prefix that has the port at all, and of its ports the narrowest range; of
// equally narrow ones that with the lower first port. It is never changed.
//
// The cost of a look-up grows with the number of different prefix lengths, and
// with the logarithm of the ranges of one VIP; not with the number of services.
type matcher struct {
	lengths  []int // of prefixes as IPv6 ones, longest first
	vips     map[vipKey]*portTable
	prefixes map[vipKey]struct{} // of any protocol, which is 0 here
}

type vipKey struct {
	prefix forward.Addr
	length int
	proto  Protocol
}

// portTable is the ports of one VIP and protocol.
type portTable struct {
	single map[uint16]*service
	ranges []servicePorts // disjoint, ascending
}

type servicePorts struct {
	PortRange
	service *service
}

// add enters a match of a service.
func (x *matcher) add(m Match, v *service) {
	if x.vips == nil {
		x.vips, x.prefixes = map[vipKey]*portTable{}, map[vipKey]struct{}{}
	}
	length := m.VIP.Bits() + 128 - m.VIP.Addr().BitLen()
	if at, ok := slices.BinarySearchFunc(x.lengths, length, func(a, b int) int { return b - a }); !ok {
		x.lengths = slices.Insert(x.lengths, at, length)
	}
	prefix := mask(forward.AddrFrom(m.VIP.Addr()), length)
	x.prefixes[vipKey{prefix: prefix, length: length}] = struct{}{}
	for _, proto := range m.protocols() {
		key := vipKey{prefix, length, proto}
		t := x.vips[key]
		if t == nil {
			t = &portTable{single: map[uint16]*service{}}
			x.vips[key] = t
		}
		ports := m.Ports
		if len(ports) == 0 {
			ports = Ports{{0, 65535}}
		}
		for _, r := range ports {
			if r.First == r.Last {
				t.single[r.First] = v
			} else {
				t.ranges = append(t.ranges, servicePorts{r, v})
			}
		}
	}
}

// finish makes the ranges of all VIPs disjoint.
func (x *matcher) finish() {
	for _, t := range x.vips {
		t.ranges = disjoint(t.ranges)
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
				parts = append(parts, servicePorts{PortRange{uint16(first), uint16(min(last, int(o.First)-1))}, r.service})
			}
			if int(o.Last) >= first {
				first = int(o.Last) + 1
			}
		}
		if first <= last {
			parts = append(parts, servicePorts{PortRange{uint16(first), uint16(last)}, r.service})
		}
		parts = slices.DeleteFunc(parts, func(p servicePorts) bool { return p.First > p.Last || p.First > r.Last })
		out = append(out, parts...)
		slices.SortFunc(out, func(a, b servicePorts) int { return cmp.Compare(a.First, b.First) })
	}
	return out
}

// find returns the service of a packet, or nil.
func (x *matcher) find(proto Protocol, vip forward.Addr, port uint16) *service {
	for _, length := range x.lengths {
		if t := x.vips[vipKey{mask(vip, length), length, proto}]; t != nil {
			if v := t.find(port); v != nil {
				return v
			}
		}
	}
	return nil
}

// isVIP reports whether some service has the address.
func (x *matcher) isVIP(a forward.Addr) bool {
	for _, length := range x.lengths {
		if _, ok := x.prefixes[vipKey{prefix: mask(a, length), length: length}]; ok {
			return true
		}
	}
	return false
}

func (t *portTable) find(port uint16) *service {
	if v := t.single[port]; v != nil {
		return v
	}
	i, ok := slices.BinarySearchFunc(t.ranges, port, func(r servicePorts, p uint16) int {
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
	return t.ranges[i].service
}

// mask keeps the first bits of an address.
func mask(a forward.Addr, bits int) forward.Addr {
	if bits == 128 {
		return a
	}
	a[bits/8] &= ^byte(0xff >> (bits % 8))
	clear(a[bits/8+1:])
	return a
}
