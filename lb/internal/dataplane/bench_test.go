package dataplane

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/golb/golb/forward"
)

// What of the engine can be measured only from inside; the rest is in package
// benchmarks.

// BenchmarkMatcher is the search for the service of a packet alone, for the services
// in turn.
func BenchmarkMatcher(b *testing.B) {
	for _, n := range []int{1, 10_000} {
		b.Run(fmt.Sprintf("services=%d", n), func(b *testing.B) {
			var x matcher
			vips := make([]forward.Addr, n)
			for i := range vips {
				a := netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, 172<<24|16<<16|uint32(i))))
				x.add(Match{VIP: netip.PrefixFrom(a, 32), Proto: forward.ProtoTCP, First: 80, Last: 80}, &Service{})
				vips[i] = forward.AddrFrom(a)
			}
			x.finish()
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if x.find(forward.ProtoTCP, vips[i], 80) == nil {
					b.Fatal("no service")
				}
				if i++; i == n {
					i = 0
				}
			}
		})
	}
}

// BenchmarkTable is the connection table alone: connections that are there, in an
// order that no cache foresees, others that are not, and the birth and death of one.
func BenchmarkTable(b *testing.B) {
	for _, size := range []struct {
		name string
		n    uint32
	}{{"1k", 1000}, {"1M", 1_000_000}, {"10M", 10_000_000}} {
		x := &Plane{table: newTable(int(size.n)+1, 0, newHashKey(rand.New(rand.NewPCG(42, 1)).Uint64), 0)}
		x.servers.start()
		s := newServer(netip.MustParseAddrPort("10.0.0.1:80"), 1)
		x.servers.add(s)
		enter := func(i uint32) uint32 {
			key := benchKey(i)
			s.count(false)
			c, _, result := x.table.insert(&newConn{key: key, hash: key.hash(&x.table.secret), server: s, dport: 80, timeout: 1 << 20}, 0, x.servers.all())
			if result != inserted {
				b.Fatalf("connection %d is there already, or there is no room", i)
			}
			return c
		}
		for i := range size.n {
			enter(i)
		}
		random := uint64(0)
		next := func() uint32 { // a linear congruential generator, its upper bits scaled
			random = random*6364136223846793005 + 1442695040888963407
			return uint32(random >> 32 * uint64(size.n) >> 32)
		}
		find := func(name string, first uint32, want bool) {
			b.Run(fmt.Sprintf("%s/connections=%s", name, size.name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					key := benchKey(first + next())
					if r, _ := x.table.peek(&key, key.hash(&x.table.secret), x.servers.all()); (r != 0) != want {
						b.Fatalf("found: %v", r != 0)
					}
				}
			})
		}
		find("hit", 0, true)
		find("miss", size.n, false)
		b.Run("birth-death/connections="+size.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c := enter(size.n + next())
				x.delete(x.table.conns[c].load().id(c), flagAssured)
			}
		})
	}
}

func benchKey(i uint32) flowKey {
	t := tuple{
		src: forward.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, 10<<24|i))), dst: forward.AddrFrom4([4]byte{192, 0, 2, 80}),
		srcPort: uint16(i*40503) | 1024, dstPort: 80, proto: forward.ProtoTCP,
	}
	return t.key()
}
