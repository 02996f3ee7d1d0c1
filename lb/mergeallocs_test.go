//go:build !race

package lb

import (
	"slices"
	"testing"

	"github.com/golb/golb/forward"
)

// Not run under the race detector, which allocates, nor in parallel: allocations are
// counted for the whole process.
func TestMergingAllocatesNothing(t *testing.T) {
	r := mergeRig(t, Settings{SloppyTCP: true}, [2]bool{true, true})
	var all []forward.Frame
	for _, method := range []Method{DSR, NAT, TUN} {
		for _, proto := range []Protocol{TCP, UDP} {
			all = append(all, slices.Concat(mergeBulk(method, proto, false, 5).frames(), mergeBulk(method, proto, true, 5).frames())...)
		}
	}
	headers := make([][96]byte, len(all))
	for i := range all {
		headers[i] = [96]byte(all[i].Bytes())
	}
	batch := slices.Clone(all)
	sent := 0
	if n := testing.AllocsPerRun(100, func() {
		copy(batch, all)
		for i := range all {
			copy(all[i].Bytes(), headers[i][:])
		}
		sent = r.sentOf(batch)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if want := 2*2*2 + 2*2*5; sent != want { // a frame for each flow, but five in tunnels
		t.Errorf("%d frames left, want %d", sent, want)
	}
}
