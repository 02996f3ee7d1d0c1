package dataplane

import (
	"net/netip"
	"testing"
	"time"

	"github.com/golb/golb/forward"
)

// TestWorkersHelpToExpire sees that what a worker does of expiry is bounded by its
// packets, and that it gets all of it done.
func TestWorkersHelpToExpire(t *testing.T) {
	r := newTestPlane(t, 1<<13, 0)
	const n = 5000
	for i := range n {
		r.handle(netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}), 4000), forward.FlagSYN)
	}
	r.now = r.now.Add(61 * time.Second) // half-open connections live for a minute
	other := netip.MustParseAddrPort("203.0.113.1:4000")
	r.handle(other, forward.FlagACK)
	if got := r.InUse(); got != n {
		t.Fatalf("%d connections of %d, before the worker is asked to help", got, n)
	}
	r.expiry.behind.Store(true)
	for i := 0; r.InUse() > 0; i++ {
		before := r.InUse()
		r.handle(other, forward.FlagACK)
		if got := before - r.InUse(); got > 1 {
			t.Fatalf("%d connections expired with one packet", got)
		}
		if i > 10*n {
			t.Fatalf("%d connections are left", before)
		}
	}
	if err := r.Audit(false); err != nil {
		t.Fatal(err)
	}
	r.Expire()
	if r.expiry.behind.Load() {
		t.Error("workers go on helping when all is done")
	}
}

// TestTemplatesEndWithTheirLastConnection whichever shards the two are in, though the
// time of both is over when they are examined.
func TestTemplatesEndWithTheirLastConnection(t *testing.T) {
	r := newTestPlane(t, 1<<13, time.Minute)
	for i := range 100 {
		r.handle(netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), 4000), forward.FlagSYN)
	}
	if got := r.InUse(); got != 200 {
		t.Fatalf("%d entries, want 100 connections and their templates", got)
	}
	r.now = r.now.Add(60*time.Second + 2*time.Second/TicksPerSecond) // half-open connections live for a minute too
	r.Expire()
	if left := r.InUse(); left != 0 {
		t.Errorf("%d entries are left", left)
	}
}

// TestEntryEndsOnce where two workers end it at once.
func TestEntryEndsOnce(t *testing.T) {
	r := newTestPlane(t, 1<<10, 0)
	r.handle(netip.MustParseAddrPort("198.51.100.1:4000"), forward.FlagSYN)
	var id connID
	r.Entries(func(e *Entry) bool { id = e.id; return true })
	r.deleteOne(id)
	r.deleteOne(id)
	if err := r.Audit(false); err != nil || r.InUse() != 0 {
		t.Errorf("%d entries are left; %v", r.InUse(), err)
	}
}
