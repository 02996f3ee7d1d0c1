package lb

import (
	"encoding/binary"
	"math/bits"

	"github.com/golb/golb/forward"
)

// tuple names a flow as a packet on the wire does: source first.
type tuple struct {
	src, dst         forward.Addr
	srcPort, dstPort uint16
	proto            Protocol
	kind             connKind
}

// connKind separates what is no connection from connections in the one table.
type connKind uint8

const (
	kindConn     connKind = iota
	kindTemplate          // of persistence
	kindCall              // of persistence by Call-ID: a hash in the place of the client's address
	kindExpected          // see expect.go
)

// words is a tuple in the form that the table compares and hashes.
type words [5]uint64

func (t *tuple) words() words {
	return words{
		binary.LittleEndian.Uint64(t.src[:8]),
		binary.LittleEndian.Uint64(t.src[8:]),
		binary.LittleEndian.Uint64(t.dst[:8]),
		binary.LittleEndian.Uint64(t.dst[8:]),
		packPorts(t.srcPort, t.dstPort, t.proto, t.kind),
	}
}

func packPorts(src, dst uint16, proto Protocol, kind connKind) uint64 {
	return uint64(src)<<48 | uint64(dst)<<32 | uint64(proto)<<8 | uint64(kind)
}

// hash mixes the words with a secret seed, so that nobody outside can choose
// tuples that share a bucket. It is the folded-multiply construction of wyhash.
func (w *words) hash(seed uint64) uint64 {
	h := fold(w[0]^0xa0761d6478bd642f, w[1]^seed) ^ fold(w[2]^0xe7037ed1a0b428db^seed, w[3]^0x8ebc6af09c88c6e3)
	return fold(h^w[4], seed^0x589965cc75374cc3)
}

func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}
