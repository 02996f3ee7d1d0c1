package dataplane

import (
	"math/bits"
	"sync/atomic"
)

// relaxed is a word that others read at any time, and that a packet may write
// without a memory barrier: a Store of sync/atomic is one, and costs as much as all
// else that a look-up does. The Go memory model gives what is needed: a word is read
// as it was written once. Of writes at the same time one may be lost.
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
