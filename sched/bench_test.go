package sched

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
)

// BenchmarkPick measures a pick among servers of weights 1 to 100 with some load,
// for one of 1024 clients and as
// many destinations.
func BenchmarkPick(b *testing.B) {
	for _, name := range Names() {
		for _, n := range []int{3, 100, 1000} {
			b.Run(fmt.Sprintf("%s/servers=%d", name, n), func(b *testing.B) {
				x, flows := crowd(b, name, n)
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					if x.Pick(&flows[i%len(flows)]) == nil {
						b.Fatal("no server")
					}
					i++
				}
			})
		}
	}
}

// BenchmarkPickWRRGiantOverloaded is wrr's worst case: nearly all levels belong
// to one server, which is overloaded.
func BenchmarkPickWRRGiantOverloaded(b *testing.B) {
	x := newFixture(b, "wrr", options())
	for i := range 1000 {
		x.add(newServer(serverAddr(i), 80, 1))
	}
	x.list[0].SetWeight(65535)
	x.list[0].Overloaded.Store(true)
	x.edit(x.list[0], 65535)
	for b.Loop() {
		if x.Pick(nil) == nil {
			b.Fatal("no server")
		}
	}
}

// BenchmarkPickParallel measures picks of one service on all processors.
func BenchmarkPickParallel(b *testing.B) {
	for _, name := range Names() {
		b.Run(name, func(b *testing.B) {
			x, flows := crowd(b, name, 100)
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					x.Pick(&flows[i%len(flows)])
				}
			})
		})
	}
}

// BenchmarkEdited measures a change of one weight.
func BenchmarkEdited(b *testing.B) {
	for _, name := range []string{"mh", "sh", "wrr"} {
		for _, n := range []int{3, 1000} {
			b.Run(fmt.Sprintf("%s/servers=%d", name, n), func(b *testing.B) {
				x, _ := crowd(b, name, n)
				i := int32(0)
				for b.Loop() {
					x.edit(x.list[0], 1+i%100)
					i++
				}
			})
		}
	}
}

func crowd(tb testing.TB, name string, n int) (*fixture, []Flow) {
	rng := rand.New(rand.NewPCG(1, 2))
	o := options()
	o.Rand = rand.Uint64
	x := newFixture(tb, name, o)
	for i := range n {
		s := newServer(serverAddr(i), 80, 1+rng.Int32N(100))
		s.Active.Store(1 + rng.Int64N(int64(s.Weight.Load()))) // none idle, for nq, or full, for ovf
		s.Inactive.Store(rng.Int64N(1000))
		x.list = append(x.list, s)
	}
	for _, s := range x.list {
		x.Added(x.list, s)
	}
	flows := make([]Flow, 1024)
	for i := range flows {
		flows[i] = *clientFlow("192.0.2.1", uint16(i+1))
		rng := rng.Uint64()
		binary.BigEndian.PutUint32(flows[i].Src[12:], uint32(rng))
		binary.BigEndian.PutUint32(flows[i].Dst[12:], uint32(rng>>32))
	}
	return x, flows
}
