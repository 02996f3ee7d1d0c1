package sched

import "encoding/binary"

// fold makes 32 bits of an address, as ip_vs does: an IPv4 address as the number
// it is, of an IPv6 address the exclusive or of its four words.
func fold(a *[16]byte) uint32 {
	w0 := binary.BigEndian.Uint32(a[0:])
	w1 := binary.BigEndian.Uint32(a[4:])
	w2 := binary.BigEndian.Uint32(a[8:])
	w3 := binary.BigEndian.Uint32(a[12:])
	if w0|w1 == 0 && w2 == 0xffff {
		return w3 // IPv4-mapped, RFC 4291 section 2.5.5.2
	}
	return w0 ^ w1 ^ w2 ^ w3
}

// hash32 is the multiplicative hash of include/linux/hash.h (hash_32) with 8 bits.
func hash32(x uint32) uint8 {
	return uint8(x * 0x61C88647 >> 24)
}
