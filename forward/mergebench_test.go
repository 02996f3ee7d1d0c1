package forward

import (
	"slices"
	"testing"
)

// BenchmarkMerge merges batches of 64 packets. ns/packet is the time for each packet, and
// frames how many frames a batch becomes. "overhead" does all but the merging.
func BenchmarkMerge(b *testing.B) {
	interleave := func(runs ...[]spec) (list []spec) {
		for i := range runs[0] {
			for _, r := range runs {
				list = append(list, r[i])
			}
		}
		return list
	}
	flows := func(name string, n, size int) []spec {
		var runs [][]spec
		for i := range n {
			s := mergeSpecs[name]
			s.sport += uint16(i)
			runs = append(runs, s.segments(64/n, size))
		}
		return interleave(runs...)
	}
	acks := flows("tcp4", 64, 0)
	mixed := slices.Concat(flows("udp4", 64, 60)[:32], acks[:32])
	for _, c := range []struct {
		name  string
		list  []spec
		state string
	}{
		{"tcp4", flows("tcp4", 1, 1448), ""},
		{"tcp4 verified", flows("tcp4", 1, 1448), "verified"},
		{"tcp6", flows("tcp6", 1, 1448), ""},
		{"udp4", flows("udp4", 1, 1200), ""},
		{"tcp4 of 8 flows", flows("tcp4", 8, 1448), ""},
		{"nothing to merge", mixed, ""},
		{"ACKs", acks, ""},
		{"overhead", flows("tcp4", 1, 1448), "overhead"},
	} {
		b.Run(c.name, func(b *testing.B) {
			batch := newMergeBatch(c.list)
			for i := range batch.all {
				batch.all[i].Offload.DataValid = c.state == "verified"
			}
			var m Merger
			left, packets := 0, 0
			b.ReportAllocs()
			for b.Loop() {
				fs := batch.fresh()
				packets += len(fs)
				if c.state == "overhead" {
					continue
				}
				left += len(m.Merge(fs, true))
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(packets), "ns/packet")
			b.ReportMetric(float64(left)/float64(b.N), "frames")
		})
	}
}
