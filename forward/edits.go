package forward

import "encoding/binary"

// Edits are the replacements that NAT made in one direction of a TCP connection,
// where the application's own protocol names addresses: which bytes of the stream,
// by sequence number, and what stands there instead. Replacements of another
// length shift all that follows, so later segments get other sequence numbers,
// acknowledgments and SACK blocks too (nf_conntrack_seqadj).
//
// The stream is edited, not the segments: a retransmission comes out right however
// it is cut. The last four replacements are kept; what came before the oldest is taken
// for acknowledged, and only its shift is remembered. The zero value is a stream
// as it is. Not for concurrent use.
type Edits struct {
	list  [maxEdits]replacement // oldest first
	n     int
	shift uint32 // of all that was forgotten
}

type replacement struct {
	at             uint32 // sequence number of the first byte replaced
	oldLen, newLen uint8  // lengths
	text           [MaxEdit]byte
}

const (
	maxEdits = 4
	// MaxEdit is the length in bytes of the longest replacement: that of an EPRT
	// command with an IPv6 address.
	MaxEdit = 48
)

// Add notes that the was bytes from sequence number at on, in the sender's count,
// are to be text. It reports false, and notes nothing, where one of them is empty
// or too long (255 and MaxEdit bytes), or where at is not behind all that was
// replaced before.
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

// At reports whether a replacement begins at sequence number at, in the sender's
// count.
func (e *Edits) At(at uint32) bool {
	for i := range e.n {
		if e.list[i].at == at {
			return true
		}
	}
	return false
}

func (x *replacement) shift() uint32 { return uint32(x.newLen) - uint32(x.oldLen) }

// out turns a sequence number of the sender into the receiver's.
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

// in turns an acknowledgment number of the receiver into the sender's. Of bytes
// that were replaced, either all are acknowledged or none.
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

// Rewrite makes a segment of the edited direction what the receiver is to see: its
// sequence number, and its bytes that were replaced. Lengths and checksums follow;
// a checksum that was wrong stays wrong. A segment that outgrows room, in bytes of
// IP packet, becomes a super-packet of segments of its old size. The headers move
// into the frame's headroom by what the segment has grown.
//
// It returns NoHeadroom or TooLong, with f as it was, where the bytes find no
// room, and BadFragment for a fragment that replaced bytes may be in.
func (e *Edits) Rewrite(f *Frame, p *Packet, room int) Reason {
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
	finishEdit(f, p, valid, size, room)
	return None
}

// Acknowledge makes a segment of the other direction what the edited one's sender
// is to see: its acknowledgment number and SACK blocks (RFC 2018).
func (e *Edits) Acknowledge(f *Frame, p *Packet) {
	if p.Proto != ProtoTCP || p.Frag == LaterFrag || p.TCPFlags&FlagACK == 0 {
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

// within returns which bytes lo to hi of a segment, of n bytes from first on, the
// replacement is about, and what they become. The segment with the last of them
// has the whole text.
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

// growth returns how many bytes longer than it was the segment may be while it is
// edited, and whether any of its bytes are replaced.
func (e *Edits) growth(first uint32, n int) (growth int, edited bool) {
	for i := range e.n {
		if lo, hi, text, ok := e.list[i].overlap(first, n); ok {
			growth += max(0, len(text)-(hi-lo))
			edited = true
		}
	}
	return growth, edited
}

// splice puts text in place of the payload's bytes lo to hi. What is before them
// moves, headers and all.
func splice(f *Frame, p *Packet, lo, hi int, text []byte) {
	by := len(text) - (hi - lo)
	to := f.Head - by
	copy(f.Buf[to:], f.Buf[f.Head:f.Head+p.Payload+lo])
	f.Head = to
	copy(f.Bytes()[p.Payload+lo:], text)
	p.End += by
}

// finishEdit sets lengths and checksums of an edited segment whose payload was size
// bytes long.
func finishEdit(f *Frame, p *Packet, valid bool, size, room int) {
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
	if o.GSO == GSONone && p.End-p.L3 > room && p.PayloadLen() > size {
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

// setSequence writes a number at off of the TCP header. The checksum follows by
// RFC 1624; an unfinished one does not cover it yet.
func setSequence(f *Frame, p *Packet, off int, n uint32) {
	h := f.Bytes()[p.L4:p.Payload]
	old := binary.BigEndian.Uint32(h[off:])
	binary.BigEndian.PutUint32(h[off:], n)
	if old == n || partialChecksum(f, p) {
		return
	}
	c := add(change(uint16(old>>16), uint16(n>>16)), change(uint16(old), uint16(n)))
	if off%2 != 0 { // the number straddles words of the sum (RFC 1071 §2 (B))
		c = c<<8 | c>>8
	}
	update(h[tcpChecksum:], c)
}
