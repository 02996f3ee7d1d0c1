package dataplane

import (
	"math/bits"
	"runtime"
	"sync/atomic"
)

// indexRef points to a connection from the index: its number, and whether the tuple
// that led there is the client's or the server's. 0 is none.
type indexRef uint32

func makeIndexRef(c uint32, reply bool) indexRef {
	r := indexRef(c << 1)
	if reply {
		r |= 1
	}
	return r
}

func (r indexRef) conn() uint32 { return uint32(r >> 1) }
func (r indexRef) reply() bool  { return r&1 != 0 }

const slotsPerBucket = 8

// bucket is one cache line of the index: refs, and of each a tag of its tuple's
// hash, so that most connections that do not match need not be read. More refs
// than slots are on a chain through the connections themselves.
//
// Readers take no lock: a connection's ref stays in its slot while it exists, and a reader
// compares the key of what a ref leads to. Writers lock busy.
type bucket struct {
	tags  [2]atomic.Uint64 // of slot i in word i%2, 16 bits from bit i/2*16; 0 is none
	refs  [slotsPerBucket]atomic.Uint32
	chain atomic.Uint32 // indexRef
	busy  atomic.Uint32
	_     [8]byte
}

// tagOf takes hash bits that the bucket number does not use.
func tagOf(hash uint64) uint64 { return hash&0xffff | 1 }

const (
	tagLow  = 0x0001_0001_0001_0001 // the lowest bit of each tag of a word
	tagHigh = tagLow << 15
)

// matching returns the slots whose tag is that of hash, and perhaps others, as a set
// that first and withoutFirst take apart.
func (b *bucket) matching(hash uint64) slots {
	// A lane of x that is 0 borrows (Mycroft's test for a zero byte).
	all := tagOf(hash) * tagLow
	x, y := b.tags[0].Load()^all, b.tags[1].Load()^all
	return slots((x-tagLow)&^x&tagHigh>>15 | (y-tagLow)&^y&tagHigh>>14)
}

// slots is a set of slots: bit i/2*16 + i%2 is slot i.
type slots uint64

func (s slots) first() int {
	at := bits.TrailingZeros64(uint64(s))
	return (at>>3 | at&1) % slotsPerBucket
}

func (s slots) withoutFirst() slots { return s & (s - 1) }

func (s slots) has(i int) bool { return s>>(i/2*16+i%2)&1 != 0 }

// putLocked fills or, with tag 0, empties a slot.
func (b *bucket) putLocked(i int, tag uint64, r indexRef) {
	word, shift := &b.tags[i%2], i/2*16
	b.refs[i].Store(uint32(r))
	word.Store(word.Load()&^(0xffff<<shift) | tag<<shift)
}

// lock spins: a bucket is locked for some tens of nanoseconds. It yields at times, since
// the holder may not be running.
func (b *bucket) lock() {
	for i := 1; !b.busy.CompareAndSwap(0, 1); i++ {
		if i%64 == 0 {
			runtime.Gosched()
		}
	}
}

func (b *bucket) unlock() { b.busy.Store(0) }

// maxChain bounds the chain of a bucket, and so every walk along it, whether or not it
// holds the lock. By chance alone a bucket's chain does not come near it: half of the slots
// are used, and nobody can choose the hash.
const maxChain = 64

// maxSameReply bounds the connections that are found by one reply tuple.
const maxSameReply = 8

// link enters r for a tuple with that hash. It fails where the chain is full.
func (t *table) link(hash uint64, r indexRef) bool {
	b := t.bucket(hash)
	b.lock()
	defer b.unlock()
	if t.fullLocked(b) {
		return false
	}
	for i := range b.refs {
		if b.refs[i].Load() == 0 {
			b.putLocked(i, tagOf(hash), r)
			return true
		}
	}
	t.chainLocked(b, r)
	return true
}

// linkReply enters r for the tuple of a server's replies, which other connections
// may have too: those of the same client with other VIPs of the same server. The
// newest is found first, as in ip_vs, since the others are most likely over: r takes the
// slot of the newest of them, that one the slot of the next, and so on. The oldest of
// maxSameReply is found by its reply tuple no more. linkReply fails where the chain is full.
func (t *table) linkReply(k *flowKey, r indexRef, servers []*Server) bool {
	hash := k.hash(&t.secret)
	b := t.bucket(hash)
	b.lock()
	defer b.unlock()
	t.forgetOldestReplyLocked(b, hash, k, servers)
	if t.fullLocked(b) {
		return false
	}
	sameTag := b.matching(hash)
	for i := range b.refs {
		other := indexRef(b.refs[i].Load())
		if other == 0 {
			b.putLocked(i, tagOf(hash), r)
			return true
		}
		if !sameTag.has(i) || !other.reply() {
			continue
		}
		if _, same := t.match(other, k, servers); same {
			b.putLocked(i, tagOf(hash), r)
			r = other
		}
	}
	t.chainLocked(b, r)
	return true
}

// forgetOldestReplyLocked takes the last of maxSameReply connections with a reply tuple out
// of the index, in which it stays by its client's tuple.
func (t *table) forgetOldestReplyLocked(b *bucket, hash uint64, k *flowKey, servers []*Server) {
	n, oldest := 0, indexRef(0)
	see := func(r indexRef) {
		if !r.reply() {
			return
		}
		if _, same := t.match(r, k, servers); same {
			n, oldest = n+1, r
		}
	}
	sameTag := b.matching(hash)
	for i := range b.refs {
		if sameTag.has(i) {
			see(indexRef(b.refs[i].Load()))
		}
	}
	for r := indexRef(b.chain.Load()); r != 0; r = t.next(r) {
		see(r)
	}
	if n < maxSameReply {
		return
	}
	t.unlinkLocked(b, oldest)
	// It is still that connection: its number is free again only once it has been unlinked,
	// which takes this lock.
	e := &t.conns[oldest.conn()]
	for m := e.load(); !e.swap(m, m&^flagReply); m = e.load() {
	}
}

// fullLocked reports whether a bucket's chain is as long as it may be.
func (t *table) fullLocked(b *bucket) bool {
	n := 0
	for r := indexRef(b.chain.Load()); r != 0; r = t.next(r) {
		n++
	}
	return n >= maxChain
}

// chainLocked puts r before what is chained to a bucket.
func (t *table) chainLocked(b *bucket, r indexRef) {
	t.setNext(r, indexRef(b.chain.Load()))
	b.chain.Store(uint32(r))
}

// unlink removes r, if it is there. Chained connections move into freed slots only when
// new ones come, so that a reader on the chain never loses its way to a
// connection that is still there.
func (t *table) unlink(hash uint64, r indexRef) {
	b := t.bucket(hash)
	b.lock()
	defer b.unlock()
	t.unlinkLocked(b, r)
}

func (t *table) unlinkLocked(b *bucket, r indexRef) {
	for i := range b.refs {
		if indexRef(b.refs[i].Load()) == r {
			b.putLocked(i, 0, 0)
			return
		}
	}
	prev := indexRef(0)
	for cur := indexRef(b.chain.Load()); cur != 0; cur = t.next(cur) {
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

func (t *table) bucket(hash uint64) *bucket { return &t.buckets[t.bucketNumber(hash)] }

// bucketNumber scales the hash, so that the number of buckets need not be a power of two.
func (t *table) bucketNumber(hash uint64) uint64 {
	i, _ := bits.Mul64(hash, uint64(len(t.buckets)))
	return i
}

// next and setNext follow the chain of a bucket through its connections, which
// have one link for each of their two refs.
func (t *table) next(r indexRef) indexRef {
	l := t.conns[r.conn()].links.Load()
	if r.reply() {
		return indexRef(l >> 32)
	}
	return indexRef(uint32(l))
}

func (t *table) setNext(r, next indexRef) {
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
