package forward

import "encoding/binary"

// TCPSegment is a segment that golb sends as an end of a connection: to check a server, or
// to serve a client itself. Src and Dst are of one family.
type TCPSegment struct {
	SrcMAC, DstMAC   MAC
	Src, Dst         Addr
	SrcPort, DstPort uint16
	Seq, Ack         uint32
	Flags            uint8
	Window           uint16 // bytes
	MSS              uint16 // offered in an option; 0 means none
	TOS              uint8
	Payload          []byte
}

// MaxSegmentHeaders is the length in bytes of the longest headers that TCPSegment builds,
// from the Ethernet header to the payload.
const MaxSegmentHeaders = EthernetLen + ip6HeaderLen + tcpMinLen + tcpOptMSSLen

// Build writes the frame into out from out.Head on, with complete checksums and Don't
// Fragment, and sets out.Tail and Offload. Payload is copied. Build returns false, and
// leaves out unchanged, where Buf has too little room, the IP packet would be longer than
// 65535 bytes, or the addresses are not of one family.
func (s *TCPSegment) Build(out *Frame) bool {
	hl, version := ip4MinLen, uint8(4)
	if !s.Dst.Is4() {
		hl, version = ip6HeaderLen, 6
	}
	tl := tcpMinLen
	if s.MSS != 0 {
		tl += tcpOptMSSLen
	}
	size := EthernetLen + hl + tl + len(s.Payload)
	if s.Src.Is4() != s.Dst.Is4() || size-EthernetLen > 65535 || out.Head+size > len(out.Buf) {
		return false
	}
	out.Tail, out.Offload = out.Head+size, Offload{}
	b := out.Bytes()
	SetMACs(out, s.DstMAC, s.SrcMAC)
	setEtherType(b, version)
	q := Packet{
		Src: s.Src, Dst: s.Dst, Version: version, Proto: ProtoTCP, TTL: replyTTL, TOS: s.TOS, DF: true,
		L3: EthernetLen, L4: EthernetLen + hl, Payload: EthernetLen + hl + tl, End: size,
	}
	if version == 4 {
		writeIPv4(b[EthernetLen:], &q, 0)
	} else {
		writeIPv6(b[EthernetLen:], &q)
	}
	s.header(b[q.L4:q.Payload])
	copy(b[q.Payload:], s.Payload)
	c := add(sum(b[q.L4:q.End]), pseudo(&s.Src, &s.Dst, ProtoTCP, q.End-q.L4))
	binary.BigEndian.PutUint16(b[q.L4+tcpChecksum:], ^c)
	return true
}

// header writes the TCP header without its checksum.
func (s *TCPSegment) header(h []byte) {
	clear(h)
	binary.BigEndian.PutUint16(h[l4SrcPort:], s.SrcPort)
	binary.BigEndian.PutUint16(h[l4DstPort:], s.DstPort)
	tcp(h).setSeq(s.Seq)
	binary.BigEndian.PutUint32(h[tcpAck:], s.Ack)
	h[tcpOffset] = byte(len(h)/4) << 4
	h[tcpFlags] = s.Flags
	binary.BigEndian.PutUint16(h[tcpWindow:], s.Window)
	if s.MSS != 0 {
		h[tcpMinLen], h[tcpMinLen+1] = tcpOptMSS, tcpOptMSSLen
		binary.BigEndian.PutUint16(h[tcpMinLen+2:], s.MSS)
	}
}

// Sequence returns the sequence and acknowledgment numbers of the TCP segment in f, which
// is no later fragment.
func Sequence(f *Frame, p *Packet) (seq, ack uint32) {
	h := tcp(f.Bytes()[p.L4:])
	return h.seq(), h.ack()
}

// OfferedMSS returns the maximum segment size in bytes that a SYN offers; without the
// option, the default of RFC 9293 §3.7.1: 536 bytes over IPv4, 1220 over IPv6.
func OfferedMSS(f *Frame, p *Packet) uint16 {
	h := f.Bytes()[p.L4:p.Payload]
	if at := findMSS(h); at != 0 {
		return binary.BigEndian.Uint16(h[at:])
	}
	if p.Version == 6 {
		return 1220
	}
	return 536
}
