package forward

// FragConfig bounds a FragTable. Zero fields have defaults.
type FragConfig struct {
	MaxDatagrams int    // datagrams in the table; 0 means 4096
	MaxBytes     int    // memory for waiting fragments, in bytes; 0 means 4 MiB (as net.ipv4.ipfrag_high_thresh)
	PerSource    int    // datagrams of one source: IPv4 address or IPv6 /64; 0 means a sixteenth of MaxDatagrams
	Timeout      uint32 // ticks that a datagram stays in the table; 0 means 30 (seconds, as net.ipv4.ipfrag_time)
	Seed         uint64 // random and secret: seeds the hash, so that nobody can choose packets of one bucket
}

// FragTable sends the fragments of a datagram where its first fragment goes, which alone
// has the ports. It does not reassemble: each fragment is forwarded by itself.
//
// The caller makes its decision for the first fragment, and records it, as any number,
// with First. Later returns it for the other fragments. Those that come before the first
// are copied and wait; Take returns them after First. So nothing is forwarded of a
// datagram whose first fragment never comes.
//
// A datagram is dropped from the first overlapping fragment on (RFC 5722, RFC 8200 §4.5).
// Repeated fragments are dropped, as in Linux. A datagram leaves the table when all its
// fragments have passed, or after Timeout.
//
// All memory is allocated by NewFragTable. One source cannot have more than PerSource
// datagrams or a quarter of the memory: beyond that its own oldest datagram is removed.
// When the table is full, the oldest datagram of all is.
//
// Time is in ticks of the caller's clock, which may wrap around. Not for concurrent use:
// as fragments of one datagram can reach different workers, these share a table and a
// lock, which only fragments take.
type FragTable struct {
	timeout   uint32
	perSource int32
	maxChunks int32 // of one source
	secret    fragSecret

	buckets []int32 // heads of chains of entries, by key
	mask    uint64
	entries []fragEntry
	free    int32       // chain of unused entries, by next
	lists   [2]fragList // of all entries by state, oldest first

	sources fragSources
	chunks  fragChunks
}

// States of an entry. Lists of entries in one state are in the order of their deadlines.
const (
	fragWaiting = iota // the first fragment has not come
	fragDecided        // the decision is known, or the datagram has failed
)

// nil32 is no index: it ends a chain.
const nil32 = -1

// fragKey is what the fragments of one datagram have in common. That includes the
// protocol in IPv4 (RFC 791 §2.3), but not in IPv6 (RFC 8200 §4.5), where proto is 0.
type fragKey struct {
	src, dst       Addr
	id             uint32
	proto, version uint8
}

func keyOf(p *Packet) fragKey {
	k := fragKey{src: p.Src, dst: p.Dst, id: p.FragID, version: p.Version}
	if p.Version == 4 {
		k.proto = p.Proto
	}
	return k
}

// fragEntry is one datagram.
type fragEntry struct {
	key      fragKey
	decision uint64
	deadline uint32
	state    uint8
	failed   Reason // why all of it is dropped; None where it is not
	spans    fragSpans
	queue    fragQueue
	source   int32
	next     int32       // in the chain of its bucket, or of unused entries
	links    [2]fragLink // in the table's list and in the source's
}

// NewFragTable makes a table.
func NewFragTable(c FragConfig) *FragTable {
	n := c.MaxDatagrams
	if n <= 0 {
		n = 4096
	}
	bytes := c.MaxBytes
	if bytes <= 0 {
		bytes = 4 << 20
	}
	per := c.PerSource
	if per <= 0 {
		per = max(1, n/16)
	}
	t := &FragTable{
		timeout:   c.Timeout,
		perSource: int32(min(per, n)),
		secret:    newFragSecret(c.Seed),
		entries:   make([]fragEntry, n),
		lists:     [2]fragList{emptyList, emptyList},
	}
	if t.timeout == 0 {
		t.timeout = 30
	}
	t.buckets, t.mask = newBuckets(n)
	for i := range t.entries {
		t.entries[i].next = int32(i) + 1
	}
	t.entries[n-1].next = nil32
	t.sources.init(n)
	t.chunks.init(bytes)
	t.maxChunks = max(1, int32(len(t.chunks.meta))/4)
	return t
}

// newBuckets makes the buckets of a hash table of n entries: a power of 2, and at least
// two for each entry.
func newBuckets(n int) ([]int32, uint64) {
	size := 2
	for size < 2*n {
		size *= 2
	}
	b := make([]int32, size)
	for i := range b {
		b[i] = nil32
	}
	return b, uint64(size - 1)
}

// Len returns how many datagrams are in the table.
func (t *FragTable) Len() int { return t.lists[fragWaiting].n + t.lists[fragDecided].n }

// First records the decision for the datagram that the first fragment p begins. Then Take
// returns the fragments that waited for it. A first fragment that comes a second time
// begins a new datagram: its sender uses the identification again. The results
// FragmentOverlap and FragmentQueueFull mean that the whole datagram is dropped, p too.
//
// First, Later and Take find the datagram by addresses and identification, so p must be
// as Parse left it, before any rewriter.
func (t *FragTable) First(p *Packet, now uint32, decision uint64) Reason {
	t.Expire(now)
	i := t.findOrInsert(p, now)
	e := &t.entries[i]
	if e.failed != None {
		return e.failed
	}
	switch r := e.spans.add(p); r {
	case None:
	case FragmentDuplicate:
		t.dropQueue(i)
		e.spans = fragSpans{}
		e.spans.add(p)
	default:
		t.discard(i, r, now)
		return r
	}
	e.decision = decision
	t.move(i, fragDecided)
	e.deadline = now + t.timeout
	t.removeIfComplete(i)
	return None
}

// Later returns the decision for the later fragment p, which is in f. Where the first
// fragment has not come yet, Later copies f and the result is FragmentQueued. With any
// other Reason but None f is to be dropped.
func (t *FragTable) Later(f *Frame, p *Packet, now uint32) (decision uint64, r Reason) {
	t.Expire(now)
	i := t.findOrInsert(p, now)
	e := &t.entries[i]
	if e.failed != None {
		return 0, e.failed
	}
	switch r := e.spans.add(p); r {
	case None:
	case FragmentDuplicate:
		return 0, r
	default:
		t.discard(i, r, now)
		return 0, r
	}
	if e.state == fragWaiting {
		if !t.enqueue(i, f, p) {
			t.discard(i, FragmentQueueFull, now)
			return 0, FragmentQueueFull
		}
		return 0, FragmentQueued
	}
	decision = e.decision
	t.removeIfComplete(i)
	return decision, None
}

// Take copies the next fragment that waited for the first fragment p into dst, from
// dst.Head on, and sets dst.Tail, Port and Offload. Call it after First until it returns
// false: none is left, or dst has too little room.
func (t *FragTable) Take(p *Packet, dst *Frame) bool {
	k := keyOf(p)
	i, _ := t.find(&k)
	if i == nil32 || t.entries[i].state != fragDecided {
		return false
	}
	e := &t.entries[i]
	n, ok := t.chunks.pop(&e.queue, dst)
	if !ok {
		return false
	}
	t.sources.recs[e.source].chunks -= n
	t.removeIfComplete(i)
	return true
}

// Expire removes datagrams whose time is up and returns how many. First and Later call
// it; the caller needs it only to free memory when no fragments come.
func (t *FragTable) Expire(now uint32) (n int) {
	for s := range t.lists {
		for i := t.lists[s].head; i != nil32 && int32(now-t.entries[i].deadline) >= 0; i = t.lists[s].head {
			t.remove(i)
			n++
		}
	}
	return n
}

// enqueue copies f to the end of the entry's queue. To make room it removes other entries.
func (t *FragTable) enqueue(i int32, f *Frame, p *Packet) bool {
	e := &t.entries[i]
	need := chunksFor(p.End)
	if need > t.maxChunks {
		return false
	}
	src := &t.sources.recs[e.source]
	for src.chunks+need > t.maxChunks {
		if !t.evict(&src.lists[fragWaiting], i) {
			return false
		}
	}
	for t.chunks.nfree < need {
		if !t.evict(&t.lists[fragWaiting], i) {
			return false
		}
	}
	t.chunks.push(&e.queue, f, p.End)
	src.chunks += need
	return true
}

// evict removes the oldest entry of a list that is not keep.
func (t *FragTable) evict(l *fragList, keep int32) bool {
	i := l.head
	if i == keep {
		i = t.entries[i].links[l.which].next
	}
	if i == nil32 {
		return false
	}
	t.remove(i)
	return true
}

// discard drops the fragments of a datagram that wait and, until its deadline, those that
// come.
func (t *FragTable) discard(i int32, why Reason, now uint32) {
	t.dropQueue(i)
	e := &t.entries[i]
	e.failed, e.deadline = why, now+t.timeout
	t.move(i, fragDecided)
}

func (t *FragTable) removeIfComplete(i int32) {
	if e := &t.entries[i]; e.queue.empty() && e.spans.complete() {
		t.remove(i)
	}
}

func (t *FragTable) dropQueue(i int32) {
	e := &t.entries[i]
	t.sources.recs[e.source].chunks -= t.chunks.drop(&e.queue)
}
