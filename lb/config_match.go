package lb

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Match matches packets by destination: address, protocol and port.
type Match struct {
	VIP       VIP        `yaml:"vip"`
	Protocols []Protocol `yaml:"protocols"` // none means TCP
	Ports     Ports      `yaml:"ports"`     // none means all
}

// VIP is a virtual IP address, or a prefix of them. golb answers ARP and neighbor
// solicitations for prefixes of up to 256 addresses; larger ones must be routed to golb's
// host.
type VIP struct{ netip.Prefix }

// UnmarshalText reads an IPv4 or IPv6 address, as 192.0.2.1, or prefix, as 192.0.2.0/28.
func (v *VIP) UnmarshalText(b []byte) (err error) {
	if len(b) == 0 {
		*v = VIP{}
		return nil
	}
	v.Prefix, err = parsePrefix(b)
	return err
}

// String returns the prefix, or a single address without prefix length.
func (v VIP) String() string { return prefixText(v.Prefix) }

// Prefix is a prefix of clients' addresses, or a single address.
type Prefix struct{ netip.Prefix }

// UnmarshalText reads an IPv4 or IPv6 address, as 192.0.2.1, or prefix, as 192.0.2.0/28.
func (p *Prefix) UnmarshalText(b []byte) (err error) {
	p.Prefix, err = parsePrefix(b)
	return err
}

// String returns the prefix, or a single address without prefix length.
func (p Prefix) String() string { return prefixText(p.Prefix) }

func parsePrefix(b []byte) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(string(b)); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(string(b))
	if err != nil || p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("allowed: an address, or a prefix without host bits")
	}
	return p, nil
}

func prefixText(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// Ports is a set of ports; the empty set means all.
type Ports []PortRange

// PortRange is the ports from First to Last, both included.
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

// String returns the text that UnmarshalText reads.
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

// String returns the match in one line.
func (m Match) String() string {
	var b strings.Builder
	m.write(&b)
	return b.String()
}

func (m Match) write(b *strings.Builder) {
	for i, p := range m.protocols() {
		if i > 0 {
			b.WriteByte('+')
		}
		b.WriteString(p.String())
	}
	if m.VIP.Addr().Is6() && m.VIP.IsSingleIP() {
		b.WriteString(" [" + m.VIP.String() + "]:")
	} else {
		b.WriteString(" " + m.VIP.String() + ":")
	}
	b.WriteString(m.Ports.String())
}

func (m Match) protocols() []Protocol {
	if len(m.Protocols) == 0 {
		return []Protocol{TCP}
	}
	return m.Protocols
}
