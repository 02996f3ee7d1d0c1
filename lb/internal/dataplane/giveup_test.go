package dataplane

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golb/golb/forward"
)

// TestWorkersGiveUpEachOthersConnections has eight workers enter connections into a table with
// room for few of them, as others expire them; afterwards all counts have to agree and all
// entries end.
func TestWorkersGiveUpEachOthersConnections(t *testing.T) {
	for name, tt := range map[string]struct {
		method      Method
		persistence time.Duration
	}{"NAT": {NAT, 0}, "NAT persistent": {NAT, time.Minute}, "DSR": {DSR, 0}, "DSR persistent": {DSR, time.Minute}} {
		t.Run(name, func(t *testing.T) {
			const workers, connections, rounds = 8, 100, 3000
			var clock atomic.Int64
			r := &testPlane{}
			r.start(t, connections, tt.persistence, tt.method, workers, func() time.Time { return time.Unix(0, clock.Load()) })
			var running sync.WaitGroup
			for i, w := range r.workers() {
				running.Go(func() {
					rng := rand.New(rand.NewPCG(uint64(i), 1))
					for n := range rounds {
						client := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(rng.IntN(40))}), uint16(1024+rng.IntN(20)))
						flags := []uint8{forward.FlagSYN, forward.FlagACK, forward.FlagACK | forward.FlagFIN, forward.FlagRST}[rng.IntN(4)]
						w.Handle([]forward.Frame{frameOf(segment(client, testVIP, flags))})
						if rng.IntN(2) == 0 {
							reply := segment(testServer, client, forward.FlagACK|flags&forward.FlagSYN)
							copy(reply[6:], testServerMAC[:])
							w.Handle([]forward.Frame{frameOf(reply)})
						}
						if n%16 == 0 {
							clock.Add(int64(50 * time.Millisecond))
						}
						if n%64 == 0 && i == 0 {
							r.Expire()
						}
					}
				})
			}
			running.Wait()
			if err := r.Audit(true); err != nil {
				t.Fatal(err)
			}
			if n := r.InUse(); n > connections {
				t.Errorf("%d entries of %d", n, connections)
			}
			if len(r.GivenUp()) == 0 {
				t.Error("no entry was given up")
			}
			for range 40 {
				clock.Add(int64(time.Minute))
				r.Expire()
			}
			if err := r.Audit(true); err != nil || r.InUse() != 0 {
				t.Errorf("%d entries never expire; %v", r.InUse(), err)
			}
		})
	}
}
