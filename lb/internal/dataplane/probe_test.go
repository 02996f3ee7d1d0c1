package dataplane

import (
	"testing"

	"github.com/golb/golb/forward"
)

func TestSendingProbesAllocatesNothing(t *testing.T) {
	r := newRig(t, 1<<10, 0)
	p, err := r.NewProbe(ProbeConfig{
		Server: (*r.snap.Load().match(forward.ProtoTCP, forward.AddrFrom(rigVIP.Addr()), rigVIP.Port()).servers.Load())[0],
		Source: forward.AddrFrom4([4]byte{192, 0, 2, 1}), VIP: forward.AddrFrom(rigVIP.Addr()), Port: rigVIP.Port(),
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
