package dataplane

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/golb/golb/forward"
)

// TestNobodyChoosesTuplesOfOneBucket hashes families of tuples that differ in a few bits of a
// word or two, with other words that make a product of known numbers vanish, under several
// secrets. Each family has to spread as chance would.
func TestNobodyChoosesTuplesOfOneBucket(t *testing.T) {
	const (
		tuples  = 1 << 14
		buckets = tuples / connsPerBucket
		most    = 24 // expected are 2 a bucket, and 12 in the fullest
	)
	prefix := func(s string) uint64 {
		a := netip.MustParseAddr(s).As16()
		return binary.LittleEndian.Uint64(a[:8])
	}
	// The multiplicands of wyhash, and the addresses that are 0 when combined with them.
	known := []uint64{0, ^uint64(0), 0xa0761d6478bd642f, 0xe7037ed1a0b428db, 0x8ebc6af09c88c6e3, 0x589965cc75374cc3,
		prefix("2f64:bd78:641d:76a0::"), prefix("2001:db8::")}
	for seed := range uint64(4) {
		secret := newHashKey(rand.New(rand.NewPCG(seed, 1)).Uint64)
		for _, fixed := range known {
			for word := range len(flowKey{}) {
				for _, shift := range []int{0, 16, 32, 50} {
					loads := make([]int, buckets)
					tab := table{buckets: make([]bucket, buckets)}
					for i := range uint64(tuples) {
						k := flowKey{fixed, fixed, fixed, fixed, fixed}
						k[word] ^= i << shift
						loads[tab.bucketNumber(k.hash(&secret))]++
					}
					for _, n := range loads {
						if n > most {
							t.Fatalf("secret %d: %d tuples of words %x with bits from %d of word %d changed share a bucket", seed, n, fixed, shift, word)
						}
					}
				}
			}
		}
	}
}

// natTable is a plane with a server of method NAT, whose table has room for size.
type natTable struct {
	*Plane
	server *Server
}

func newNATTable(size, buckets int) *natTable {
	x := &natTable{Plane: &Plane{table: newTable(size, buckets, newHashKey(rand.New(rand.NewPCG(3, 1)).Uint64), 0)}}
	x.servers.start()
	x.server = newServer(netip.MustParseAddrPort("10.0.0.1:80"), 1)
	x.servers.add(x.server)
	return x
}

// enter makes a connection of a client with a port of the VIP to port 80 of the server.
func (x *natTable) enter(client netip.AddrPort, port uint16) (uint32, insertResult) {
	key := (&tuple{
		src: forward.AddrFrom(client.Addr()), srcPort: client.Port(),
		dst: forward.AddrFrom(testVIP.Addr()), dstPort: port, proto: forward.ProtoTCP,
	}).key()
	x.server.count(false)
	c, _, result := x.table.insert(&newConn{
		key: key, hash: key.hash(&x.table.secret), server: x.server, dport: 80,
		meta: flagInactive | meta(NAT)<<methodShift, timeout: 100, replies: true,
	}, 0, x.servers.all())
	if result != inserted {
		x.server.uncount(false)
	} else {
		x.server.bind()
	}
	return c, result
}

// end ends a connection.
func (x *natTable) end(c uint32) { x.deleteOne(x.table.conns[c].load().id(c)) }

// replyOf is the connection that a reply to the client belongs to, 0 for none.
func (x *natTable) replyOf(client netip.AddrPort) uint32 {
	key := (&tuple{
		src: x.server.Addr, srcPort: 80, dst: forward.AddrFrom(client.Addr()), dstPort: client.Port(), proto: forward.ProtoTCP,
	}).key()
	r, _ := x.table.find(&key, key.hash(&x.table.secret), x.servers.all())
	return r.conn()
}

// longest is how many refs the fullest bucket has.
func (x *natTable) longest() (most int) {
	t := x.table
	for i := range t.buckets {
		n := 0
		for j := range t.buckets[i].refs {
			if t.buckets[i].refs[j].Load() != 0 {
				n++
			}
		}
		for r := indexRef(t.buckets[i].chain.Load()); r != 0; r = t.next(r) {
			n++
		}
		most = max(most, n)
	}
	return most
}

// TestReplyTuplesThatCollideAreCheap: one port of a client opens all ports of a VIP, which
// lead to one port of a server, so that all replies look alike.
func TestReplyTuplesThatCollideAreCheap(t *testing.T) {
	const n = 65_000
	client := netip.MustParseAddrPort("198.51.100.7:4000")
	x := newNATTable(n, 0)
	conns := make([]uint32, n)
	for i := range conns {
		c, result := x.enter(client, uint16(i+1))
		if result != inserted {
			t.Fatalf("connection %d: %d", i, result)
		}
		conns[i] = c
		if got := x.replyOf(client); got != c {
			t.Fatalf("a reply is one of connection %d, want the newest, %d", got, c)
		}
	}
	if got := x.longest(); got > maxSameReply+slotsPerBucket {
		t.Errorf("a bucket has %d connections", got)
	}
	if err := x.Audit(false); err != nil {
		t.Fatal(err)
	}
	for i := range maxSameReply {
		newest := conns[n-1-i]
		if got := x.replyOf(client); got != newest {
			t.Fatalf("with the newest %d gone a reply is one of connection %d, want %d", i, got, newest)
		}
		x.end(newest)
	}
	if got := x.replyOf(client); got != 0 {
		t.Errorf("connection %d is still found by its reply", got)
	}
	for _, c := range conns {
		x.end(c)
	}
	if err := x.Audit(false); err != nil || x.InUse() != 0 {
		t.Errorf("%d are left: %v", x.InUse(), err)
	}
}

// TestABucketIsBounded: what the index has no room for is refused, and all the rest found.
func TestABucketIsBounded(t *testing.T) {
	const room = slotsPerBucket + maxChain
	x := newNATTable(2*room, 1)
	client := func(i int) netip.AddrPort { return netip.AddrPortFrom(testServer.Addr(), uint16(i+1)) }
	var conns []uint32
	for i := range room {
		c, result := x.enter(client(i), 80)
		if i < room/2 != (result == inserted) {
			t.Fatalf("connection %d of %d, each of which is in the index twice: %d", i, room/2, result)
		}
		if result == inserted {
			conns = append(conns, c)
		}
	}
	for i, c := range conns {
		if got := x.replyOf(client(i)); got != c {
			t.Errorf("connection %d is not found", i)
		}
	}
	x.end(conns[5])
	if _, result := x.enter(client(room), 80); result != inserted {
		t.Errorf("after one ended, another is refused: %d", result)
	}
	if err := x.Audit(false); err != nil {
		t.Error(err)
	}
}
