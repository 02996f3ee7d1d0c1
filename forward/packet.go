package forward

// Transport protocol numbers (IANA protocol-numbers) that golb distinguishes.
const (
	ProtoICMP   = 1
	ProtoIPIP   = 4 // IPv4 in IP (RFC 2003)
	ProtoTCP    = 6
	ProtoUDP    = 17
	ProtoIPv6   = 41 // IPv6 in IP (RFC 4213, RFC 2473)
	ProtoGRE    = 47
	ProtoESP    = 50
	ProtoAH     = 51
	ProtoICMPv6 = 58
	ProtoSCTP   = 132
)

// FragKind says what part of a datagram a packet is.
type FragKind uint8

// The kinds of fragment. An IPv6 atomic fragment (RFC 6946) is NotFrag.
const (
	NotFrag   FragKind = iota // the whole datagram
	FirstFrag                 // offset 0, more to come; has the transport header
	LaterFrag                 // offset above 0; has no transport header
)

// Packet is what Parse found in a frame. Offsets are in bytes from Frame.Bytes()[0].
// Integers are in host order. Rewriters update it with the frame. A Packet holds no pointer
// and may be reused for the next frame.
type Packet struct {
	Src, Dst         Addr
	SrcPort, DstPort uint16 // of TCP, UDP and SCTP, else 0; both the identifier of an ICMP echo

	L3      int // offset of the network header
	L4      int // offset of the transport header; in a LaterFrag, of the fragment's data
	Payload int // offset of the transport payload
	End     int // offset of the end of the IP packet; what follows is Ethernet padding

	FragID    uint32 // identification: 16 bits in IPv4, 32 in IPv6
	FragOff   uint16 // fragment offset, in bytes
	fragHdr   uint16 // IPv6: offset of the fragment header in the frame; 0 without one
	Frag      FragKind
	MoreFrags bool
	DF        bool // IPv4 Don't Fragment

	Version  uint8 // 4 or 6
	Proto    uint8 // transport protocol, after IPv6 extension headers
	TOS      uint8 // TOS or traffic class: DSCP and ECN
	TTL      uint8 // TTL or hop limit
	TCPFlags uint8 // FlagFIN … FlagCWR; 0 in other protocols and in a LaterFrag
	ICMPType uint8 // of ICMP and ICMPv6; 0 in other protocols and in a LaterFrag
	ICMPCode uint8 // as ICMPType

	// SCTPChunk is the type of the chunk that an SCTP state machine looks at: the first
	// chunk, or an ABORT right after COOKIE ECHO or COOKIE ACK, as in ip_vs;
	// SCTPNoChunk where there is no chunk.
	SCTPChunk uint8

	HopByHop  bool // IPv6 hop-by-hop options are present, other than the jumbo payload option
	Oversized bool // a TCP super-packet too long for the IP header's length field: see Splitter
	jumbo     bool // its length is in a hop-by-hop header of jumboLen bytes
}

// NetLen returns the length in bytes of the longest IP packet that f becomes on the
// wire, to compare with an MTU: the length of the packet, or of one segment where f is
// a super-packet.
func (p *Packet) NetLen(f *Frame) int {
	n := p.End - p.L3
	if f.Offload.GSO == GSONone {
		return n
	}
	return min(n, p.Payload-p.L3+int(f.Offload.GSOSize))
}

// PayloadLen returns the transport payload's length in bytes.
func (p *Packet) PayloadLen() int { return p.End - p.Payload }
