package sched

import "math/bits"

// siphash13 is SipHash-1-3 of the four little-endian bytes of x, truncated to 32
// bits, with both 64-bit halves of the secret key equal: hsiphash_1u32 of a 64-bit
// kernel (lib/siphash.c).
func siphash13(x uint32, key uint64) uint32 {
	v0 := key ^ 0x736f6d6570736575
	v1 := key ^ 0x646f72616e646f6d
	v2 := key ^ 0x6c7967656e657261
	v3 := key ^ 0x7465646279746573
	block := uint64(4)<<56 | uint64(x) // length in the top byte

	v3 ^= block
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0 ^= block
	v2 ^= 0xff
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	return uint32(v0 ^ v1 ^ v2 ^ v3)
}

func sipRound(v0, v1, v2, v3 uint64) (uint64, uint64, uint64, uint64) {
	v0 += v1
	v2 += v3
	v1 = bits.RotateLeft64(v1, 13) ^ v0
	v3 = bits.RotateLeft64(v3, 16) ^ v2
	v0 = bits.RotateLeft64(v0, 32)
	v2 += v1
	v0 += v3
	v1 = bits.RotateLeft64(v1, 17) ^ v2
	v3 = bits.RotateLeft64(v3, 21) ^ v0
	v2 = bits.RotateLeft64(v2, 32)
	return v0, v1, v2, v3
}
