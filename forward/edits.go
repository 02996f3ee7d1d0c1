package forward

import "encoding/binary"

// Edits are the bytes that NAT replaces in one direction of a TCP connection, because
// the application's protocol names addresses, as FTP does. Where old and new text differ
// in length, all that follows is shifted, so sequence numbers, acknowledgments and SACK
// blocks of later segments change too (nf_conntrack_seqadj).
//
// What is edited is the stream, not a segment: a retransmission is edited correctly
// whatever its boundaries are. The last four replacements are kept. What is before the
// oldest counts as acknowledged; of replacements there only the sum of their shifts is
// kept. The zero value changes nothing. Not for concurrent use.
//
// "Sender" and "receiver" are those of the edited direction.
type Edits struct {
	list  [maxEdits]replacement // oldest first
	n     int
	shift uint32 // sum over the replacements that are no longer in list
}

type replacement struct {
	at             uint32 // sequence number of the first byte replaced, as the sender counts
	oldLen, newLen uint8  // bytes
	text           [MaxEdit]byte
}

// MaxEdit is the length in bytes of the longest replacement: that of an EPRT command with an
// IPv6 address.
const MaxEdit = 48

// maxEdits is how many replacements are kept.
const maxEdits = 4

// Add replaces the oldLen bytes from sequence number at on, as the sender counts, by
// text, which is copied. It returns false and changes nothing where oldLen is not 1 to
// 255, text not 1 to MaxEdit bytes long, or at not after all earlier replacements.
func (e *Edits) Add(at uint32, oldLen int, text []byte) bool {
	if oldLen < 1 || oldLen > 255 || len(text) < 1 || len(text) > MaxEdit {
		return false
	}
	if e.n > 0 {
		last := &e.list[e.n-1]
		if int32(at-last.at) < int32(last.oldLen) {
			return false
		}
	}
	if e.n == maxEdits {
		e.shift += e.list[0].shift()
		copy(e.list[:], e.list[1:])
		e.n--
	}
	x := &e.list[e.n]
	*x = replacement{at: at, oldLen: uint8(oldLen), newLen: uint8(len(text))}
	copy(x.text[:], text)
	e.n++
	return true
}

// At reports whether a replacement begins at sequence number at, as the sender counts.
func (e *Edits) At(at uint32) bool {
	for i := range e.n {
		if e.list[i].at == at {
			return true
		}
	}
	return false
}

// shift is how much longer the stream is after the replacement, modulo 2^32.
func (x *replacement) shift() uint32 { return uint32(x.newLen) - uint32(x.oldLen) }

// toReceiver turns a sequence number of the sender into the receiver's.
func (e *Edits) toReceiver(seq uint32) uint32 {
	d := e.shift
	for i := range e.n {
		x := &e.list[i]
		if offset := int32(seq - x.at); offset <= 0 {
			break
		} else if offset < int32(x.oldLen) {
			return x.at + d
		}
		d += x.shift()
	}
	return seq + d
}

// toSender turns an acknowledgment number of the receiver into the sender's. It
// acknowledges all bytes of a replacement or none.
func (e *Edits) toSender(ack uint32) uint32 {
	d := e.shift
	for i := range e.n {
		x := &e.list[i]
		if offset := int32(ack - d - x.at); offset <= 0 {
			break
		} else if offset < int32(x.newLen) {
			return x.at
		}
		d += x.shift()
	}
	return ack - d
}

// Rewrite edits a segment from the sender: its sequence number, and the bytes to replace.
// Lengths and checksums are updated; a wrong checksum stays wrong. Where the segment
// becomes longer, its headers move into the frame's headroom. Where it becomes longer than
// mtu, in bytes of the IP packet, it becomes a super-packet with segments of its old
// length.
//
// The result is NoHeadroom or TooLong where the new text does not fit, and BadFragment for
// a fragment that may have bytes to replace.
func (e *Edits) Rewrite(f *Frame, p *Packet, mtu int) Reason {
	if p.Proto != ProtoTCP || p.Frag == LaterFrag {
		return None
	}
	seq := tcp(f.Bytes()[p.L4:]).seq()
	first := seq // of the payload
	if p.TCPFlags&FlagSYN != 0 {
		first++
	}
	if p.Frag == FirstFrag {
		if e.toReceiver(first)-first != e.toReceiver(first+0xffff)-first-0xffff {
			return BadFragment
		}
		setSequence(f, p, tcpSeq, e.toReceiver(seq))
		return None
	}
	growth, edited := e.growth(first, p.PayloadLen())
	if !edited {
		normalizeOffload(f, p)
		setSequence(f, p, tcpSeq, e.toReceiver(seq))
		return None
	}
	if f.Head < growth {
		return NoHeadroom
	}
	if p.End-p.L3+growth > 65535 {
		return TooLong
	}
	valid, size := ChecksumOK(f, p), p.PayloadLen()
	f.Tail = f.Head + p.End
	tcp(f.Bytes()[p.L4:]).setSeq(e.toReceiver(seq))
	for i := e.n - 1; i >= 0; i-- {
		if lo, hi, text, valid := e.list[i].overlap(first, size); valid {
			splice(f, p, lo, hi, text)
		}
	}
	finishEdit(f, p, valid, size, mtu)
	return None
}

// Acknowledge rewrites a segment from the receiver to the sender: its acknowledgment
// number and SACK blocks (RFC 2018).
func (e *Edits) Acknowledge(f *Frame, p *Packet) {
	if p.TCPFlags&FlagACK == 0 {
		return
	}
	normalizeOffload(f, p)
	h := f.Bytes()[p.L4:p.Payload]
	setSequence(f, p, tcpAck, e.toSender(tcp(h).ack()))
	at, n := findOption(h, tcpOptSACK)
	for ; n >= 4; at, n = at+4, n-4 {
		setSequence(f, p, at, e.toSender(binary.BigEndian.Uint32(h[at:])))
	}
}

// overlap returns which bytes, lo to hi, of a segment are replaced, and by which text.
// The segment has n bytes from sequence number first on. Where the old text is in several
// segments, the one with its last byte gets all of the new text.
func (x *replacement) overlap(first uint32, n int) (lo, hi int, text []byte, ok bool) {
	begin := int(int32(x.at - first))
	end := begin + int(x.oldLen)
	lo, hi = max(begin, 0), min(end, n)
	if lo >= hi {
		return 0, 0, nil, false
	}
	if hi == end {
		text = x.text[:x.newLen]
	}
	return lo, hi, text, true
}

// growth returns by how many bytes at most the segment is longer while it is edited, and
// whether any of its bytes are replaced.
func (e *Edits) growth(first uint32, n int) (growth int, edited bool) {
	for i := range e.n {
		if lo, hi, text, ok := e.list[i].overlap(first, n); ok {
			growth += max(0, len(text)-(hi-lo))
			edited = true
		}
	}
	return growth, edited
}

// splice replaces the payload's bytes lo to hi by text. All that is before them moves.
func splice(f *Frame, p *Packet, lo, hi int, text []byte) {
	by := len(text) - (hi - lo)
	to := f.Head - by
	copy(f.Buf[to:], f.Buf[f.Head:f.Head+p.Payload+lo])
	f.Head = to
	copy(f.Bytes()[p.Payload+lo:], text)
	p.End += by
}

// finishEdit sets lengths and checksums of an edited segment, whose payload was size bytes
// long before. valid says that its checksum was right.
func finishEdit(f *Frame, p *Packet, valid bool, size, mtu int) {
	b := f.Bytes()
	if p.Version == 4 {
		h := ipv4(b[p.L3:])
		old := uint16(h.totalLen())
		h.setTotalLen(p.End - p.L3)
		update(h[ip4Checksum:], change(old, uint16(h.totalLen())))
	} else {
		ipv6(b[p.L3:]).setPayloadLen(p.End - p.L3 - ip6HeaderLen)
	}
	o := &f.Offload
	if o.GSO == GSONone && p.End-p.L3 > mtu && p.PayloadLen() > size {
		o.GSO, o.GSOSize = GSOTCPv4, uint16(size)
		if p.Version == 6 {
			o.GSO = GSOTCPv6
		}
	}
	if o.GSO != GSONone || partialChecksum(f, p) {
		setPartialChecksum(f, p, tcpChecksum)
		return
	}
	fillTransportChecksum(b[p.L4:p.End], p, tcpChecksum)
	if !valid {
		b[p.L4+tcpChecksum] ^= 1
	}
}

// setSequence writes a sequence number at off of the TCP header and updates the checksum
// (RFC 1624), unless it is partial and does not cover the number.
func setSequence(f *Frame, p *Packet, off int, n uint32) {
	h := f.Bytes()[p.L4:p.Payload]
	old := binary.BigEndian.Uint32(h[off:])
	binary.BigEndian.PutUint32(h[off:], n)
	if old == n || partialChecksum(f, p) {
		return
	}
	c := add(change(uint16(old>>16), uint16(n>>16)), change(uint16(old), uint16(n)))
	if off%2 != 0 { // the number begins within a word of the sum (RFC 1071 §2 (B))
		c = c<<8 | c>>8
	}
	update(h[tcpChecksum:], c)
}
