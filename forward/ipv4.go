package forward

import (
	"encoding/binary"
	"math/bits"
)

// IPv4 header fields (RFC 791 §3.1).
const (
	ip4VerIHL   = 0
	ip4TOS      = 1
	ip4Len      = 2
	ip4ID       = 4
	ip4Frag     = 6
	ip4TTL      = 8
	ip4Proto    = 9
	ip4Checksum = 10
	ip4Src      = 12
	ip4Dst      = 16
	ip4MinLen   = 20

	ip4DF      = 0x4000
	ip4MF      = 0x2000
	ip4OffMask = 0x1fff // in units of 8 bytes
)

// ipv4 is an IPv4 header and what follows, of at least 20 bytes.
type ipv4 []byte

func (h ipv4) headerLen() int    { return int(h[ip4VerIHL]&15) * 4 }
func (h ipv4) totalLen() int     { return int(binary.BigEndian.Uint16(h[ip4Len:])) }
func (h ipv4) setTotalLen(n int) { binary.BigEndian.PutUint16(h[ip4Len:], uint16(n)) }
func (h ipv4) id() uint16        { return binary.BigEndian.Uint16(h[ip4ID:]) }
func (h ipv4) setID(id uint16)   { binary.BigEndian.PutUint16(h[ip4ID:], id) }
func (h ipv4) frag() uint16      { return binary.BigEndian.Uint16(h[ip4Frag:]) }
func (h ipv4) setFrag(v uint16)  { binary.BigEndian.PutUint16(h[ip4Frag:], v) }
func (h ipv4) setChecksum(c uint16) {
	binary.BigEndian.PutUint16(h[ip4Checksum:], c)
}

// fillChecksum computes the header checksum.
func (h ipv4) fillChecksum() {
	h.setChecksum(0)
	h.setChecksum(^sum(h[:h.headerLen()]))
}

// parseIPv4 reads the header at EthernetLen of b. super says that b is a super-packet of TCP.
func parseIPv4(b []byte, p *Packet, super bool) Reason {
	if len(b) < EthernetLen+ip4MinLen {
		return TooShort
	}
	h := ipv4(b[EthernetLen:])
	hl := h.headerLen()
	if h[ip4VerIHL]>>4 != 4 || hl < ip4MinLen || hl > len(h) {
		return BadIPHeader
	}
	total := h.totalLen()
	if total == 0 && super {
		total, p.Oversized = len(h), true
	}
	if total < hl || total > len(h) {
		return BadLength
	}
	if sum(h[:hl]) != 0xffff {
		return BadIPChecksum
	}
	p.Version = 4
	p.L3, p.L4, p.End = EthernetLen, EthernetLen+hl, EthernetLen+total
	p.readIPv4(h)
	if p.Frag == NotFrag {
		return None
	}
	return p.checkFragment()
}

// plainChecksumValid reports whether the checksum of a header without options is right.
func plainChecksumValid(h *[ip4MinLen]byte) bool {
	s := binary.LittleEndian.Uint64(h[:])
	s, c := bits.Add64(s, binary.LittleEndian.Uint64(h[8:]), 0)
	s, c = bits.Add64(s, uint64(binary.LittleEndian.Uint32(h[16:])), c)
	s = s>>32 + s&0xffffffff + c
	s = s>>32 + s&0xffffffff
	s = s>>16 + s&0xffff
	return uint16(s>>16+s) == 0xffff
}

// putAddr4 writes the IPv4 address at the start of b into a, in two words: byte by byte
// it would take as long as the rest of Parse.
func putAddr4(a *Addr, b []byte) {
	binary.LittleEndian.PutUint64(a[:], 0)
	binary.LittleEndian.PutUint64(a[8:], mappedPrefix|uint64(binary.LittleEndian.Uint32(b))<<32)
}

// copyAddr copies in two words. Addresses are often read right after putAddr4 wrote
// them, and a load of other widths than the stores before it cannot be forwarded from
// the store buffer: it waits some 15 cycles.
func copyAddr(to, from *Addr) {
	binary.LittleEndian.PutUint64(to[:], binary.LittleEndian.Uint64(from[:]))
	binary.LittleEndian.PutUint64(to[8:], binary.LittleEndian.Uint64(from[8:]))
}

// readIPv4 reads the fixed fields of a header whose bounds are checked. The fields of p
// that it sets are zero before.
func (p *Packet) readIPv4(h ipv4) {
	putAddr4(&p.Src, h[ip4Src:])
	putAddr4(&p.Dst, h[ip4Dst:])
	p.Proto, p.TTL, p.TOS = h[ip4Proto], h[ip4TTL], h[ip4TOS]
	p.FragID = uint32(h.id())
	v := h.frag()
	p.DF = v&ip4DF != 0
	if v&(ip4OffMask|ip4MF) != 0 {
		p.setFragment(v&ip4OffMask<<3, v&ip4MF != 0)
	}
}
