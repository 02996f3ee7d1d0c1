package health

import (
	"context"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// BenchmarkMonitor checks 5,000 servers (loopback addresses) once a second by TCP
// connect for 5 s. lag is how late a check starts after its place in the rhythm
// that the target's first check began; cpu is this process's, the accepting side
// included.
func BenchmarkMonitor(b *testing.B) {
	const targets, span = 5000, 5 * time.Second
	ln, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		b.Fatal(err)
	}
	go acceptAndClose(ln)
	defer ln.Close()
	port := uint16(ln.Addr().(*net.TCPAddr).Port)
	for b.Loop() {
		var mu sync.Mutex
		var lags []time.Duration
		most := 0
		list := make([]Target, targets)
		for i := range list {
			addr := netip.AddrFrom4([4]byte{127, 1, byte(i >> 8), byte(i)})
			tcp := &TCP{Addr: netip.AddrPortFrom(addr, port), Reset: true}
			var first time.Time
			n := 0
			list[i] = Target{Key: addr.String(), Settings: Settings{Interval: time.Second}, Checker: CheckerFunc(func(ctx context.Context) error {
				now := time.Now()
				if n++; n == 1 {
					first = now
				}
				mu.Lock()
				lags = append(lags, now.Sub(first.Add(time.Duration(n-1)*time.Second)))
				most = max(most, runtime.NumGoroutine())
				mu.Unlock()
				return tcp.Check(ctx)
			})}
		}
		m := NewMonitor(Config{OnEvent: func(e Event) {
			if e.State != Up {
				b.Error(e)
			}
		}})
		m.Set(list)
		ctx, cancel := context.WithTimeout(b.Context(), span)
		before := cpuTime(b)
		_ = m.Run(ctx)
		cpu := cpuTime(b) - before
		cancel()
		slices.Sort(lags)
		b.ReportMetric(float64(len(lags))/span.Seconds(), "checks/s")
		b.ReportMetric(lags[len(lags)/2].Seconds()*1e3, "lag-p50-ms")
		b.ReportMetric(lags[len(lags)*99/100].Seconds()*1e3, "lag-p99-ms")
		b.ReportMetric(lags[len(lags)-1].Seconds()*1e3, "lag-max-ms")
		b.ReportMetric(float64(most), "goroutines-max")
		b.ReportMetric(cpu.Seconds()/span.Seconds()*100, "cpu-%")
	}
}

func acceptAndClose(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		_ = conn.Close()
	}
}

func cpuTime(b *testing.B) time.Duration {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		b.Fatal(err)
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}
