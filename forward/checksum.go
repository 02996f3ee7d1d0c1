package forward

import (
	"encoding/binary"
	"math/bits"
)

// The Internet checksum (RFC 1071) is the complement of the ones-complement sum of 16-bit
// words. Functions here return that sum, folded to 16 bits and not complemented, so that
// sums of parts can be added.

// sum returns the sum of b; an odd last byte counts as the high half of a word. Words are
// added in little-endian order and the sum swapped at the end (RFC 1071 §2 (B)).
func sum(b []byte) uint16 {
	var s, c uint64
	for len(b) >= 64 {
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b), 0)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b[8:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b[16:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b[24:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b[32:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b[40:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b[48:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b[56:]), c)
		s, c = bits.Add64(s, 0, c)
		s += c
		b = b[64:]
	}
	for len(b) >= 8 {
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b), 0)
		s += c
		b = b[8:]
	}
	if len(b) >= 4 {
		s, c = bits.Add64(s, uint64(binary.LittleEndian.Uint32(b)), 0)
		s += c
		b = b[4:]
	}
	if len(b) >= 2 {
		s, c = bits.Add64(s, uint64(binary.LittleEndian.Uint16(b)), 0)
		s += c
		b = b[2:]
	}
	if len(b) == 1 {
		s, c = bits.Add64(s, uint64(b[0]), 0)
		s += c
	}
	return bits.ReverseBytes16(fold64(s))
}

// fold64 is fold for a sum of longer words.
func fold64(s uint64) uint16 {
	s = s>>32 + s&0xffffffff
	return fold(uint32(s>>32 + s&0xffffffff))
}

// fold adds the carries back in (RFC 1071 §2).
func fold(s uint32) uint16 {
	s = s>>16 + s&0xffff
	return uint16(s>>16 + s)
}

// add returns the ones-complement sum of a and b.
func add(a, b uint16) uint16 { return fold(uint32(a) + uint32(b)) }

// change returns what to add to a sum when the word old in it becomes new (RFC 1624
// §3).
func change(old, new uint16) uint16 { return add(^old, new) }

// update applies a change to a checksum field: HC' = ~(~HC + ~m + m') (RFC 1624
// §3, eqn. 3).
func update(field []byte, change uint16) {
	c := binary.BigEndian.Uint16(field)
	binary.BigEndian.PutUint16(field, ^add(^c, change))
}

// pseudo returns the sum of the pseudo-header (RFC 9293 §3.1, RFC 8200 §8.1)
// of a transport packet of n bytes from src to dst.
func pseudo(src, dst *Addr, proto uint8, n int) uint16 {
	// Both families are summed alike: the prefix of an IPv4-mapped address sums to
	// 0xffff, which is zero in ones-complement arithmetic.
	s := add(sum(src[:]), sum(dst[:]))
	return add(s, fold(uint32(n)+uint32(proto)))
}
