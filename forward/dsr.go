package forward

// DecTTL takes one from the TTL or hop limit, in f and in p. The caller has
// made sure that it is above 1 and has answered time exceeded where it is not.
// The IPv4 header checksum follows by RFC 1624.
func DecTTL(f *Frame, p *Packet) {
	p.TTL--
	h := f.Bytes()[p.L3:]
	if p.Version == 6 {
		h[ip6HopLimit]--
		return
	}
	h[ip4TTL]--
	// TTL is the high byte of its word; taking 0x0100 away is adding ^0x0100.
	update(h[ip4Checksum:], ^uint16(0x0100))
}

// DSR sends f on by direct server return (ip_vs: DROUTE, gatewaying): TTL and
// Ethernet addresses change, nothing else does. The caller has checked the TTL
// as for DecTTL.
func DSR(f *Frame, p *Packet, dst, src MAC) {
	settle(f, p)
	DecTTL(f, p)
	SetMACs(f, dst, src)
}
