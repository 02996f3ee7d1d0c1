package forward

import "encoding/binary"

// ICMP header fields (RFC 792, RFC 4443 §2.1). The four bytes from icmpRest on
// depend on the type: identifier and sequence of an echo, MTU of "too big".
const (
	icmpType      = 0
	icmpCode      = 1
	icmpChecksum  = 2
	icmpRest      = 4
	icmpMTU4      = 6 // RFC 1191 §4
	icmpHeaderLen = 8
)

// ICMP types (RFC 792).
const (
	ICMPEchoReply    = 0
	ICMPUnreachable  = 3
	ICMPSourceQuench = 4
	ICMPRedirect     = 5
	ICMPEcho         = 8
	ICMPTimeExceeded = 11
	ICMPParameter    = 12
)

// ICMPv6 types (RFC 4443 §2.1, RFC 4861 §4.5).
const (
	ICMPv6Unreachable  = 1
	ICMPv6TooBig       = 2
	ICMPv6TimeExceeded = 3
	ICMPv6Parameter    = 4
	ICMPv6Echo         = 128
	ICMPv6EchoReply    = 129
	ICMPv6Redirect     = 137
)

// readICMP reads type, code and an echo's identifier. b ends where the packet does.
func (p *Packet) readICMP(b []byte) Reason {
	if p.L4+icmpHeaderLen > len(b) {
		return BadL4Header
	}
	h := b[p.L4:]
	p.Payload = p.L4 + icmpHeaderLen
	p.ICMPType, p.ICMPCode = h[icmpType], h[icmpCode]
	if p.isEcho() {
		id := binary.BigEndian.Uint16(h[icmpRest:])
		p.SrcPort, p.DstPort = id, id
	}
	return None
}

func (p *Packet) isEcho() bool {
	if p.Version == 4 {
		return p.ICMPType == ICMPEcho || p.ICMPType == ICMPEchoReply
	}
	return p.ICMPType == ICMPv6Echo || p.ICMPType == ICMPv6EchoReply
}

// isICMP reports whether the packet is ICMP of its own IP version.
func (p *Packet) isICMP() bool {
	return p.Version == 4 && p.Proto == ProtoICMP || p.Version == 6 && p.Proto == ProtoICMPv6
}

// IsEchoRequest reports whether the packet is an ICMP or ICMPv6 echo request: a ping.
func (p *Packet) IsEchoRequest() bool {
	return p.isICMP() && p.Frag != LaterFrag &&
		p.ICMPType == [2]uint8{ICMPEcho, ICMPv6Echo}[p.Version/6]
}
