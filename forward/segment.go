package forward

import "encoding/binary"

// Segmenter cuts a super-packet into the packets that it stands for, in software:
// what a network card does on sending (TSO, USO), for the methods where the kernel
// cannot be asked to, tunnels above all. Each is finished, checksums and all, and
// needs no offload.
//
//	var s forward.Segmenter
//	if r := s.Start(f, p, 0); r != forward.None { … }
//	for s.Next(&out, &q) {
//		// out is a whole frame, q its Packet
//	}
//
// The zero value has nothing to give. A Segmenter refers to f until its last
// packet is out; f must stay as it is until then. Not for concurrent use.
type Segmenter struct {
	f          *Frame
	p          Packet
	size       int // payload bytes of each packet but the last
	at         int // offset in f of the next packet's payload
	n          int // packets given so far
	last       bool
	noChecksum bool // UDP without checksum
}

// Start takes up the TCP or UDP packet in f, which p describes. size is the
// payload of each packet in bytes; 0 means what the offload header says. TCP may
// be cut smaller than that (RFC 9293 leaves segment borders free), UDP may not:
// size is ignored. It returns BadOffload for a packet that cannot be cut.
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

// Count returns how many packets Start has made of the super-packet.
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

// Next writes the next packet into dst, from dst.Head on, and sets dst.Tail; the
// lender leaves the headroom it wants and FrameLen bytes. q describes the packet.
// It reports false when there are no more, or dst has too little room.
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
	s.writeIP(b, q)
	if s.p.Proto == ProtoTCP {
		s.writeTCP(b, q)
	} else {
		s.writeUDP(b, q)
	}
	s.at += n
	s.n++
	return true
}

// writeIP sets lengths, and counts the IPv4 identification up as Linux does.
func (s *Segmenter) writeIP(b []byte, q *Packet) {
	if q.Version == 6 {
		ipv6(b[q.L3:]).setPayloadLen(q.End - q.L3 - ip6HeaderLen)
		return
	}
	h := ipv4(b[q.L3:])
	h.setTotalLen(q.End - q.L3)
	id := h.id() + uint16(s.n)
	h.setID(id)
	q.FragID = uint32(id)
	h.fillChecksum()
}

// writeTCP counts the sequence number on. FIN and PSH are the last segment's, CWR
// the first one's (RFC 3168 §6.1.2).
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

// fillTransport computes a checksum at off of the transport packet h.
func fillTransportChecksum(h []byte, q *Packet, off int) {
	field := h[off:]
	binary.BigEndian.PutUint16(field, 0)
	c := ^add(sum(h), pseudo(&q.Src, &q.Dst, q.Proto, len(h)))
	if q.Proto == ProtoUDP {
		c = notZero(c)
	}
	binary.BigEndian.PutUint16(field, c)
}
