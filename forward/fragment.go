package forward

import "encoding/binary"

// Fragmenter splits a packet that is longer than an MTU into fragments: an IPv4 packet
// without Don't Fragment (RFC 791 §3.2), which may be a fragment itself, or the outer
// IPv6 packet of a tunnel that golb is the source of (RFC 2473 §7.1, RFC 8200 §4.5). It
// is used like Segmenter:
//
//	var g forward.Fragmenter
//	if r := g.Start(f, p, 1500, id); r != forward.None { … }
//	for g.Next(&out, &q) { … }
//
// The zero value has no fragments. A Fragmenter reads f until Next has returned the last
// fragment; f must not change before. Not for concurrent use.
type Fragmenter struct {
	f    *Frame
	p    Packet
	head int    // bytes before the data of each fragment, Ethernet header included
	room int    // data bytes of each fragment but the last
	at   int    // offset in f of the next fragment's data
	id   uint32 // identification of IPv6 fragments
	done bool   // the last fragment has been returned
	cut  bool   // the packet becomes more than one fragment
}

// Start prepares to split the packet in f, which p describes, into IP packets of at most
// mtu bytes. id is the identification of IPv6 fragments; IPv4 fragments have that of the
// packet. Next returns a packet that fits as it is. A partial checksum is completed
// first, in f.
//
// The result is NotFragmentable for an IPv4 packet with Don't Fragment, an IPv6 packet
// with extension headers, and an MTU with no room for 8 bytes of data. It is BadOffload
// for a super-packet: see Segmenter.
func (g *Fragmenter) Start(f *Frame, p *Packet, mtu int, id uint32) Reason {
	*g = Fragmenter{done: true}
	if f.Offload.GSO != GSONone {
		return BadOffload
	}
	head := p.L4
	cut := p.End-p.L3 > mtu
	switch {
	case p.Version == 4 && p.DF && cut:
		return NotFragmentable
	case p.Version == 6 && cut:
		if p.L4 != p.L3+ip6HeaderLen {
			return NotFragmentable
		}
		head += fragHeaderLen
	}
	room := mtu - (head - p.L3)
	if cut {
		room &^= 7
		if room <= 0 {
			return NotFragmentable
		}
	}
	FinishChecksum(f, p)
	*g = Fragmenter{f: f, p: *p, head: head, room: room, at: p.L4, id: id, cut: cut}
	return None
}

// FrameLen returns the length in bytes of the longest frame that Next writes.
func (g *Fragmenter) FrameLen() int {
	return g.head + min(g.p.End-g.p.L4, g.room)
}

// Next writes the next fragment into dst, from dst.Head on, sets dst.Tail, Port and
// Offload, and fills q, which describes the fragment. dst.Buf needs FrameLen bytes from
// dst.Head on. Next returns false when there are no more fragments, or dst has too little
// room.
func (g *Fragmenter) Next(dst *Frame, q *Packet) bool {
	if g.done {
		return false
	}
	src := g.f.Bytes()
	n := min(g.room, g.p.End-g.at)
	size := g.head + n
	if dst.Head+size > len(dst.Buf) {
		return false
	}
	dst.Tail = dst.Head + size
	dst.Port, dst.Offload = g.f.Port, Offload{}
	b := dst.Bytes()
	copy(b, src[:g.p.L4])
	copy(b[g.head:], src[g.at:g.at+n])
	off := g.at - g.p.L4
	g.at += n
	g.done = g.at == g.p.End
	g.describe(q, off, size)
	if g.cut {
		g.writeHeader(b, q)
	}
	return true
}

// describe fills q as Parse would for the fragment at off of the packet's data.
func (g *Fragmenter) describe(q *Packet, off, size int) {
	*q = g.p
	if !g.cut {
		return
	}
	q.L4, q.End = g.head, size
	q.setFragment(g.p.FragOff+uint16(off), !g.done || g.p.MoreFrags)
	if q.Version == 6 {
		q.fragHdr, q.FragID = uint16(g.p.L4), g.id
	}
	if q.Frag == LaterFrag {
		q.Payload = q.L4
		q.SrcPort, q.DstPort, q.TCPFlags = 0, 0, 0
		q.ICMPType, q.ICMPCode, q.SCTPChunk = 0, 0, SCTPNoChunk
		return
	}
	q.Payload = min(g.p.Payload+g.head-g.p.L4, size)
}

func (g *Fragmenter) writeHeader(b []byte, q *Packet) {
	if q.Version == 6 {
		h := ipv6(b[q.L3:])
		h.setPayloadLen(q.End - q.L3 - ip6HeaderLen)
		x := b[q.fragHdr:q.L4]
		x[0], x[1] = h[ip6Next], 0
		h[ip6Next] = extFragment
		v := q.FragOff
		if q.MoreFrags {
			v |= 1
		}
		binary.BigEndian.PutUint16(x[2:], v)
		binary.BigEndian.PutUint32(x[4:], q.FragID)
		return
	}
	h := ipv4(b[q.L3:])
	v := h.frag()&^(ip4MF|ip4OffMask) | q.FragOff>>3
	if q.MoreFrags {
		v |= ip4MF
	}
	h.setFrag(v)
	h.setTotalLen(q.End - q.L3)
	if q.FragOff != g.p.FragOff {
		blankOptions(h[ip4MinLen:h.headerLen()])
	}
	h.fillChecksum()
}

// IPv4 options (RFC 791 §3.1).
const (
	ip4OptEnd    = 0
	ip4OptNop    = 1
	ip4OptCopied = 0x80
)

// blankOptions overwrites the options that only the first fragment has (RFC 791 §3.2)
// with no-operation options, so that the header keeps its length, as Linux does
// (ip_options_fragment).
func blankOptions(o []byte) {
	for i := 0; i < len(o) && o[i] != ip4OptEnd; {
		if o[i] == ip4OptNop {
			i++
			continue
		}
		if i+1 >= len(o) || o[i+1] < 2 || i+int(o[i+1]) > len(o) {
			return
		}
		n := int(o[i+1])
		if o[i]&ip4OptCopied == 0 {
			for j := range n {
				o[i+j] = ip4OptNop
			}
		}
		i += n
	}
}
