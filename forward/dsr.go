package forward

import "encoding/binary"

// DecTTL takes one from the TTL or hop limit, in f and in p. The caller has
// made sure that it is above 1 and has answered time exceeded where it is not.
// The IPv4 header checksum follows by RFC 1624.
func DecTTL(f *Frame, p *Packet) {
	p.TTL--
	h := f.Buf[f.Head+p.L3:][:ip4MinLen]
	if p.Version == 6 {
		h[ip6HopLimit]--
		return
	}
	h[ip4TTL]--
	// TTL is the high byte of its word: 0x0100 less in the sum is 0x0100 more in the
	// checksum, and the carry with it.
	c := uint32(binary.BigEndian.Uint16(h[ip4Checksum:])) + 0x0100
	binary.BigEndian.PutUint16(h[ip4Checksum:], uint16(c+(c+1)>>16))
}

// DSR sends f on by direct server return (ip_vs: DROUTE, gatewaying): TTL and
// Ethernet addresses change, nothing else does. The caller has checked the TTL
// as for DecTTL.
func DSR(f *Frame, p *Packet, dst, src MAC) {
	normalizeOffload(f, p)
	DecTTL(f, p)
	SetMACs(f, dst, src)
}
