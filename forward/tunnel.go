package forward

import "encoding/binary"

// TunnelKind is how a tunnel encapsulates packets.
type TunnelKind uint8

// The kinds of tunnel, which are those of ip_vs. Each carries IPv4 and IPv6 over IPv4 or
// IPv6.
const (
	IPIP TunnelKind = iota // RFC 2003, RFC 2473, RFC 4213
	GUE                    // Generic UDP Encapsulation, version 0 (draft-ietf-intarea-gue)
	GRE                    // RFC 2784
)

// String returns the kind's name in ipvsadm --tun-type.
func (k TunnelKind) String() string {
	switch k {
	case GUE:
		return "gue"
	case GRE:
		return "gre"
	}
	return "ipip"
}

const (
	gueHeaderLen = 4
	gueProto     = 1 // offset: protocol number of what follows
	greHeaderLen = 4
	greProto     = 2 // offset: EtherType of what follows
	greChecksum  = 4
	greCsumLen   = 4 // checksum and reserved1 (RFC 2784 §2.1)
	greCsumBit   = 0x80
	maxPacketLen = 65535
	ecnMask      = 3
	ecnCE        = 3
	ecnECT0      = 2
)

// Tunnel describes a tunnel to a server (ip_vs: TUNNEL). Encapsulate only reads it, so
// goroutines may share one.
type Tunnel struct {
	Kind     TunnelKind
	Csum     bool   // GUE: UDP checksum; GRE: GRE checksum; IPIP: no meaning
	PMTUDisc bool   // copy Don't Fragment from the inner IPv4 packet (net.ipv4.vs.pmtu_disc)
	Port     uint16 // GUE: UDP destination port
	Local    Addr   // outer source
	Remote   Addr   // outer destination, of Local's family
}

// Overhead returns how many bytes Encapsulate adds to a packet.
func (t *Tunnel) Overhead() int {
	n := ip6HeaderLen
	if isMapped(&t.Remote) {
		n = ip4MinLen
	}
	return n + t.shimLen()
}

// shimLen is the length in bytes of what is between the two IP headers.
func (t *Tunnel) shimLen() int {
	switch {
	case t.Kind == GUE:
		return udpHeaderLen + gueHeaderLen
	case t.Kind == GRE && t.Csum:
		return greHeaderLen + greCsumLen
	case t.Kind == GRE:
		return greHeaderLen
	}
	return 0
}

// Encapsulate puts outer headers before the packet in f. It writes them into f's headroom,
// and moves the Ethernet header to before them. Afterwards p describes the outer packet.
// The caller decrements the TTL before and sets the Ethernet addresses after: DecTTL,
// SetMACs.
//
// The outer header has the inner one's TTL and DSCP, ECN by RFC 3168 §9.1.1 (full
// functionality), and Don't Fragment by t.PMTUDisc. Without Don't Fragment, id is the
// outer IPv4 identification. srcPort is the UDP source port of GUE, which should be a
// hash of the flow.
//
// A partial checksum of the inner packet is completed, since few network cards can do
// that inside a tunnel. The outer checksum of GUE or GRE is left partial, as the kernel
// does.
//
// The result is NoHeadroom where f.Head is less than t.Overhead, TooLong, FamilyMismatch
// where Local and Remote are, or BadOffload for a super-packet: see Segmenter.
func Encapsulate(f *Frame, p *Packet, t *Tunnel, id, srcPort uint16) Reason {
	n := t.Overhead()
	switch {
	case isMapped(&t.Local) != isMapped(&t.Remote):
		return FamilyMismatch
	case f.Offload.GSO != GSONone:
		return BadOffload
	case f.Head < n:
		return NoHeadroom
	case p.End-p.L3+n > maxPacketLen:
		return TooLong
	}
	FinishChecksum(f, p)
	f.Tail = f.Head + p.End
	f.Head -= n
	f.Offload = Offload{}
	b := f.Bytes()
	*(*[EthernetLen]byte)(b) = *(*[EthernetLen]byte)(b[n:])
	inner := p.Version
	t.outerPacket(p, n, srcPort)
	setEtherType(b, p.Version)
	if p.Version == 4 {
		writeIPv4(b[p.L3:], p, id)
	} else {
		writeIPv6(b[p.L3:], p)
	}
	if t.Kind != IPIP {
		t.writeShim(f, p, inner)
	}
	return None
}

// outerPacket turns p from the inner packet into the outer one, which is n bytes longer.
func (t *Tunnel) outerPacket(p *Packet, n int, srcPort uint16) {
	version, ttl, tos, df, end := p.Version, p.TTL, p.TOS, p.DF, p.End+n
	*p = Packet{SCTPChunk: SCTPNoChunk, TTL: ttl, TOS: outerTOS(tos)}
	copyAddr(&p.Src, &t.Local)
	copyAddr(&p.Dst, &t.Remote)
	p.Version, p.L3, p.L4, p.End = 6, EthernetLen, EthernetLen+ip6HeaderLen, end
	if isMapped(&t.Remote) {
		p.Version, p.L4 = 4, EthernetLen+ip4MinLen
		p.DF = t.PMTUDisc && version == 4 && df
	}
	p.Payload = p.L4
	switch t.Kind {
	case GUE:
		p.Proto, p.SrcPort, p.DstPort = ProtoUDP, srcPort, t.Port
		p.Payload += udpHeaderLen
	case GRE:
		p.Proto = ProtoGRE
	default:
		p.Proto = ipProto(version)
	}
}

// writeShim writes GUE's or GRE's header at p.L4 of the outer packet.
func (t *Tunnel) writeShim(f *Frame, p *Packet, inner uint8) {
	b := f.Bytes()
	h := b[p.L4 : p.L4+t.shimLen()]
	clear(h)
	switch t.Kind {
	case GUE:
		binary.BigEndian.PutUint16(h[l4SrcPort:], p.SrcPort)
		binary.BigEndian.PutUint16(h[l4DstPort:], p.DstPort)
		binary.BigEndian.PutUint16(h[udpLen:], uint16(p.End-p.L4))
		h[udpHeaderLen+gueProto] = ipProto(inner)
		if t.Csum {
			setPartialChecksum(f, p, udpChecksum)
		}
	case GRE:
		et := uint16(etherTypeIPv4)
		if inner == 6 {
			et = etherTypeIPv6
		}
		binary.BigEndian.PutUint16(h[greProto:], et)
		if t.Csum {
			h[0] = greCsumBit
			// No pseudo-header here (RFC 2784 §2.5): the field starts at 0.
			f.Offload = Offload{NeedsCsum: true, CsumStart: uint16(p.L4), CsumOffset: greChecksum}
		}
	}
}

// outerTOS copies DSCP and ECN, except that CE inside becomes ECT(0) outside (RFC 3168
// §9.1.1).
func outerTOS(tos uint8) uint8 {
	if tos&ecnMask == ecnCE {
		return tos&^ecnMask | ecnECT0
	}
	return tos
}

// ipProto is the protocol number of an IP packet inside another.
func ipProto(version uint8) uint8 {
	if version == 4 {
		return ProtoIPIP
	}
	return ProtoIPv6
}

// ParseTunneled finds the inner packet of the tunnel packet q, which an ICMP error in f
// quotes (see ParseEmbedded), and fills inner as ParseEmbedded fills q. TooBig or
// RelayICMPError can then report the error to the inner packet's sender. The result is
// BadEmbedded where q is not a tunnel packet of a TunnelKind, or the quote is too short.
func ParseTunneled(f *Frame, q, inner *Packet) Reason {
	if q.Frag == LaterFrag {
		return BadEmbedded
	}
	b := f.Bytes()[:q.End]
	at, proto := q.L4, q.Proto
	switch proto {
	case ProtoUDP:
		// Version, control and header length (draft-ietf-intarea-gue §3.1) are 0 in
		// what Encapsulate writes.
		at += udpHeaderLen + gueHeaderLen
		if at > len(b) || b[at-gueHeaderLen] != 0 {
			return BadEmbedded
		}
		proto = b[at-gueHeaderLen+gueProto]
	case ProtoGRE:
		proto = 0
		switch binary.BigEndian.Uint16(b[at+greProto:]) {
		case etherTypeIPv4:
			proto = ProtoIPIP
		case etherTypeIPv6:
			proto = ProtoIPv6
		}
		if b[at]&greCsumBit != 0 {
			at += greCsumLen
		}
		at += greHeaderLen
	}
	*inner = Packet{Version: 4, L3: at, SCTPChunk: SCTPNoChunk}
	switch {
	case at > len(b):
		return BadEmbedded
	case proto == ProtoIPv6:
		inner.Version = 6
	case proto != ProtoIPIP:
		return BadEmbedded
	}
	return inner.readQuoted(b)
}
