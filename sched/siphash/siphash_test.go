package siphash

import (
	"encoding/binary"
	"testing"
)

// TestSum24IsTheReferences holds Sum24 against vectors_sip64 of the authors' vectors.h:
// the key is the bytes 0 to 15, a message of n bytes the bytes 0 to n-1.
func TestSum24IsTheReferences(t *testing.T) {
	k := Key{0x0706050403020100, 0x0f0e0d0c0b0a0908}
	var message [56]byte
	for i := range message {
		message[i] = byte(i)
	}
	for n, want := range [...][8]byte{
		{0x31, 0x0e, 0x0e, 0xdd, 0x47, 0xdb, 0x6f, 0x72},
		{0x62, 0x24, 0x93, 0x9a, 0x79, 0xf5, 0xf5, 0x93},
		{0xdb, 0x9b, 0xc2, 0x57, 0x7f, 0xcc, 0x2a, 0x3f},
		{0x94, 0xaf, 0x49, 0xf6, 0xc6, 0x50, 0xad, 0xb8},
		{0xce, 0x7c, 0xf2, 0x72, 0x2f, 0x51, 0x27, 0x71},
		{0xd0, 0xa7, 0x04, 0x53, 0x6b, 0xa9, 0x3e, 0x0e},
		{0x51, 0xa9, 0xcb, 0x9e, 0xcb, 0xa3, 0x12, 0xe6},
		{0xbd, 0x83, 0x8d, 0x3a, 0xaf, 0xbf, 0x8d, 0xb7},
	} {
		var words []uint64
		for i := range n {
			words = append(words, binary.LittleEndian.Uint64(message[8*i:]))
		}
		if got := Sum24(&k, words...); got != binary.LittleEndian.Uint64(want[:]) {
			t.Errorf("%d bytes: %#x, want %#x", 8*n, got, binary.LittleEndian.Uint64(want[:]))
		}
	}
}

func TestSum24Allocs(t *testing.T) {
	k := Key{1, 2}
	if n := testing.AllocsPerRun(100, func() { Sum24(&k, 1, 2, 3, 4, 5, 6) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkSum24(b *testing.B) {
	k, h := Key{1, 2}, uint64(0)
	for b.Loop() {
		h = Sum24(&k, h, 2, 3, 4, 5)
	}
}
