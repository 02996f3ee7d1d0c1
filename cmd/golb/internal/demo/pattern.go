package demo

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
)

const copyBuffer = 256 << 10

// pattern reads bytes that every host can make for itself: the same noise in each
// block, headed by the block's number, so that a lost, repeated or swapped part
// changes the sum.
type pattern struct {
	left  int64
	next  uint64 // number of the block after this one
	block [32 << 10]byte
	off   int
}

func newPattern(size int64) *pattern {
	p := &pattern{left: size}
	noise := rand.NewChaCha8([32]byte{})
	_, _ = noise.Read(p.block[:]) // never fails
	p.stamp()
	return p
}

func (p *pattern) stamp() {
	binary.BigEndian.PutUint64(p.block[:], p.next)
	p.next++
	p.off = 0
}

// Read implements io.Reader.
func (p *pattern) Read(b []byte) (n int, err error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	for n < len(b) && p.left > 0 {
		if p.off == len(p.block) {
			p.stamp()
		}
		c := copy(b[n:min(int64(len(b)), int64(n)+p.left)], p.block[p.off:])
		n, p.off, p.left = n+c, p.off+c, p.left-int64(c)
	}
	return n, nil
}
