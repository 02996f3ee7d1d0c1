package dataplane

import "math/bits"

// hashKey is the secret of the hash of tuples.
type hashKey [8]uint64

func newHashKey(rand func() uint64) (s hashKey) {
	for i := range s {
		s[i] = rand()
	}
	return s
}

// hash mixes the words of a tuple with a secret. Tuples are chosen by whoever sends packets,
// and must not be choosable so that many share a bucket: each word has a secret added before
// anything else happens to it. The sum of products is NH (Black, Halevi, Krawczyk, Krovetz,
// Rogaway: UMAC, 1999): over the secrets, two different tuples have the same sum with a
// probability of at most 2^-64, whatever they are. The last product folds its 128 bits into 64.
func (k *flowKey) hash(s *hashKey) uint64 {
	hi, lo := bits.Mul64(k[0]+s[0], k[1]+s[1])
	hi, lo = addProduct(hi, lo, k[2]+s[2], k[3]+s[3])
	hi, lo = addProduct(hi, lo, k[4]+s[4], s[5])
	return fold(hi^s[6], lo^s[7])
}

// addProduct adds a product of 128 bits to hi and lo.
func addProduct(hi, lo, a, b uint64) (sumHi, sumLo uint64) {
	h, l := bits.Mul64(a, b)
	sumLo, carry := bits.Add64(lo, l, 0)
	sumHi, _ = bits.Add64(hi, h, carry)
	return sumHi, sumLo
}

func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}
