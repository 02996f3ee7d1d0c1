package sched

import "testing"

// BenchmarkPickWRRGiantOverloaded is wrr's worst case: nearly all levels belong
// to one server, which is overloaded. The usual cases are in package benchmarks.
func BenchmarkPickWRRGiantOverloaded(b *testing.B) {
	x := newFixture(b, "wrr", options())
	for i := range 1000 {
		x.add(newServer(serverAddr(i), 80, 1))
	}
	x.list[0].SetWeight(65535)
	x.list[0].SetOverloaded(true)
	x.edit(x.list[0], 65535)
	for b.Loop() {
		if x.Pick(nil) == nil {
			b.Fatal("no server")
		}
	}
}
