package afpacket

import (
	"errors"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPinKeepsTheThreadOnOneProcessor(t *testing.T) {
	all, err := Processors()
	must(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // the thread ends with the goroutine
		for _, cpu := range all {
			if err := Pin(cpu); err != nil {
				t.Error(err)
			}
			if got, err := Processors(); err != nil || !slices.Equal(got, []int{cpu}) {
				t.Errorf("pinned to %d: may run on %v (%v)", cpu, got, err)
			}
		}
		if err := Pin(1023); !errors.Is(err, unix.EINVAL) {
			t.Errorf("pinned to a processor that is not there: %v", err)
		}
	}()
	<-done
	if got, err := Processors(); err != nil || !slices.Equal(got, all) {
		t.Errorf("another thread may run on %v (%v), not on %v any more", got, err, all)
	}
}
