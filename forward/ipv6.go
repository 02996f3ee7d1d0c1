package forward

import "encoding/binary"

// IPv6 header fields (RFC 8200 §3).
const (
	ip6VerClassFlow = 0
	ip6Len          = 4
	ip6Next         = 6
	ip6HopLimit     = 7
	ip6Src          = 8
	ip6Dst          = 24
	ip6HeaderLen    = 40
)

// IPv6 extension headers (RFC 8200 §4) that come before the transport header. AH and
// ESP are not among them: they are transport protocols here, as in ip_vs.
const (
	extHopByHop = 0
	extRouting  = 43
	extFragment = 44
	extDest     = 60

	// maxExtHeaders bounds the chain: RFC 8200 §4.1 lists at most six before a transport
	// header.
	maxExtHeaders = 8

	fragHeaderLen = 8

	// A hop-by-hop header with the jumbo payload option alone (RFC 2675 §2), which Linux
	// puts into super-packets longer than 65535 bytes. It takes it out of their segments.
	jumboLen    = 8
	jumboOption = 0xc2
)

// ipv6 is an IPv6 header and what follows, of at least 40 bytes.
type ipv6 []byte

func (h ipv6) payloadLen() int     { return int(binary.BigEndian.Uint16(h[ip6Len:])) }
func (h ipv6) setPayloadLen(n int) { binary.BigEndian.PutUint16(h[ip6Len:], uint16(n)) }
func (h ipv6) class() uint8        { return h[0]<<4 | h[1]>>4 }
func (h ipv6) src() Addr           { return Addr(h[ip6Src : ip6Src+16]) }
func (h ipv6) dst() Addr           { return Addr(h[ip6Dst : ip6Dst+16]) }

// parseIPv6 reads the header at EthernetLen of b and the extension headers after it. super
// says that b is a super-packet of TCP.
func parseIPv6(b []byte, p *Packet, super bool) Reason {
	if len(b) < EthernetLen+ip6HeaderLen {
		return TooShort
	}
	h := ipv6(b[EthernetLen:])
	if h[0]>>4 != 6 {
		return BadIPHeader
	}
	n := h.payloadLen()
	if n == 0 && super {
		n, p.Oversized = len(h)-ip6HeaderLen, true
	}
	// A length of 0 is otherwise a jumbogram (RFC 2675), which no link of Linux has.
	end := EthernetLen + ip6HeaderLen + n
	if end > len(b) || n == 0 {
		return BadLength
	}
	p.Version = 6
	p.L3, p.L4, p.End = EthernetLen, EthernetLen+ip6HeaderLen, end
	p.readIPv6(h)
	if p.Oversized {
		p.skipJumbo(b)
	}
	if r := p.skipExtensions(b[:end]); r != None {
		return r
	}
	if p.Frag == NotFrag {
		return None
	}
	return p.checkFragment()
}

// readIPv6 reads the fixed fields.
func (p *Packet) readIPv6(h ipv6) {
	p.Src, p.Dst = h.src(), h.dst()
	p.Proto, p.TTL, p.TOS = h[ip6Next], h[ip6HopLimit], h.class()
}

// skipJumbo moves p.L4 and p.Proto from a header with the jumbo payload option, which gives
// the length of the super-packet b, to the header after it.
func (p *Packet) skipJumbo(b []byte) {
	h := b[p.L4:]
	if p.Proto != extHopByHop || len(h) < jumboLen || [3]byte(h[1:4]) != [3]byte{0, jumboOption, 4} || int(binary.BigEndian.Uint32(h[4:])) != len(h) {
		return
	}
	p.jumbo = true
	p.Proto = h[0]
	p.L4 += jumboLen
}

// skipExtensions moves p.L4 and p.Proto from the first header after the IPv6 header to
// the transport header. b ends where the packet does.
func (p *Packet) skipExtensions(b []byte) Reason {
	for n := 0; ; n++ {
		switch p.Proto {
		case extHopByHop, extRouting, extDest, extFragment:
		default:
			return None
		}
		if n == maxExtHeaders || p.L4+8 > len(b) {
			return BadExtensionHeader
		}
		h := b[p.L4:]
		size := (int(h[1]) + 1) * 8
		switch p.Proto {
		case extHopByHop:
			if n != 0 { // RFC 8200 §4.1: only right after the IPv6 header
				return BadExtensionHeader
			}
			p.HopByHop = true
		case extRouting:
			// With segments left, the destination is an intermediate node and not yet
			// the VIP; type 0 is to be dropped (RFC 5095).
			if h[3] != 0 {
				return BadExtensionHeader
			}
		case extFragment:
			if p.fragHdr != 0 {
				return BadExtensionHeader
			}
			size = fragHeaderLen
			p.fragHdr = uint16(p.L4)
			p.FragID = binary.BigEndian.Uint32(h[4:])
			v := binary.BigEndian.Uint16(h[2:])
			p.setFragment(v&^7, v&1 != 0)
		}
		if p.L4+size > len(b) {
			return BadExtensionHeader
		}
		p.Proto = h[0]
		p.L4 += size
		if p.Frag == LaterFrag {
			return None
		}
	}
}
