// Package siphash is SipHash, a hash with a secret key: who does not know the key can
// neither predict a hash nor make two inputs collide (Aumasson and Bernstein, "SipHash: a
// fast short-input PRF", 2012). It hashes whole words, which is what callers have.
package siphash

import "math/bits"

// Key is the secret, as two little-endian words.
type Key [2]uint64

// Sum24 is SipHash-2-4 of the little-endian bytes of words.
func Sum24(k *Key, words ...uint64) uint64 {
	v0, v1, v2, v3 := start(k)
	for _, w := range words {
		v3 ^= w
		v0, v1, v2, v3 = Round(v0, v1, v2, v3)
		v0, v1, v2, v3 = Round(v0, v1, v2, v3)
		v0 ^= w
	}
	last := uint64(len(words)) * 8 << 56
	v3 ^= last
	v0, v1, v2, v3 = Round(v0, v1, v2, v3)
	v0, v1, v2, v3 = Round(v0, v1, v2, v3)
	v0 ^= last
	v2 ^= 0xff
	for range 4 {
		v0, v1, v2, v3 = Round(v0, v1, v2, v3)
	}
	return v0 ^ v1 ^ v2 ^ v3
}

// Sum13Uint32 is SipHash-1-3 of the four little-endian bytes of x.
func Sum13Uint32(k *Key, x uint32) uint64 {
	v0, v1, v2, v3 := start(k)
	last := uint64(4)<<56 | uint64(x) // the length in the top byte
	v3 ^= last
	v0, v1, v2, v3 = Round(v0, v1, v2, v3)
	v0 ^= last
	v2 ^= 0xff
	for range 3 {
		v0, v1, v2, v3 = Round(v0, v1, v2, v3)
	}
	return v0 ^ v1 ^ v2 ^ v3
}

func start(k *Key) (v0, v1, v2, v3 uint64) {
	return k[0] ^ 0x736f6d6570736575, k[1] ^ 0x646f72616e646f6d, k[0] ^ 0x6c7967656e657261, k[1] ^ 0x7465646279746573
}

// Round is one SipRound.
func Round(v0, v1, v2, v3 uint64) (uint64, uint64, uint64, uint64) {
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
