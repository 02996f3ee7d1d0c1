package dataplane

import (
	"sync"
	"sync/atomic"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb/internal/hugepages"
)

// conn is what every packet of a connection touches: one cache line, no pointer.
// Its words are read without a lock. They belong to one connection if the generation in
// meta is the same before and after they are read (see table.match).
//
// A connection's key is the tuple of the client's packets: client, VIP. The
// server's replies find it by the tuple (server, client), which follows from
// client, server and dport.
type conn struct {
	client [2]atomic.Uint64 // address
	vip    [2]atomic.Uint64 // address
	ports  atomic.Uint64    // packPorts of client and VIP, with dport in bits 16 to 31
	meta   atomic.Uint64    // meta
	timer  relaxed          // timer
	links  atomic.Uint64    // index chains, see table.next
}

// connCold is the rest of a connection: what only its creation, end and timer need.
// The shard's lock guards all but the atomics.
type connCold struct {
	next, prev uint32        // in the list of the wheel's slot; next also in the free list
	filed      uint32        // level and slot of the wheel
	due        atomic.Uint32 // tick it is filed under
	hash       atomic.Uint32 // lower half of its tuple's hash: its shard
	// rearmOrBegin is in ticks: of a template how long it is re-armed for, of others when
	// they began.
	rearmOrBegin atomic.Uint32
	template     atomic.Uint32 // the template that controls it, 0 none
	controls     atomic.Int32  // connections that it controls (ip_vs n_control)
}

// meta is the state word of a connection: a generation that changes with each
// reuse, the server's number, flags and protocol state.
type meta uint64

const (
	flagInactive meta = 1 << 8  // counted as inactive (IP_VS_CONN_F_INACTIVE)
	flagNoOutput meta = 1 << 9  // no reply has been seen (IP_VS_CONN_F_NOOUTPUT)
	flagAssured  meta = 1 << 10 // was established; a template: one of its connections was
	flagReply    meta = 1 << 11 // also found by its reply tuple
	flagLive     meta = 1 << 12 // neither free nor ended
	flagOrphan   meta = 1 << 13 // template that is not in the index: no new connection finds it
	flagFTP      meta = 1 << 14 // FTP control connection of method NAT
	flagAnswered meta = 1 << 17 // the server's packets have been seen
	flagProven   meta = 1 << 18 // its client is no forged address, see meta.next; a template: that of one of its connections
	methodShift       = 15      // first bit of the method, which never changes; the server's may
	serverShift       = 24      // first bit of the server's number
	serverBits        = 24
	genShift          = 48 // first bit of the generation
	maxServerID       = 1<<serverBits - 1
)

func (m meta) state() state           { return state(m & 0xff) }
func (m meta) withState(s state) meta { return m&^0xff | meta(s) }
func (m meta) server() uint32         { return uint32(m>>serverShift) & maxServerID }
func (m meta) method() Method         { return Method(m >> methodShift & 3) }
func (m meta) has(f meta) bool        { return m&f != 0 }
func (m meta) gen() uint16            { return uint16(m >> genShift) }

// is reports whether m is the state of connection id, and that is still in the index.
func (m meta) is(id connID) bool { return m.gen() == id.gen && m.has(flagLive) }

// connID names a connection for as long as it exists: its number in the table, and the
// generation of that number. The zero value names none.
type connID struct {
	index uint32
	gen   uint16
}

func (m meta) id(c uint32) connID { return connID{c, m.gen()} }

func (c *conn) load() meta              { return meta(c.meta.Load()) }
func (c *conn) swap(old, new meta) bool { return c.meta.CompareAndSwap(uint64(old), uint64(new)) }

func (c *conn) deadline() Tick { return timer(c.timer.Load()).end() }

// timer is the word of a connection that each packet writes: the tick of expiry, the
// number of the client's hop (see hopTable), and how many packets the client sent.
type timer uint64

func newTimer(end Tick, hop uint16, packets uint16) timer {
	return timer(end)<<32 | timer(hop)<<16 | timer(packets)
}

func (t timer) end() Tick       { return Tick(t >> 32) }
func (t timer) hop() uint16     { return uint16(t >> 16) }
func (t timer) packets() uint16 { return uint16(t) }

// rearm sets when a connection expires and leaves the rest.
func (c *conn) rearm(end Tick) {
	t := timer(c.timer.Load())
	c.timer.Store(uint64(newTimer(end, t.hop(), t.packets())))
}

func (c *conn) dport() uint16 { return uint16(c.ports.Load() >> 16) }

const dportMask = 0xffff << 16

// table holds connections and templates of all workers. Lookups take no lock; creating
// and ending a connection locks one shard. Its size is fixed when it is made.
type table struct {
	conns   []conn // 0 is never used
	cold    []connCold
	buckets []bucket
	secret  hashKey
	_       line
	shards  [shardCount]shard

	nextUnused atomic.Uint32 // next number never used
}

const shardCount = 64

// shard guards the timers and the free connections of a part of the hash space.
type shard struct {
	mu        sync.Mutex
	freeList  uint32       // first of the free numbers, linked by connCold.next
	freeCount atomic.Int32 // length of freeList
	inUse     atomic.Int64
	wheel
	_ line
}

// connsPerBucket is how full the index gets at most. Through NAT each connection is in
// it twice: then half of the eight slots are used, and one bucket in fifty has a
// chain.
const connsPerBucket = 2

// newTable makes a table for at most limit (4 or more) connections and templates, with
// an index of so many buckets, 0 for as many as connsPerBucket says.
func newTable(limit, buckets int, secret hashKey, now Tick) *table {
	if buckets == 0 {
		buckets = (limit + connsPerBucket - 1) / connsPerBucket
	}
	t := &table{
		conns:   hugepages.Make[conn](limit + 1),
		cold:    hugepages.Make[connCold](limit + 1),
		buckets: hugepages.Make[bucket](buckets),
		secret:  secret,
	}
	t.nextUnused.Store(1)
	for i := range t.shards {
		t.shards[i].wheel.start(now)
	}
	return t
}

func (t *table) shard(hash uint32) *shard { return &t.shards[hash%shardCount] }

// shardOf is the shard of a connection in the table.
func (t *table) shardOf(c uint32) *shard { return t.shard(t.cold[c].hash.Load()) }

// peek looks a tuple up: as a client's packet, or as a server's reply. It takes no lock
// and may in rare cases miss a connection while another of its bucket is being removed;
// find does not.
func (t *table) peek(k *flowKey, hash uint64, servers []*Server) (indexRef, meta) {
	b := t.bucket(hash)
	for s := b.matching(hash); s != 0; s = s.withoutFirst() {
		r := indexRef(b.refs[s.first()].Load())
		if m, ok := t.match(r, k, servers); ok {
			return r, m
		}
	}
	r := indexRef(b.chain.Load())
	for n := 0; r != 0 && n < maxChain; n++ { // without the lock the chain may change on the way
		if m, ok := t.match(r, k, servers); ok {
			return r, m
		}
		r = t.next(r)
	}
	return 0, 0
}

// find is peek under the bucket's lock: its miss is certain.
func (t *table) find(k *flowKey, hash uint64, servers []*Server) (indexRef, meta) {
	b := t.bucket(hash)
	b.lock()
	defer b.unlock()
	return t.peek(k, hash, servers)
}

// match reports whether r leads to the connection of k, and returns its state.
func (t *table) match(r indexRef, k *flowKey, servers []*Server) (meta, bool) {
	c := &t.conns[r.conn()]
	m := c.load()
	if !m.has(flagLive) {
		return 0, false
	}
	if r.reply() {
		if !matchReply(c, m, k, servers) {
			return 0, false
		}
	} else if c.client[1].Load() != k[1] || c.ports.Load()&^dportMask != k[4] ||
		c.vip[1].Load() != k[3] || c.client[0].Load() != k[0] || c.vip[0].Load() != k[2] {
		return 0, false
	}
	again := c.load()
	return again, again.has(flagLive) && again>>serverShift == m>>serverShift
}

func matchReply(c *conn, m meta, k *flowKey, servers []*Server) bool {
	if c.client[1].Load() != k[3] || c.client[0].Load() != k[2] || int(m.server()) >= len(servers) {
		return false
	}
	s := servers[m.server()]
	return s != nil && s.addrWords[1] == k[1] && s.addrWords[0] == k[0] && k[4] == replyPorts(c.ports.Load())
}

// replyPorts turns the ports of a connection into those of its reply tuple.
func replyPorts(ports uint64) uint64 {
	return packPorts(uint16(ports>>16), uint16(ports>>48), uint8(ports>>8), connKind(ports))
}

// replyKey is the tuple of the replies to connection c of server s.
func (t *table) replyKey(c uint32, s *Server) flowKey {
	e := &t.conns[c]
	return flowKey{s.addrWords[0], s.addrWords[1], e.client[0].Load(), e.client[1].Load(), replyPorts(e.ports.Load())}
}

// vipAddr is the address and port that the client of c sends to.
func (c *conn) vipAddr() (vip forward.Addr, port uint16) {
	putAddr(&vip, c.vip[0].Load(), c.vip[1].Load())
	return vip, uint16(c.ports.Load() >> 32)
}

// proto is the transport protocol of a connection.
func (c *conn) proto() uint8 { return uint8(c.ports.Load() >> 8) }

func (t *table) isTemplate(c uint32) bool {
	k := connKind(t.conns[c].ports.Load())
	return k == kindTemplate || k == kindCall
}

// newConn is what insert makes a connection or template of.
type newConn struct {
	key      flowKey
	hash     uint64
	server   *Server
	dport    uint16
	meta     meta // flags and state
	template uint32
	timeout  Tick
	replies  bool // enter the reply tuple too
}

// insertResult is what became of an insert.
type insertResult uint8

const (
	inserted   insertResult = iota
	present                 // another worker entered the same tuple first
	tableFull               // no number is free
	bucketFull              // the chain of a bucket is as long as it may be
)

// insert enters a connection and returns its number and state. Where the tuple is present,
// it returns the connection that has it; the number is 0 where there is no room.
func (t *table) insert(n *newConn, now Tick, servers []*Server) (c uint32, m meta, result insertResult) {
	sh := t.shard(uint32(n.hash))
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if r, m := t.find(&n.key, n.hash, servers); r != 0 {
		return r.conn(), m, present
	}
	c = t.allocLocked(sh)
	if c == 0 {
		return 0, 0, tableFull
	}
	m = t.writeLocked(c, n, now)
	sh.file(t, c, now+n.timeout)
	if !t.indexLocked(c, m, n, servers) {
		t.conns[c].meta.Store(uint64(m &^ flagLive))
		sh.unfile(t, c)
		t.freeLocked(sh, c)
		return 0, 0, bucketFull
	}
	return c, m, inserted
}

// writeLocked makes entry c, which was free, that of n.
func (t *table) writeLocked(c uint32, n *newConn, now Tick) meta {
	e, cold := &t.conns[c], &t.cold[c]
	e.client[0].Store(n.key[0])
	e.client[1].Store(n.key[1])
	e.vip[0].Store(n.key[2])
	e.vip[1].Store(n.key[3])
	e.ports.Store(n.key[4] | uint64(n.dport)<<16)
	e.timer.Store(uint64(newTimer(now+n.timeout, 0, 0)))
	e.links.Store(0)
	cold.hash.Store(uint32(n.hash))
	if t.isTemplate(c) {
		cold.rearmOrBegin.Store(uint32(n.timeout))
	} else {
		cold.rearmOrBegin.Store(uint32(now))
	}
	cold.template.Store(n.template)
	cold.controls.Store(0)
	m := n.meta | flagLive | meta(n.server.ID)<<serverShift | (e.load()>>genShift+1)<<genShift
	if n.replies {
		m |= flagReply
	}
	e.meta.Store(uint64(m))
	return m
}

// indexLocked enters c into the index, wholly or not at all.
func (t *table) indexLocked(c uint32, m meta, n *newConn, servers []*Server) bool {
	if !t.link(n.hash, makeIndexRef(c, false)) {
		return false
	}
	if m.has(flagReply) {
		k := t.replyKey(c, n.server)
		if !t.linkReply(&k, makeIndexRef(c, true), servers) {
			t.unlink(n.hash, makeIndexRef(c, false))
			return false
		}
	}
	return true
}

// removeLocked takes a connection of server s out of the index.
func (t *table) removeLocked(c uint32, m meta, s *Server) {
	k := t.key(c)
	t.unlink(k.hash(&t.secret), makeIndexRef(c, false))
	if m.has(flagReply) {
		k := t.replyKey(c, s)
		t.unlink(k.hash(&t.secret), makeIndexRef(c, true))
	}
}

// key returns the tuple that c is found by.
func (t *table) key(c uint32) flowKey {
	e := &t.conns[c]
	return flowKey{e.client[0].Load(), e.client[1].Load(), e.vip[0].Load(), e.vip[1].Load(), e.ports.Load() &^ dportMask}
}
