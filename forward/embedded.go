package forward

import "encoding/binary"

// IsICMPError reports whether the packet is an ICMP message that quotes the packet
// it is about (RFC 1122 §3.2.2; ICMPv6 types below 128, RFC 4443 §2.1, and the
// redirect of RFC 4861 §4.5).
func (p *Packet) IsICMPError() bool {
	if !p.isICMP() || p.Frag == LaterFrag {
		return false
	}
	if p.Version == 6 {
		return p.ICMPType < 128 || p.ICMPType == ICMPv6Redirect
	}
	switch p.ICMPType {
	case ICMPUnreachable, ICMPSourceQuench, ICMPRedirect, ICMPTimeExceeded, ICMPParameter:
		return true
	}
	return false
}

// IsRelated reports whether the packet is an ICMP error that ip_vs forwards to the
// connection of the packet it quotes: IPv4 types 3, 4 and 11, ICMPv6 types below 128.
func (p *Packet) IsRelated() bool {
	if !p.IsICMPError() {
		return false
	}
	if p.Version == 6 {
		return p.ICMPType < 128
	}
	return p.ICMPType != ICMPRedirect && p.ICMPType != ICMPParameter
}

// MTU returns the next-hop MTU in bytes that "fragmentation needed" (RFC 1191 §4) or
// "packet too big" (RFC 4443 §3.2) carries; 0 where p is neither, or comes from a router
// that does not fill it in.
func MTU(f *Frame, p *Packet) int {
	h := f.Bytes()[p.L4:]
	switch {
	case p.Version == 4 && p.ICMPType == ICMPUnreachable && p.ICMPCode == icmpFragNeeded:
		return int(binary.BigEndian.Uint16(h[icmpMTU4:]))
	case p.Version == 6 && p.ICMPType == ICMPv6TooBig:
		return int(min(binary.BigEndian.Uint32(h[icmpRest:]), 65535))
	}
	return 0
}

// minQuoted is how many bytes of the transport header an ICMP error quotes at least (RFC
// 792): enough for the ports.
const minQuoted = 8

// ParseEmbedded finds the packet that the ICMP error in f quotes and fills all of q.
// Offsets in q count from the start of f, as in p. q.End is where the quote ends, which is
// mostly before the end of the quoted packet. q.Payload is q.L4, since quoted transport
// headers are rarely complete. Of a quoted later fragment (see q.Frag) only the addresses
// are known.
//
// The result is BadEmbedded where p is not an ICMP error, is a fragment, or where the
// quote ends before the 8 bytes of transport header that RFC 792 promises. The ICMP
// checksum is not checked: see ChecksumOK.
func ParseEmbedded(f *Frame, p, q *Packet) Reason {
	if !p.IsICMPError() || p.Frag != NotFrag {
		return BadEmbedded
	}
	b := f.Bytes()[:p.End]
	at := p.Payload
	if p.Version == 6 && p.ICMPType == ICMPv6Redirect {
		return BadEmbedded
	}
	*q = Packet{Version: p.Version, L3: at, SCTPChunk: SCTPNoChunk}
	return q.readQuoted(b)
}

// readQuoted fills q, in which Version and L3 are set. b ends where the quote does.
func (q *Packet) readQuoted(b []byte) Reason {
	if r := q.readQuotedIP(b); r != None {
		return r
	}
	q.Payload = q.L4
	if q.Frag == LaterFrag {
		return None
	}
	if q.L4+minQuoted > q.End {
		return BadEmbedded
	}
	h := b[q.L4:q.End]
	switch {
	case hasPorts(q.Proto):
		q.readPorts(h)
	case q.isICMP():
		return q.readICMP(b[:q.End])
	}
	return None
}

// readQuotedIP reads the IP header at q.L3 of b. The length in it may exceed what is
// quoted.
func (q *Packet) readQuotedIP(b []byte) Reason {
	h := b[q.L3:]
	if q.Version == 4 {
		if len(h) < ip4MinLen || h[0]>>4 != 4 {
			return BadEmbedded
		}
		v4 := ipv4(h)
		hl := v4.headerLen()
		if hl < ip4MinLen || hl > len(h) || v4.totalLen() < hl {
			return BadEmbedded
		}
		q.L4, q.End = q.L3+hl, q.L3+min(v4.totalLen(), len(h))
		q.readIPv4(v4)
		return None
	}
	if len(h) < ip6HeaderLen || h[0]>>4 != 6 {
		return BadEmbedded
	}
	v6 := ipv6(h)
	q.L4, q.End = q.L3+ip6HeaderLen, q.L3+min(ip6HeaderLen+v6.payloadLen(), len(h))
	q.readIPv6(v6)
	if q.skipExtensions(b[:q.End]) != None {
		return BadEmbedded
	}
	return None
}

// QuotedLen is how long the whole packet was that q, filled by ParseEmbedded, is the quote
// of: in bytes, as the quoted IP header says.
func QuotedLen(f *Frame, q *Packet) int {
	h := f.Bytes()[q.L3:]
	if q.Version == 4 {
		return ipv4(h).totalLen()
	}
	return ip6HeaderLen + ipv6(h).payloadLen()
}

// NATEmbeddedRequest translates an ICMP error from the client's side about a packet that
// a server sent: the destination of f and the source of the quoted packet q become the
// server's address and port. Both IP header checksums are updated. p and q describe f
// afterwards. TTL and Ethernet addresses are left to the caller, as by NATRequest.
//
// As in the kernel (ip_vs_nat_icmp, ip_vs_nat_icmp_v6), the ICMP checksum is computed,
// that of ICMPv6 left partial, and the quoted transport checksum is not updated, since
// most quotes end before it. As damage would no longer show, the caller drops packets
// that are not ChecksumOK before.
//
// The result is FamilyMismatch where server is not of the packet's family.
func NATEmbeddedRequest(f *Frame, p, q *Packet, server Addr, port uint16) Reason {
	return translateEmbedded(f, p, q, destination, server, port)
}

// NATEmbeddedReply translates an ICMP error from the server's side about a packet that
// the client sent: the source of f and the destination of the quoted packet q become the
// service's. In all else it is like NATEmbeddedRequest.
func NATEmbeddedReply(f *Frame, p, q *Packet, service Addr, port uint16) Reason {
	return translateEmbedded(f, p, q, source, service, port)
}

func translateEmbedded(f *Frame, p, q *Packet, outer side, addr Addr, port uint16) Reason {
	if addr.Is4() != (p.Version == 4) {
		return FamilyMismatch
	}
	inner := source + destination - outer
	b := f.Bytes()
	replaceAddr(b[p.L3:], p.Version, outer, &addr)
	*p.addr(outer) = addr
	replaceAddr(b[q.L3:], q.Version, inner, &addr)
	*q.addr(inner) = addr
	if q.Version == 4 {
		// Some routers quote a header with decremented TTL and the old checksum.
		ipv4(b[q.L3:]).fillChecksum()
	}
	if hasPorts(q.Proto) && q.Frag != LaterFrag {
		binary.BigEndian.PutUint16(b[q.L4+inner.port():], port)
		*q.port(inner) = port
	}
	if p.Version == 6 {
		setPartialChecksum(f, p, icmpChecksum)
		return None
	}
	f.Offload = Offload{}
	fillICMP(b[:p.End], p)
	return None
}

// fillICMP computes the checksum of the ICMP message at p.L4 of b (RFC 792, RFC
// 4443 §2.3). b ends where the packet does.
func fillICMP(b []byte, p *Packet) {
	m := b[p.L4:]
	binary.BigEndian.PutUint16(m[icmpChecksum:], 0)
	s := sum(m)
	if p.Version == 6 {
		s = add(s, pseudo(&p.Src, &p.Dst, ProtoICMPv6, len(m)))
	}
	binary.BigEndian.PutUint16(m[icmpChecksum:], ^s)
}
