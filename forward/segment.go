package forward

import "encoding/binary"

// Segmenter splits a super-packet into the packets that it stands for, in software. It
// does what a network card does on sending (TSO, USO), where the card and the kernel
// cannot: before encapsulation, above all. The packets have complete checksums and need
// no offload.
//
//	var s forward.Segmenter
//	if r := s.Start(f, p, 0); r != forward.None { … }
//	for s.Next(&out, &q) {
//		// out is a frame, and q its Packet
//	}
//
// The zero value has no packets. A Segmenter reads f until Next has returned the last
// packet; f must not change before. Not for concurrent use.
type Segmenter struct {
	f          *Frame
	p          Packet
	size       int  // payload of each packet but the last, in bytes
	at         int  // offset in f of the next packet's payload
	n          int  // packets returned so far
	last       bool // the last packet has been returned
	noChecksum bool // UDP without checksum
}

// Start prepares to split the TCP or UDP packet in f, which p describes. size is the
// payload of each packet in bytes; 0 means Offload.GSOSize. TCP may be split into smaller
// packets than its sender asked for (segment boundaries mean nothing in RFC 9293), UDP
// may not: there size is ignored. The result is BadOffload for a packet that cannot be
// split, or whose size is not known.
func (s *Segmenter) Start(f *Frame, p *Packet, size int) Reason {
	*s = Segmenter{last: true}
	if size <= 0 || p.Proto == ProtoUDP {
		size = int(f.Offload.GSOSize)
	}
	if size == 0 || p.Frag != NotFrag || p.Proto != ProtoTCP && p.Proto != ProtoUDP {
		return BadOffload
	}
	*s = Segmenter{f: f, p: *p, size: size, at: p.Payload}
	if p.Proto == ProtoUDP && !f.Offload.NeedsCsum {
		s.noChecksum = binary.BigEndian.Uint16(f.Bytes()[p.L4+udpChecksum:]) == 0
	}
	return None
}

// Count returns how many packets the super-packet of Start becomes.
func (s *Segmenter) Count() int {
	if s.f == nil {
		return 0
	}
	return max(1, (s.p.PayloadLen()+s.size-1)/s.size)
}

// FrameLen returns the length in bytes of the longest frame that Next writes.
func (s *Segmenter) FrameLen() int {
	return s.p.Payload + min(s.size, s.p.PayloadLen())
}

// Next writes the next packet into dst, from dst.Head on, sets dst.Tail, Port and
// Offload, and fills q, which describes the packet. dst.Buf needs FrameLen bytes from
// dst.Head on. Next returns false when there are no more packets, or dst has too little
// room.
func (s *Segmenter) Next(dst *Frame, q *Packet) bool {
	if s.last {
		return false
	}
	n := min(s.size, s.p.End-s.at)
	size := s.p.Payload + n
	if dst.Head+size > len(dst.Buf) {
		return false
	}
	src := s.f.Bytes()
	dst.Tail = dst.Head + size
	dst.Port, dst.Offload = s.f.Port, Offload{}
	b := dst.Bytes()
	copy(b, src[:s.p.Payload])
	copy(b[s.p.Payload:], src[s.at:s.at+n])
	*q = s.p
	q.End = size
	s.last = s.at+n == s.p.End
	q.setIPLen(b, s.n)
	if s.p.Proto == ProtoTCP {
		s.writeTCP(b, q)
	} else {
		s.writeUDP(b, q)
	}
	s.at += n
	s.n++
	return true
}

// setIPLen sets the length of the packet that q describes, which is a piece of a
// super-packet: one after so many segments of it, each of which has an IPv4 identification of
// its own, as in Linux.
func (q *Packet) setIPLen(b []byte, segments int) {
	if q.Version == 6 {
		ipv6(b[q.L3:]).setPayloadLen(q.End - q.L3 - ip6HeaderLen)
		return
	}
	h := ipv4(b[q.L3:])
	h.setTotalLen(q.End - q.L3)
	id := h.id() + uint16(segments)
	h.setID(id)
	q.FragID = uint32(id)
	h.fillChecksum()
}

// writeTCP advances the sequence number. Only the last segment has FIN and PSH, only the
// first one CWR (RFC 3168 §6.1.2).
func (s *Segmenter) writeTCP(b []byte, q *Packet) {
	h := tcp(b[q.L4:])
	h.setSeq(h.seq() + uint32(s.at-s.p.Payload))
	if !s.last {
		q.TCPFlags &^= FlagFIN | FlagPSH
	}
	if s.n > 0 {
		q.TCPFlags &^= FlagCWR
	}
	h[tcpFlags] = q.TCPFlags
	fillTransportChecksum(h, q, tcpChecksum)
}

func (s *Segmenter) writeUDP(b []byte, q *Packet) {
	h := b[q.L4:]
	binary.BigEndian.PutUint16(h[udpLen:], uint16(len(h)))
	if !s.noChecksum {
		fillTransportChecksum(h, q, udpChecksum)
	}
}

// fillTransportChecksum computes the checksum at off of the TCP or UDP packet h.
func fillTransportChecksum(h []byte, q *Packet, off int) {
	field := h[off:]
	binary.BigEndian.PutUint16(field, 0)
	c := ^add(sum(h), pseudo(&q.Src, &q.Dst, q.Proto, len(h)))
	if q.Proto == ProtoUDP {
		c = notZero(c)
	}
	binary.BigEndian.PutUint16(field, c)
}
