package lb

import "fmt"

// The values of a config that are texts in a file: what MarshalText writes,
// UnmarshalText reads. The zero Protocol, Method and VIP, which stand for values not
// given, are empty texts, as package netip's are.

// MarshalText writes the name in a config; it fails for a protocol that has none.
func (p Protocol) MarshalText() ([]byte, error) { return textOf(protocolNames, p, p == 0) }

// MarshalText writes the name in a config; it fails for a method that has none.
func (m Method) MarshalText() ([]byte, error) { return textOf(methodNames, m, m == 0) }

// MarshalText writes the name in a config; it fails for a type that has none.
func (t TunnelType) MarshalText() ([]byte, error) { return textOf(tunnelNames, t, false) }

// MarshalText writes the name in a config; it fails for a policy that has none.
func (p DownPolicy) MarshalText() ([]byte, error) { return textOf(downPolicyNames, p, false) }

// MarshalText writes what String prints; it fails for a prefix with host bits.
func (v VIP) MarshalText() ([]byte, error) {
	switch {
	case v == VIP{}:
		return nil, nil
	case !v.IsValid() || v.Prefix != v.Masked():
		return nil, fmt.Errorf("%v is neither an address nor a prefix without host bits", v.Prefix)
	}
	return []byte(v.String()), nil
}

// MarshalText writes what String prints; it fails for ranges that are none.
func (p Ports) MarshalText() ([]byte, error) {
	for _, r := range p {
		if r.First == 0 || r.First > r.Last {
			return nil, fmt.Errorf("%d-%d is no range of ports", r.First, r.Last)
		}
	}
	return []byte(p.String()), nil
}

// textOf is the name of v, or "" where it was not given.
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
