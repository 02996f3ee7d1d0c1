package lb

import (
	"fmt"
	"net/netip"
)

// The types of a config whose values are strings in a file. UnmarshalText reads what
// MarshalText writes. The zero Protocol, Method and VIP, which mean that the value is not
// given, are empty strings, as package netip's zero values are.

// MarshalText writes the name in a config; it fails for a protocol that has none.
func (p Protocol) MarshalText() ([]byte, error) { return textOf(protocolNames, p, p == 0) }

// MarshalText writes the name in a config; it fails for a method that has none.
func (m Method) MarshalText() ([]byte, error) { return textOf(methodNames, m, m == 0) }

// MarshalText writes the name in a config; it fails for a type that has none.
func (t TunnelType) MarshalText() ([]byte, error) { return textOf(tunnelNames, t, false) }

// MarshalText writes the name in a config; it fails for a policy that has none.
func (p DownPolicy) MarshalText() ([]byte, error) { return textOf(downPolicyNames, p, false) }

// MarshalText writes the name in a config; it fails for a policy that has none.
func (p ConflictPolicy) MarshalText() ([]byte, error) {
	return textOf(conflictPolicyNames, p, p == 0)
}

// MarshalText writes the text of String; it fails for a prefix with host bits.
func (v VIP) MarshalText() ([]byte, error) {
	if v == (VIP{}) {
		return nil, nil
	}
	return textOfPrefix(v.Prefix)
}

// MarshalText writes the text of String; it fails for a prefix with host bits.
func (p Prefix) MarshalText() ([]byte, error) { return textOfPrefix(p.Prefix) }

func textOfPrefix(p netip.Prefix) ([]byte, error) {
	if !p.IsValid() || p != p.Masked() {
		return nil, fmt.Errorf("%v is neither an address nor a prefix without host bits", p)
	}
	return []byte(prefixText(p)), nil
}

// MarshalText writes the text of String; it fails for ranges that are invalid.
func (p Ports) MarshalText() ([]byte, error) {
	for _, r := range p {
		if r.First == 0 || r.First > r.Last {
			return nil, fmt.Errorf("%d-%d is not a range of ports", r.First, r.Last)
		}
	}
	return []byte(p.String()), nil
}

// textOf returns the name of v, or "" where v is not given.
func textOf[T interface {
	~uint8
	fmt.Stringer
}](names map[T]string, v T, notGiven bool) ([]byte, error) {
	name, ok := names[v]
	if !ok && !notGiven {
		return nil, fmt.Errorf("%v has no name", v)
	}
	return []byte(name), nil
}
