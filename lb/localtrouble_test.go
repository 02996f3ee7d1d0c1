package lb_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golb/golb/health"
	"github.com/golb/golb/lb"
)

func TestLocalTroubleTakesNobodyDown(t *testing.T) {
	for name, trouble := range map[string]error{
		"no descriptors":   os.NewSyscallError("socket", syscall.EMFILE),
		"none on the host": os.NewSyscallError("socket", syscall.ENFILE),
		"no buffers":       os.NewSyscallError("sendto", syscall.ENOBUFS),
		"no ports":         os.NewSyscallError("connect", syscall.EADDRNOTAVAIL),
		"no memory":        os.NewSyscallError("mmap", syscall.ENOMEM),
		"no processes":     &os.PathError{Op: "fork/exec", Path: "/bin/true", Err: syscall.EAGAIN},
		"in its own words": fmt.Errorf("%w: said the test", health.ErrNotTried),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := startTrials(t, lb.Config{Services: []lb.Service{trialService(2)}})
				x.decide(1, nil)
				x.decide(2, nil)
				synctest.Wait()
				before := len(x.events)
				x.decide(1, trouble)
				x.decide(2, trouble)
				time.Sleep(10 * time.Second)
				x.expect("in trouble", 1, 2)
				st := x.balancer.Stats()
				if !strings.Contains(st.Trouble, "2 of the checks cannot be made on this host") {
					t.Errorf("in trouble: Stats say %q", st.Trouble)
				}
				if h := x.balancer.Health()[0].Servers[0].Check; h.NotTried == 0 || h.Trouble == "" {
					t.Errorf("in trouble: health %+v", h)
				}
				x.decide(1, nil)
				x.decide(2, nil)
				time.Sleep(2 * time.Second)
				synctest.Wait()
				if got, want := x.events[before:], []lb.EventKind{lb.EventLocalTrouble, lb.EventLocalTroubleEnded}; !slices.Equal(got, want) {
					t.Errorf("events %v, want %v", got, want)
				}
				if st := x.balancer.Stats(); st.Trouble != "" {
					t.Errorf("after it: Stats say %q", st.Trouble)
				}
			})
		})
	}
}
