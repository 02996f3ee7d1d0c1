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

// The TOS of an ICMPv4 error: the packet's own without the precedence, which
// becomes INTERNETWORK CONTROL (RFC 1812 §4.3.2.5).
const (
	tosMask            = 0x1e
	tosInternetControl = 0xc0
)

// TimeExceeded writes into out what the sender of p gets when its TTL or hop
// limit runs out (RFC 792, RFC 4443 §3.3). It reports whether there is something
// to send: MayAnswer allows it and out has room.
func TimeExceeded(out *Frame, f *Frame, p *Packet, src Addr, id uint16) bool {
	if p.Version == 6 {
		return icmpError(out, f, p, src, id, ICMPv6TimeExceeded, 0, 0)
	}
	return icmpError(out, f, p, src, id, ICMPTimeExceeded, 0, 0)
}

// TooBig writes into out what the sender of p gets when the packet exceeds the
// MTU, in bytes, and may not be fragmented: fragmentation needed (RFC 1191 §4) or
// packet too big (RFC 4443 §3.2). It reports as TimeExceeded does.
func TooBig(out *Frame, f *Frame, p *Packet, src Addr, id uint16, mtu int) bool {
	if p.Version == 6 {
		return icmpError(out, f, p, src, id, ICMPv6TooBig, 0, uint32(mtu))
	}
	return icmpError(out, f, p, src, id, ICMPUnreachable, icmpFragNeeded, uint32(min(mtu, 0xffff)))
}

// PortUnreachable writes into out what the sender of p gets when no server is
// left or nothing serves the port (RFC 1122 §4.1.3.1, RFC 4443 §3.1). It reports
// as TimeExceeded does.
func PortUnreachable(out *Frame, f *Frame, p *Packet, src Addr, id uint16) bool {
	if p.Version == 6 {
		return icmpError(out, f, p, src, id, ICMPv6Unreachable, icmpv6PortUnreachable, 0)
	}
	return icmpError(out, f, p, src, id, ICMPUnreachable, icmpPortUnreachable, 0)
}

// PassError writes into out an ICMP error of the type, code and rest that the error
// in f has, but about p: a packet that f quotes, inside a tunnel. So the tunnel's
// source tells the sender of p what befell its packet (RFC 2003 §4, RFC 2473 §8). It
// reports as TimeExceeded does.
func RelayICMPError(out *Frame, f *Frame, p *Packet, src Addr, id uint16, typ, code uint8) bool {
	return icmpError(out, f, p, src, id, typ, code, 0)
}

// icmpError quotes as much of p as fits. rest is bytes 4 to 7 of the message.
func icmpError(out, f *Frame, p *Packet, src Addr, id uint16, typ, code uint8, rest uint32) bool {
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
	binary.BigEndian.PutUint32(m[icmpRest:], rest)
	copy(m[icmpHeaderLen:], quote)
	fillICMP(out.Bytes(), &q)
	return true
}

// EchoReply turns the echo request in f into the reply to it, in place, Ethernet
// addresses swapped (RFC 792, RFC 4443 §4.2). It works fragment by fragment, so
// that a fragmented ping needs no reassembly: fragments keep their identification,
// a whole IPv4 reply gets id. It reports whether there is something to send: f is
// an echo request, or a later fragment (of one, which the caller knows), its
// checksum is right where it can be told, and it comes from one host.
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
