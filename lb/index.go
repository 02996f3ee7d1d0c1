package lb

import (
	"runtime"
	"sync/atomic"
)

// ref points to a connection from the index: its number, and whether the tuple
// that led there is the client's or the server's. 0 is none.
type ref uint32

func makeRef(c uint32, reply bool) ref {
	r := ref(c << 1)
	if reply {
		r |= 1
	}
	return r
}

func (r ref) conn() uint32 { return uint32(r >> 1) }
func (r ref) reply() bool  { return r&1 != 0 }

const slotsPerBucket = 7

// bucket is one cache line of the index. A slot is a tag of 32 hash bits above a
// ref; 0 is empty. What does not fit hangs on a chain through the connections
// themselves. Readers take no lock: a slot is written whole. Writers hold busy.
type bucket struct {
	slots [slotsPerBucket]atomic.Uint64
	chain atomic.Uint32 // ref
	busy  atomic.Uint32
}

// tagOf takes the hash bits that the bucket number does not use.
func tagOf(hash uint64) uint64 { return hash >> 32 << 32 }

// lock spins: a bucket is held for some tens of nanoseconds. The holder may have
// lost its processor, so a long wait gives way.
func (b *bucket) lock() {
	for i := 1; !b.busy.CompareAndSwap(0, 1); i++ {
		if i%64 == 0 {
			runtime.Gosched()
		}
	}
}

func (b *bucket) unlock() { b.busy.Store(0) }

// link enters r for a tuple with that hash.
func (t *table) link(hash uint64, r ref) {
	b := t.bucket(hash)
	b.lock()
	defer b.unlock()
	for i := range b.slots {
		if b.slots[i].Load() == 0 {
			b.slots[i].Store(tagOf(hash) | uint64(r))
			return
		}
	}
	t.setNext(r, ref(b.chain.Load()))
	b.chain.Store(uint32(r))
}

// unlink takes r out again. Chained connections move into freed slots only when
// new ones come, so that a reader on the chain never loses its way to a
// connection that is still there.
func (t *table) unlink(hash uint64, r ref) {
	b := t.bucket(hash)
	b.lock()
	defer b.unlock()
	want := tagOf(hash) | uint64(r)
	for i := range b.slots {
		if b.slots[i].Load() == want {
			b.slots[i].Store(0)
			return
		}
	}
	prev := ref(0)
	for cur := ref(b.chain.Load()); cur != 0; cur = t.next(cur) {
		if cur == r {
			if prev == 0 {
				b.chain.Store(uint32(t.next(cur)))
			} else {
				t.setNext(prev, t.next(cur))
			}
			return
		}
		prev = cur
	}
}

func (t *table) bucket(hash uint64) *bucket { return &t.buckets[hash&t.mask] }

// next and setNext follow the chain of a bucket through its connections, which
// have one link for each of their two refs.
func (t *table) next(r ref) ref {
	l := t.conns[r.conn()].links.Load()
	if r.reply() {
		return ref(l >> 32)
	}
	return ref(uint32(l))
}

func (t *table) setNext(r, next ref) {
	links := &t.conns[r.conn()].links
	for {
		old := links.Load()
		l := old&^0xffffffff | uint64(next)
		if r.reply() {
			l = old&0xffffffff | uint64(next)<<32
		}
		if links.CompareAndSwap(old, l) {
			return
		}
	}
}
