package benchmarks

import (
	"fmt"
	"os"
	"runtime/debug"
	"testing"

	"github.com/golb/golb/lb"
)

// BenchmarkMemory fills a table to its last entry and reports what of the process's
// resident memory each connection takes, all in. An operation is a connection.
func BenchmarkMemory(b *testing.B) {
	for _, m := range []lb.Method{lb.DSR, lb.NAT} {
		for _, size := range sizes[1:] {
			b.Run(fmt.Sprintf("%s/connections=%s", m, size.name), func(b *testing.B) {
				n := 0
				for b.Loop() {
					b.StopTimer()
					before := resident(b)
					w := newWorld(b, m, size.n, 0)
					empty := resident(b)
					b.StartTimer()
					w.open()
					b.StopTimer()
					full := resident(b)
					if got := w.Stats().Connections; got != int(size.n) {
						b.Fatalf("%d connections of %d", got, size.n)
					}
					b.ReportMetric(float64(full-before)/float64(size.n), "B/conn")
					b.ReportMetric(float64(empty-before)/(1<<20), "empty-MiB")
					b.ReportMetric(float64(full)/(1<<20), "RSS-MiB")
					n += int(size.n)
					b.StartTimer()
				}
				each(b, n, "conns")
			})
		}
	}
}

// resident is what the process has in memory, in bytes, garbage given back.
func resident(b *testing.B) int64 {
	debug.FreeOSMemory()
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	var size, pages int64
	if _, err := fmt.Sscan(string(data), &size, &pages); err != nil {
		b.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}
