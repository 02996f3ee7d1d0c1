package benchmarks

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/golb/golb/sched"
)

// BenchmarkPick is a pick among servers of weights 1 to 100 with some load, for one of
// 1024 clients and as many destinations.
func BenchmarkPick(b *testing.B) {
	for _, name := range sched.Names() {
		for _, n := range []int{3, 100, 1000} {
			b.Run(fmt.Sprintf("%s/servers=%d", name, n), func(b *testing.B) {
				x := newCrowd(b, name, n)
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					if x.Pick(&x.flows[i%len(x.flows)]) == nil {
						b.Fatal("no server")
					}
					i++
				}
			})
		}
	}
}

// BenchmarkPickParallel is picks of one service on all processors.
func BenchmarkPickParallel(b *testing.B) {
	for _, name := range sched.Names() {
		b.Run(name, func(b *testing.B) {
			x := newCrowd(b, name, 100)
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					x.Pick(&x.flows[i%len(x.flows)])
				}
			})
		})
	}
}

// BenchmarkEdited is a change of one server's weight.
func BenchmarkEdited(b *testing.B) {
	for _, name := range []string{"mh", "sh", "wrr"} {
		for _, n := range []int{3, 1000} {
			b.Run(fmt.Sprintf("%s/servers=%d", name, n), func(b *testing.B) {
				x := newCrowd(b, name, n)
				i := int32(0)
				for b.Loop() {
					x.list[0].SetWeight(1 + i%100)
					x.Edited(x.list, x.list[0])
					i++
				}
			})
		}
	}
}

// crowd is a scheduler with many servers, and flows for it.
type crowd struct {
	sched.Scheduler
	list  []*sched.Server
	flows [1024]sched.Flow
}

func newCrowd(b *testing.B, name string, n int) *crowd {
	s, err := sched.New(name, sched.Options{Now: func() int64 { return 0 }, Rand: rand.Uint64})
	if err != nil {
		b.Fatal(err)
	}
	x := &crowd{Scheduler: s}
	var slab sched.Slab
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		s := &sched.Server{Addr: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}).As16(), Port: 80}
		slab.Init(s)
		s.SetWeight(1 + rng.Int32N(100))
		s.AddConnections(1+rng.Int64N(int64(s.Weight())), rng.Int64N(1000)) // none idle, for nq, or full, for ovf
		x.list = slices.Concat([]*sched.Server{s}, x.list)
		x.Added(x.list, s)
	}
	address := func() [16]byte {
		r := rng.Uint32()
		return netip.AddrFrom4([4]byte{byte(r >> 24), byte(r >> 16), byte(r >> 8), byte(r)}).As16()
	}
	for i := range x.flows {
		x.flows[i] = sched.Flow{Src: address(), Dst: address(), SrcPort: uint16(i + 1), DstPort: 80, Proto: 6}
	}
	return x
}
