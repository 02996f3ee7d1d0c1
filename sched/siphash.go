package sched

import "github.com/golb/golb/sched/siphash"

// siphash13 is SipHash-1-3 of the four little-endian bytes of x, truncated to 32
// bits, with both 64-bit halves of the secret key equal: hsiphash_1u32 of a 64-bit
// kernel (lib/siphash.c).
func siphash13(x uint32, key uint64) uint32 {
	return uint32(siphash.Sum13Uint32(&siphash.Key{key, key}, x))
}
