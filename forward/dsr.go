package forward

import "encoding/binary"

// DecTTL decrements the TTL or hop limit, in f and in p, and updates the IPv4 header
// checksum (RFC 1624). The TTL must be above 1: where it is not, the packet is dropped
// and TimeExceeded sent.
func DecTTL(f *Frame, p *Packet) {
	p.TTL--
	h := f.Buf[f.Head+p.L3:][:ip4MinLen]
	if p.Version == 6 {
		h[ip6HopLimit]--
		return
	}
	h[ip4TTL]--
	// TTL is the high byte of its 16-bit word, so the sum has 0x0100 less and the
	// checksum, its complement, 0x0100 more, with the carry added.
	c := uint32(binary.BigEndian.Uint16(h[ip4Checksum:])) + 0x0100
	binary.BigEndian.PutUint16(h[ip4Checksum:], uint16(c+(c+1)>>16))
}

// DSR rewrites f for direct server return (ip_vs: DROUTE): it decrements the TTL and sets
// the Ethernet addresses, dst to the server's or its router's. Nothing else changes. The
// TTL must be above 1, as for DecTTL.
func DSR(f *Frame, p *Packet, dst, src MAC) {
	normalizeOffload(f, p)
	DecTTL(f, p)
	SetMACs(f, dst, src)
}
