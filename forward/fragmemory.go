package forward

// fragSources counts what each source has in the table. It is a hash table of indices,
// like that of the entries; there are never more sources than entries.
type fragSources struct {
	recs    []fragSource
	buckets []int32
	mask    uint64
	free    int32
}

type fragSource struct {
	addr   Addr
	lists  [2]fragList // of its entries by state, oldest first
	chunks int32
	next   int32 // in the chain of its bucket, or of unused ones
}

func (r *fragSource) entries() int32 { return int32(r.lists[0].n + r.lists[1].n) }

// sourceOf returns the source that a packet's address counts for: an IPv4 address, or an
// IPv6 /64, the least that a customer or link has (RFC 6177).
func sourceOf(a *Addr) Addr {
	s := *a
	if !a.Is4() {
		clear(s[8:])
	}
	return s
}

func (t *fragSources) init(n int) {
	t.recs = make([]fragSource, n)
	t.buckets, t.mask = newBuckets(n)
	for i := range t.recs {
		t.recs[i].next = int32(i) + 1
	}
	t.recs[n-1].next = nil32
}

func (t *fragSources) find(a Addr, secret fragSecret) int32 {
	i := t.buckets[secret.mix(0, &a)&t.mask]
	for i != nil32 && t.recs[i].addr != a {
		i = t.recs[i].next
	}
	return i
}

func (t *fragSources) findOrInsert(a Addr, secret fragSecret) int32 {
	if i := t.find(a, secret); i != nil32 {
		return i
	}
	i := t.free
	r := &t.recs[i]
	t.free = r.next
	lists := emptyList
	lists.which = linkSource
	b := &t.buckets[secret.mix(0, &a)&t.mask]
	*r = fragSource{addr: a, lists: [2]fragList{lists, lists}, next: *b}
	*b = i
	return i
}

func (t *fragSources) remove(i int32, secret fragSecret) {
	r := &t.recs[i]
	at := &t.buckets[secret.mix(0, &r.addr)&t.mask]
	for *at != i {
		at = &t.recs[*at].next
	}
	*at = r.next
	r.next = t.free
	t.free = i
}

// fragChunks is the memory for waiting fragments: one block, divided into chunks. A frame
// is a chain of chunks, a queue a chain of frames.
type fragChunks struct {
	data  []byte
	meta  []fragChunk
	free  int32 // chain of unused chunks, by next
	nfree int32
}

// chunkSize is in bytes, and enough for a frame of the usual MTU.
const chunkSize = 1536

// In fragChunk, only next is used in a chunk that is not the first of its frame.
type fragChunk struct {
	next  int32 // next chunk of the same frame
	frame int32 // first chunk of the next frame in the queue
	size  int32 // length of the frame in bytes
	port  int32 // Frame.Port
}

type fragQueue struct{ head, tail int32 } // first chunks of the first and the last frame

var emptyQueue = fragQueue{nil32, nil32}

func (q *fragQueue) empty() bool { return q.head == nil32 }

func chunksFor(size int) int32 { return int32((size + chunkSize - 1) / chunkSize) }

func (c *fragChunks) init(bytes int) {
	n := max(1, bytes/chunkSize)
	c.data = make([]byte, n*chunkSize)
	c.meta = make([]fragChunk, n)
	for i := range c.meta {
		c.meta[i].next = int32(i) + 1
	}
	c.meta[n-1].next = nil32
	c.nfree = int32(n)
}

func (c *fragChunks) bytes(i int32) []byte { return c.data[int(i)*chunkSize:][:chunkSize] }

// push copies size bytes of f to the end of the queue. There must be enough free chunks.
func (c *fragChunks) push(q *fragQueue, f *Frame, size int) {
	b := f.Bytes()[:size]
	first := c.free
	for i := first; ; {
		b = b[copy(c.bytes(i), b):]
		c.nfree--
		c.free = c.meta[i].next
		if len(b) == 0 {
			c.meta[i].next = nil32
			break
		}
		i = c.free
	}
	m := &c.meta[first]
	m.frame, m.size, m.port = nil32, int32(size), int32(f.Port)
	if q.head == nil32 {
		q.head = first
	} else {
		c.meta[q.tail].frame = first
	}
	q.tail = first
}

// pop copies the queue's first frame into dst and returns how many chunks that freed.
func (c *fragChunks) pop(q *fragQueue, dst *Frame) (n int32, ok bool) {
	if q.head == nil32 {
		return 0, false
	}
	m := c.meta[q.head]
	if dst.Head+int(m.size) > len(dst.Buf) {
		return 0, false
	}
	dst.Tail = dst.Head + int(m.size)
	dst.Port, dst.Offload = int(m.port), Offload{}
	b := dst.Bytes()
	for i := q.head; i != nil32; i = c.meta[i].next {
		b = b[copy(b, c.bytes(i)):]
	}
	return c.dropFirst(q), true
}

// dropFirst frees the queue's first frame.
func (c *fragChunks) dropFirst(q *fragQueue) (n int32) {
	i := q.head
	q.head = c.meta[i].frame
	if q.head == nil32 {
		q.tail = nil32
	}
	for i != nil32 {
		next := c.meta[i].next
		c.meta[i].next = c.free
		c.free = i
		c.nfree++
		n++
		i = next
	}
	return n
}

// drop empties the queue.
func (c *fragChunks) drop(q *fragQueue) (n int32) {
	for !q.empty() {
		n += c.dropFirst(q)
	}
	return n
}
