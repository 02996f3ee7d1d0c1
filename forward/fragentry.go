package forward

import (
	"encoding/binary"
	"math/bits"
)

// fragList is a doubly linked list of entries, oldest first.
type fragList struct {
	head, tail int32
	n          int
	which      uint8 // index of its links in fragEntry.links
}

type fragLink struct{ prev, next int32 }

const (
	linkAll = iota
	linkSource
)

var emptyList = fragList{head: nil32, tail: nil32, which: linkAll}

func (t *FragTable) link(l *fragList, i int32) {
	t.entries[i].links[l.which] = fragLink{prev: l.tail, next: nil32}
	if l.tail == nil32 {
		l.head = i
	} else {
		t.entries[l.tail].links[l.which].next = i
	}
	l.tail = i
	l.n++
}

func (t *FragTable) unlink(l *fragList, i int32) {
	k := t.entries[i].links[l.which]
	if k.prev == nil32 {
		l.head = k.next
	} else {
		t.entries[k.prev].links[l.which].next = k.next
	}
	if k.next == nil32 {
		l.tail = k.prev
	} else {
		t.entries[k.next].links[l.which].prev = k.prev
	}
	l.n--
}

// find returns the entry of a key, or nil32, and the key's bucket.
func (t *FragTable) find(k *fragKey) (i int32, bucket *int32) {
	bucket = &t.buckets[k.hash(t.secret)&t.mask]
	for i = *bucket; i != nil32 && t.entries[i].key != *k; i = t.entries[i].next {
	}
	return i, bucket
}

// findOrInsert returns the entry of p's datagram, which it makes where there is none.
func (t *FragTable) findOrInsert(p *Packet, now uint32) int32 {
	k := keyOf(p)
	i, bucket := t.find(&k)
	if i != nil32 {
		return i
	}
	if s := t.sources.find(sourceOf(&p.Src), t.secret); s != nil32 {
		if r := &t.sources.recs[s]; r.entries() >= t.perSource {
			t.evictOldest(&r.lists)
		}
	}
	if t.free == nil32 {
		t.evictOldest(&t.lists)
	}
	// Only now: an eviction above may have removed the source with its last entry.
	s := t.sources.findOrInsert(sourceOf(&p.Src), t.secret)
	i = t.free
	e := &t.entries[i]
	t.free = e.next
	*e = fragEntry{key: k, deadline: now + t.timeout, source: s, next: *bucket, queue: emptyQueue, state: fragWaiting}
	*bucket = i
	t.link(&t.lists[fragWaiting], i)
	t.link(&t.sources.recs[s].lists[fragWaiting], i)
	return i
}

// evictOldest removes the entry that would expire first.
func (t *FragTable) evictOldest(l *[2]fragList) {
	i, j := l[fragWaiting].head, l[fragDecided].head
	if i == nil32 || j != nil32 && int32(t.entries[j].deadline-t.entries[i].deadline) < 0 {
		i = j
	}
	t.remove(i)
}

func (t *FragTable) remove(i int32) {
	t.dropQueue(i)
	e := &t.entries[i]
	at := &t.buckets[e.key.hash(t.secret)&t.mask]
	for *at != i {
		at = &t.entries[*at].next
	}
	*at = e.next
	t.unlink(&t.lists[e.state], i)
	r := &t.sources.recs[e.source]
	t.unlink(&r.lists[e.state], i)
	if r.entries() == 0 {
		t.sources.remove(e.source, t.secret)
	}
	e.next = t.free
	t.free = i
}

// move changes the state of an entry, and makes it the youngest there.
func (t *FragTable) move(i int32, state uint8) {
	e := &t.entries[i]
	lists := &t.sources.recs[e.source].lists
	t.unlink(&t.lists[e.state], i)
	t.unlink(&lists[e.state], i)
	e.state = state
	t.link(&t.lists[state], i)
	t.link(&lists[state], i)
}

// fragSecret is what the hashes of the table are keyed with: a number added before each
// multiplication, and the number to multiply by. Were either known, packets could be chosen
// that share a bucket.
type fragSecret struct{ add, times uint64 }

// newFragSecret makes both of a random number (splitmix64).
func newFragSecret(seed uint64) fragSecret {
	next := func() uint64 {
		seed += 0x9e3779b97f4a7c15
		z := (seed ^ seed>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		return z ^ z>>31
	}
	return fragSecret{add: next(), times: next() | 1}
}

func (k *fragKey) hash(s fragSecret) uint64 {
	h := s.mix(0, &k.src)
	h = s.mix(h, &k.dst)
	return s.mixWord(h ^ uint64(k.id)<<16 ^ uint64(k.proto)<<8 ^ uint64(k.version))
}

func (s fragSecret) mix(h uint64, a *Addr) uint64 {
	h = s.mixWord(h ^ binary.LittleEndian.Uint64(a[:8]))
	return s.mixWord(h ^ binary.LittleEndian.Uint64(a[8:]))
}

// mixWord mixes the bits of x: a multiplication to 128 bits, whose halves are combined.
func (s fragSecret) mixWord(x uint64) uint64 {
	hi, lo := bits.Mul64(x+s.add, s.times)
	return hi ^ lo
}

// fragSpans says which bytes of a datagram have come: ordered spans that neither touch
// nor overlap.
type fragSpans struct {
	total uint16 // length of the datagram; 0 until its last fragment has come
	n     uint8
	spans [maxSpans]fragSpan
}

type fragSpan struct{ start, end uint16 }

// maxSpans bounds the holes in a datagram. Fragments of 64 KiB in random order leave at
// most about a dozen.
const maxSpans = 32

// add adds a fragment. The result is FragmentDuplicate where all its bytes have come
// before, FragmentOverlap where some have or the fragment contradicts the datagram's
// length, and FragmentQueueFull where there are too many holes.
func (s *fragSpans) add(p *Packet) Reason {
	off, n := p.fragmentData()
	start, end := uint16(off), uint16(off+n)
	if !s.lengthFits(end, p.MoreFrags) {
		return FragmentOverlap
	}
	at := 0
	for at < int(s.n) && s.spans[at].end <= start {
		at++
	}
	if at < int(s.n) && s.spans[at].start < end {
		if s.spans[at].start <= start && end <= s.spans[at].end {
			return FragmentDuplicate
		}
		return FragmentOverlap
	}
	if !s.insert(at, start, end) {
		return FragmentQueueFull
	}
	if !p.MoreFrags {
		s.total = end
	}
	return None
}

// lengthFits reports whether a fragment that ends at end agrees with what is known of the
// datagram's length.
func (s *fragSpans) lengthFits(end uint16, more bool) bool {
	if s.total != 0 {
		return more && end < s.total || !more && end == s.total
	}
	return more || s.n == 0 || s.spans[s.n-1].end <= end
}

// insert inserts a span before the one at index at, and joins it with those that it
// touches.
func (s *fragSpans) insert(at int, start, end uint16) bool {
	left := at > 0 && s.spans[at-1].end == start
	right := at < int(s.n) && s.spans[at].start == end
	switch {
	case left && right:
		s.spans[at-1].end = s.spans[at].end
		copy(s.spans[at:], s.spans[at+1:s.n])
		s.n--
	case left:
		s.spans[at-1].end = end
	case right:
		s.spans[at].start = start
	case s.n == maxSpans:
		return false
	default:
		copy(s.spans[at+1:], s.spans[at:s.n])
		s.spans[at] = fragSpan{start, end}
		s.n++
	}
	return true
}

func (s *fragSpans) complete() bool {
	return s.total != 0 && s.n == 1 && s.spans[0] == fragSpan{0, s.total}
}
