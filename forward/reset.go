package forward

import "encoding/binary"

// TCPReset writes into out the reset for a segment that belongs to no connection (RFC
// 9293 §3.10.7.1): from src to the sender of p. DSCP is the segment's, as in Linux. It
// reports whether out is to be sent: p is no fragment and no reset, its checksum is right,
// MayAnswer allows it, and out has room, which MaxReply bytes always are.
func TCPReset(out *Frame, f *Frame, p *Packet, src Addr) bool {
	if p.Proto != ProtoTCP || p.Frag != NotFrag || p.TCPFlags&FlagRST != 0 || !MayAnswer(f, p) || !ChecksumOK(f, p) {
		return false
	}
	var q Packet
	h := startReply(out, f, p, &q, src, ProtoTCP, p.TOS&^ecnMask, 0, true, tcpMinLen)
	if h == nil {
		return false
	}
	clear(h)
	binary.BigEndian.PutUint16(h[l4SrcPort:], p.DstPort)
	binary.BigEndian.PutUint16(h[l4DstPort:], p.SrcPort)
	h[tcpOffset] = tcpMinLen / 4 << 4
	h[tcpFlags] = FlagRST
	in := tcp(f.Bytes()[p.L4:])
	if p.TCPFlags&FlagACK != 0 {
		tcp(h).setSeq(in.ack())
	} else {
		h[tcpFlags] |= FlagACK
		binary.BigEndian.PutUint32(h[tcpAck:], in.seq()+SegmentLen(p))
	}
	s := add(sum(h), pseudo(&q.Src, &q.Dst, ProtoTCP, len(h)))
	binary.BigEndian.PutUint16(h[tcpChecksum:], ^s)
	return true
}

// SegmentLen returns SEG.LEN of a TCP segment: the payload's length in bytes, and one each
// for SYN and FIN (RFC 9293 §3.4).
func SegmentLen(p *Packet) uint32 {
	n := uint32(p.PayloadLen())
	if p.TCPFlags&FlagSYN != 0 {
		n++
	}
	if p.TCPFlags&FlagFIN != 0 {
		n++
	}
	return n
}
