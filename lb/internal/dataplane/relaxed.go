package dataplane

import (
	"math/bits"
	"sync/atomic"
)

// relaxed is a word that any goroutine may read, and that a worker may write per packet
// without a memory barrier: a Store of sync/atomic has one, which costs as much as the
// rest of a look-up. The Go memory model guarantees that a read sees a whole written
// word. Of two writes at once one may be lost.
type relaxed struct{ v uint64 }

// Load reads the word.
func (r *relaxed) Load() uint64 { return atomic.LoadUint64(&r.v) }

// Store writes it, and all writes before are seen before.
func (r *relaxed) Store(v uint64) { atomic.StoreUint64(&r.v, v) }

// Swap writes it and returns what it was.
func (r *relaxed) Swap(v uint64) uint64 { return atomic.SwapUint64(&r.v, v) }

// set writes it without a barrier.
//
//go:norace
func (r *relaxed) set(v uint64) {
	if bits.UintSize == 32 {
		r.Store(v)
		return
	}
	r.v = v
}

// bump adds to a counter that has one writer.
//
//go:norace
func (r *relaxed) bump(n uint64) { r.set(r.v + n) }
