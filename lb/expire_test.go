package lb

import (
	"net/netip"
	"testing"
	"time"

	"github.com/golb/golb/forward"
)

// TestWorkersHelpToExpire sees that what a worker does of expiry is bounded by its
// packets, and that it gets all of it done.
func TestWorkersHelpToExpire(t *testing.T) {
	vip := netip.MustParseAddrPort("192.0.2.80:80")
	r := newRig(t, Config{Workers: 1, MaxConnections: 1 << 13, Services: []Service{{
		VIP: vip.Addr(), Port: vip.Port(), Check: Check{Type: "none"}, Servers: []Server{{Address: netip.MustParseAddr("10.0.0.1")}},
	}}})
	const n = 5000
	for i := range n {
		client := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}), 4000)
		r.handle(0, rigFrame(rigClient, TCP, client, vip, forward.FlagSYN))
	}
	r.now = r.now.Add(61e9) // half-open connections live for a minute
	other := rigFrame(rigClient, TCP, netip.MustParseAddrPort("203.0.113.1:4000"), vip, forward.FlagACK)
	r.handle(0, other)
	if got := r.b.table.inUse(); got != n {
		t.Fatalf("%d connections of %d, before the worker is asked to help", got, n)
	}
	r.b.expiry.late.Store(true)
	for i := 0; r.b.table.inUse() > 0; i++ {
		before := r.b.table.inUse()
		r.handle(0, other)
		if got := before - r.b.table.inUse(); got > 1 {
			t.Fatalf("%d connections expired with one packet", got)
		}
		if i > 10*n {
			t.Fatalf("%d connections are left", before)
		}
	}
	if err := r.audit(); err != nil {
		t.Fatal(err)
	}
	r.b.expire(r.b.tick())
	if r.b.expiry.late.Load() {
		t.Error("workers go on helping when all is done")
	}
}

// TestTemplatesEndWithTheirLastConnection whichever shards the two are in, though both
// are over when it is looked.
func TestTemplatesEndWithTheirLastConnection(t *testing.T) {
	vip := netip.MustParseAddrPort("192.0.2.80:80")
	r := newRig(t, Config{Workers: 1, MaxConnections: 1 << 13, Services: []Service{{
		VIP: vip.Addr(), Port: vip.Port(), Check: Check{Type: "none"}, Servers: []Server{{Address: netip.MustParseAddr("10.0.0.1")}},
		Persistence: Persistence{Timeout: time.Minute},
	}}})
	for i := range 100 {
		client := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), 4000)
		r.handle(0, rigFrame(rigClient, TCP, client, vip, forward.FlagSYN))
	}
	r.advance(60*ticksPerSecond + 2) // half-open connections live for a minute too
	if left := r.b.table.inUse(); left != 0 {
		t.Errorf("%d entries are left", left)
	}
}
