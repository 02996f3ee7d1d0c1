package health

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// stopped is a clock that a test can move on while nothing else runs, as SIGSTOP and a
// paused virtual machine do.
type stopped struct{ skipped atomic.Int64 }

func (s *stopped) now() time.Time        { return time.Now().Add(time.Duration(s.skipped.Load())) }
func (s *stopped) stop(d time.Duration)  { s.skipped.Add(int64(d)) }
func (s *stopped) attach(m *Monitor)     { m.still.now = s.now }
func refuse(context.Context) error       { return syscall.ECONNREFUSED }
func pass(context.Context) error         { return nil }
func timesOut(ctx context.Context) error { <-ctx.Done(); return netReason(ctx, ctx.Err()) }

func TestChecksDuringAStandstill(t *testing.T) {
	tests := []struct {
		name  string
		check func(ctx context.Context, s *stopped) error // the second one
		state State
		want  Status // NotTried, Trouble, Reason, Failures, Successes
	}{
		{"failure after half the timeout is not tried", func(ctx context.Context, s *stopped) error {
			s.stop(1600 * time.Millisecond)
			return refuse(ctx)
		}, Up, Status{NotTried: 1, Trouble: "this process stood still for 1.55s: connection refused", Successes: 1}},
		{"failure after less than that counts", func(ctx context.Context, s *stopped) error {
			s.stop(1400 * time.Millisecond)
			return refuse(ctx)
		}, Down, Status{Reason: "connection refused", Failures: 1}},
		{"timeout that passed meanwhile is not tried", func(ctx context.Context, s *stopped) error {
			s.stop(time.Hour)
			return errTimeout
		}, Up, Status{NotTried: 1, Trouble: "this process stood still for 59m59.95s: no answer in time", Successes: 1}},
		{"success counts", func(ctx context.Context, s *stopped) error {
			s.stop(time.Hour)
			return nil
		}, Up, Status{Successes: 2}},
		{"several stops add up", func(ctx context.Context, s *stopped) error {
			for range 4 {
				s.stop(500 * time.Millisecond)
				time.Sleep(200 * time.Millisecond)
			}
			return refuse(ctx)
		}, Up, Status{NotTried: 1, Trouble: "this process stood still for 2s: connection refused", Successes: 1}},
		{"timeout without a stop counts", func(ctx context.Context, _ *stopped) error { return timesOut(ctx) },
			Down, Status{Reason: "no answer in time", Failures: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var clock stopped
				n := 0
				m := NewMonitor(Config{Rand: func() float64 { return 0 }})
				clock.attach(m)
				m.Set([]Target{{Key: "a", Settings: Settings{Fall: 1}, Checker: CheckerFunc(func(ctx context.Context) error {
					if n++; n == 2 {
						return tt.check(ctx, &clock)
					}
					return nil
				})}})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var got Status
				m.onResult = func() {
					if n == 2 {
						got = m.targets["a"].status
						cancel()
					}
				}
				if err := m.Run(ctx); err != nil {
					t.Fatal(err)
				}
				if got.State != tt.state {
					t.Errorf("state %s, want %s", got.State, tt.state)
				}
				got = Status{NotTried: got.NotTried, Trouble: got.Trouble, Reason: got.Reason, Failures: got.Failures, Successes: got.Successes}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// After a standstill, everything is due at once: a check that is about to return must
// not count as hung before it does.
func TestCheckIsNotHungAfterAStandstill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var clock stopped
		var events []string
		m := NewMonitor(Config{
			Rand:    func() float64 { return 0 },
			OnEvent: func(e Event) { events = append(events, fmt.Sprint(e.Key, " ", e.State, " ", e.Reason)) },
		})
		clock.attach(m)
		slow := CheckerFunc(func(context.Context) error {
			clock.stop(time.Hour)
			time.Sleep(grace / 2)
			return nil
		})
		busy := CheckerFunc(pass) // has Run take a step in between
		m.Set([]Target{{Key: "busy", Checker: busy, Settings: Settings{Interval: grace / 10}}, {Key: "slow", Checker: slow}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := m.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"busy up ", "slow up "}, events); diff != "" {
			t.Error(diff)
		}
	})
}

// What this host lacks is no failure of a server: neither the state nor the row of
// results changes.
func TestChecksThatAreNotTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lacking := func(errno syscall.Errno) Checker {
			return &TCP{Addr: somewhere, Dial: func(context.Context, string, string) (net.Conn, error) {
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("socket", errno)}
			}}
		}
		steps := []Checker{
			lacking(syscall.EMFILE), CheckerFunc(pass), CheckerFunc(refuse), lacking(syscall.ENOBUFS), lacking(syscall.ENOBUFS), CheckerFunc(refuse),
			lacking(syscall.EADDRNOTAVAIL), CheckerFunc(func(context.Context) error { return fmt.Errorf("%w: no license", ErrNotTried) }),
		}
		n := 0
		var events []string
		start := time.Now()
		m := NewMonitor(Config{
			Rand:    func() float64 { return 0 },
			OnEvent: func(e Event) { events = append(events, fmt.Sprint(e.At.Sub(start), " ", e.State)) },
		})
		m.Set([]Target{{Key: "a", Checker: CheckerFunc(func(ctx context.Context) error { n++; return steps[n-1].Check(ctx) })}})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- m.Run(ctx) }()
		type line struct {
			state               State
			failures, successes int
			notTried            int
			trouble             string
		}
		const connect = "connect to 192.0.2.1:99: "
		for i, want := range []line{
			{Unknown, 0, 0, 1, connect + "too many open files"},
			{Up, 0, 1, 0, ""},
			{Up, 1, 0, 0, ""},
			{Up, 1, 0, 1, connect + "no buffer space available"},
			{Up, 1, 0, 2, connect + "no buffer space available"},
			{Down, 2, 0, 0, ""},
			{Down, 2, 0, 1, connect + "cannot assign requested address"},
			{Down, 2, 0, 2, "no license"},
		} {
			if i > 0 {
				sleep(4 * time.Second)
			}
			sleep(time.Second)
			st := m.Status()[0]
			if got := (line{st.State, st.Failures, st.Successes, st.NotTried, st.Trouble}); got != want {
				t.Errorf("after check %d: got %+v, want %+v", i+1, got, want)
			}
			if last := st.Recent[len(st.Recent)-1]; last.NotTried != (want.notTried > 0) || last.NotTried && last.Reason != want.trouble {
				t.Errorf("after check %d: last result %+v", i+1, last)
			}
		}
		if got, want := m.Load(), (Load{Checks: 3, NotTried: 5}); got != want {
			t.Errorf("load %+v, want %+v", got, want)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"5s up", "25s down"}, events); diff != "" {
			t.Error(diff)
		}
	})
}

func TestErrorsOfThisHost(t *testing.T) {
	system := func(errno syscall.Errno) error {
		return fmt.Errorf("connect to x: %w", &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", errno)})
	}
	tests := []struct {
		err  error
		want bool
	}{
		{nil, false},
		{errors.New("too many open files"), false}, // a server's text
		{errTimeout, false},
		{context.DeadlineExceeded, false},
		{system(syscall.ECONNREFUSED), false},
		{system(syscall.ECONNRESET), false},
		{system(syscall.ETIMEDOUT), false},
		{system(syscall.EHOSTUNREACH), false},
		{system(syscall.ENETUNREACH), false},
		{system(syscall.EMFILE), true},
		{system(syscall.ENFILE), true},
		{system(syscall.ENOBUFS), true},
		{system(syscall.ENOMEM), true},
		{system(syscall.EAGAIN), true},
		{system(syscall.EADDRNOTAVAIL), true},
		{ErrNotTried, true},
		{fmt.Errorf("%w: no route", ErrNotTried), true},
	}
	for _, tt := range tests {
		if got := NotTried(tt.err); got != tt.want {
			t.Errorf("%v: got %v, want %v", tt.err, got, tt.want)
		}
	}
}

func TestAlternateKeepsItsTurnWhereACheckIsNotTried(t *testing.T) {
	var calls []string
	stub := func(name string) Checker {
		return CheckerFunc(func(context.Context) error {
			calls = append(calls, name)
			if len(calls) == 2 {
				return syscall.EMFILE
			}
			return nil
		})
	}
	c := &Alternate{Full: stub("full"), Cheap: stub("cheap"), N: 2}
	for range 4 {
		_ = c.Check(t.Context())
	}
	if got, want := strings.Join(calls, " "), "full cheap cheap full"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
