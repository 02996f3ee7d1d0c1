package dataplane

import (
	"testing"

	"github.com/golb/golb/forward"
)

func TestSendingProbesAllocatesNothing(t *testing.T) {
	r := newTestPlane(t, 1<<10, 0)
	p, err := r.NewProbe(ProbeConfig{
		Server: (*r.snap.Load().match(forward.ProtoTCP, forward.AddrFrom(testVIP.Addr()), testVIP.Port()).servers.Load())[0],
		Source: forward.AddrFrom4([4]byte{192, 0, 2, 1}), VIP: forward.AddrFrom(testVIP.Addr()), Port: testVIP.Port(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer r.EndProbe(p)
	if n := testing.AllocsPerRun(300, func() {
		if reason := r.w.sendProbe(p, forward.FlagSYN, 1); reason != forwarded {
			t.Error(reason)
		}
		r.w.flush()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
