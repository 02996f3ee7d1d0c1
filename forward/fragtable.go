package forward

// FragConfig bounds a FragTable. The zero value is the default.
type FragConfig struct {
	MaxDatagrams int    // datagrams known at a time; 0 is 4096
	MaxBytes     int    // memory for waiting fragments, in bytes; 0 is 4 MiB (as net.ipv4.ipfrag_high_thresh)
	PerSource    int    // datagrams of one source: IPv4 address or IPv6 /64; 0 is a sixteenth of MaxDatagrams
	Timeout      uint32 // ticks after which a datagram is forgotten; 0 is 30 (seconds, as net.ipv4.ipfrag_time)
	Seed         uint64 // secret of the hash, random, so that nobody can aim at one bucket
}

// FragTable lets the fragments of a datagram follow its first one, which alone
// has the ports that decide where to. Nothing is put together: each fragment goes
// on as it is.
//
// The owner records its decision, any number, with First. Later then returns it
// for the rest. Fragments that come before the first are copied and wait; Take
// hands them back. So nothing of a datagram is sent whose first fragment never
// comes. A datagram with overlapping fragments is dropped from there on (RFC 5722,
// RFC 8200 §4.5); repeated fragments are dropped, as in Linux. When all of a
// datagram has passed it is forgotten at once.
//
// Memory is that of construction; nothing is allocated later. One source cannot
// hold more than its share of datagrams and a quarter of the memory: a flood
// pushes out the oldest of its own. When all is full regardless, the oldest goes.
//
// Time is ticks of the owner's clock, which may wrap around. Not for concurrent
// use: fragments of one datagram reach different workers, so they share one table
// under a lock, which only fragments pay for.
type FragTable struct {
	timeout   uint32
	perSource int32
	maxChunks int32 // of one source
	seed      uint64

	buckets []int32 // heads of chains of entries, by key
	mask    uint64
	entries []fragEntry
	free    int32       // chain of unused entries, by next
	lists   [2]fragList // of all entries by state, oldest first

	sources fragSources
	chunks  fragChunks
}

// What an entry waits for. Within a state the order of age is that of deadlines.
const (
	fragWaiting = iota // for its first fragment
	fragDecided        // for the rest
)

// nil32 ends a chain of indices.
const nil32 = -1

// fragKey is what fragments of one datagram have in common: RFC 791 §2.3 takes the
// protocol in, RFC 8200 §4.5 does not, where it stays 0.
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
	failed   Reason // why nothing more of it passes
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
		seed:      c.Seed,
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

// newBuckets makes chain heads for n things: at least two each, a power of 2.
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

// Len returns how many datagrams are known.
func (t *FragTable) Len() int { return t.lists[fragWaiting].n + t.lists[fragDecided].n }

// First records decision for the datagram that the first fragment p begins. What
// waited for it can then be had from Take. A first fragment that was here before
// begins the datagram anew: its identification is in use again. FragmentOverlap
// and FragmentQueueFull mean that the datagram is lost and p is to be dropped.
//
// First, Later and Take know the datagram by addresses and identification: p is
// as Parse left it.
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

// Later returns the decision for the later fragment p in f. Where the first
// fragment has not come yet, f is copied and the result is FragmentQueued. With
// every other Reason than None, f is to be dropped.
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

// Take copies the next fragment that waited for the first fragment p into dst,
// from dst.Head on, and sets Tail, Port and Offload. Call it after First until it
// reports false: there is no more, or dst has too little room.
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

// Expire forgets datagrams whose time is up. First and Later do that themselves;
// an owner calls it to have memory free in quiet times. It returns how many.
func (t *FragTable) Expire(now uint32) (n int) {
	for s := range t.lists {
		for i := t.lists[s].head; i != nil32 && int32(now-t.entries[i].deadline) >= 0; i = t.lists[s].head {
			t.remove(i)
			n++
		}
	}
	return n
}

// enqueue copies f to the end of the entry's queue, making room first.
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

// evict removes the oldest entry of a list other than keep.
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

// kill ends a datagram: what waits goes, and what still comes, until its time is up.
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
