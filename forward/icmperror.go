package forward

import "encoding/binary"

// ICMP codes (RFC 792, RFC 4443 §3.1).
const (
	icmpPortUnreachable   = 3
	icmpFragNeeded        = 4
	icmpv6PortUnreachable = 4
)

// An ICMP error is at most 576 bytes long over IPv4 (RFC 1812 §4.3.2.3) and 1280
// over IPv6 (RFC 4443 §2.4 (c)).
const (
	maxError4 = 576
	maxError6 = 1280
)

// The TOS of an ICMPv4 error is the packet's, but with the precedence INTERNETWORK
// CONTROL (RFC 1812 §4.3.2.5).
const (
	tosMask            = 0x1e
	tosInternetControl = 0xc0
)

// TimeExceeded writes into out the ICMP error for a packet whose TTL or hop limit runs
// out (RFC 792, RFC 4443 §3.3): from src, the balancer's address, to the sender of p, with
// id as the IPv4 identification. It quotes as much of f as an error may. It reports
// whether out is to be sent: MayAnswer allows it, src is of the packet's family, and out
// has room for the error, which MaxReply bytes always are.
func TimeExceeded(out *Frame, f *Frame, p *Packet, src Addr, id uint16) bool {
	if p.Version == 6 {
		return icmpError(out, f, p, src, id, ICMPv6TimeExceeded, 0, 0)
	}
	return icmpError(out, f, p, src, id, ICMPTimeExceeded, 0, 0)
}

// TooBig writes into out the ICMP error for a packet that is longer than mtu bytes and
// may not be fragmented: fragmentation needed (RFC 1191 §4) or packet too big (RFC 4443
// §3.2). For the rest see TimeExceeded.
func TooBig(out *Frame, f *Frame, p *Packet, src Addr, id uint16, mtu int) bool {
	if p.Version == 6 {
		return icmpError(out, f, p, src, id, ICMPv6TooBig, 0, uint32(mtu))
	}
	return icmpError(out, f, p, src, id, ICMPUnreachable, icmpFragNeeded, uint32(min(mtu, 0xffff)))
}

// PortUnreachable writes into out the ICMP error for a port that nothing serves, or that
// has no server left (RFC 1122 §4.1.3.1, RFC 4443 §3.1). For the rest see TimeExceeded.
func PortUnreachable(out *Frame, f *Frame, p *Packet, src Addr, id uint16) bool {
	if p.Version == 6 {
		return icmpError(out, f, p, src, id, ICMPv6Unreachable, icmpv6PortUnreachable, 0)
	}
	return icmpError(out, f, p, src, id, ICMPUnreachable, icmpPortUnreachable, 0)
}

// RelayICMPError writes into out an ICMP error with typ and code about p, which is the
// inner packet of a tunnel packet that the ICMP error in f quotes: see ParseTunneled. So
// the tunnel's source reports a router's error to the sender of the inner packet (RFC 2003
// §4, RFC 2473 §8). For the rest see TimeExceeded.
func RelayICMPError(out *Frame, f *Frame, p *Packet, src Addr, id uint16, typ, code uint8) bool {
	return icmpError(out, f, p, src, id, typ, code, 0)
}

// icmpError writes an ICMP error that quotes as much of p as fits. restOfHeader is bytes 4 to 7
// of the message.
func icmpError(out, f *Frame, p *Packet, src Addr, id uint16, typ, code uint8, restOfHeader uint32) bool {
	if !MayAnswer(f, p) {
		return false
	}
	proto, tos, room := uint8(ProtoICMP), p.TOS&tosMask|tosInternetControl, maxError4-ip4MinLen
	if p.Version == 6 {
		proto, tos, room = ProtoICMPv6, 0, maxError6-ip6HeaderLen
	}
	quote := f.Bytes()[p.L3:p.End]
	quote = quote[:min(len(quote), room-icmpHeaderLen)]
	var q Packet
	m := startReply(out, f, p, &q, src, proto, tos, id, false, icmpHeaderLen+len(quote))
	if m == nil {
		return false
	}
	m[icmpType], m[icmpCode] = typ, code
	binary.BigEndian.PutUint32(m[icmpRest:], restOfHeader)
	copy(m[icmpHeaderLen:], quote)
	fillICMP(out.Bytes(), &q)
	return true
}

// EchoReply turns the echo request in f into the echo reply, in place, with the Ethernet
// addresses swapped (RFC 792, RFC 4443 §4.2). A fragmented request is answered fragment by
// fragment, without reassembly: fragments keep their identification, an IPv4 reply that is
// no fragment gets id.
//
// It reports whether f is to be sent. It is not, and is unchanged, where it is not an echo
// request, its checksum is wrong, or its sender cannot be answered (see MayAnswer). Of a
// later fragment the caller has to know that it is one of an echo request.
func EchoReply(f *Frame, p *Packet, id uint16) bool {
	if p.Frag != LaterFrag && !p.IsEchoRequest() || DstMAC(f).IsGroup() || !isHost(&p.Src) || isGroup(&p.Dst) {
		return false
	}
	if p.Frag == NotFrag && !ChecksumOK(f, p) {
		return false
	}
	SetMACs(f, SrcMAC(f), DstMAC(f))
	p.Src, p.Dst = p.Dst, p.Src
	p.TTL = replyTTL
	b := f.Bytes()
	if p.Version == 4 {
		h := ipv4(b[p.L3:])
		copy(h[ip4Src:], p.Src[12:])
		copy(h[ip4Dst:], p.Dst[12:])
		h[ip4TTL] = replyTTL
		if p.Frag == NotFrag {
			p.DF, p.FragID = false, uint32(id)
			h.setFrag(0)
			h.setID(id)
		}
		h.fillChecksum()
	} else {
		h := ipv6(b[p.L3:])
		copy(h[ip6Src:], p.Src[:])
		copy(h[ip6Dst:], p.Dst[:])
		h[ip6HopLimit] = replyTTL
	}
	if p.Frag == LaterFrag {
		return true
	}
	m := b[p.L4:]
	old := binary.BigEndian.Uint16(m)
	p.ICMPType = [2]uint8{ICMPEchoReply, ICMPv6EchoReply}[p.Version/6]
	m[icmpType] = p.ICMPType
	if !partialChecksum(f, p) {
		update(m[icmpChecksum:], change(old, binary.BigEndian.Uint16(m)))
	}
	return true
}
