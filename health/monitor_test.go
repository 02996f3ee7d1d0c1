package health

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script is a server whose answers are written down: one per check, the last
// repeated. "" is up, "hang" ignores its context for an hour, "panic" panics, "slow"
// takes a second and then fails; a step of another kind is the reason it is down.
type script struct {
	steps  []string
	mu     sync.Mutex
	at     []time.Duration // when each check began
	start  time.Time
	t      *testing.T
	flying atomic.Int32
}

func newScript(t *testing.T, steps ...string) *script {
	return &script{t: t, steps: steps, start: time.Now()}
}

func (s *script) Check(ctx context.Context) error {
	if s.flying.Add(1) > 1 {
		s.t.Error("two checks at a time")
	}
	defer s.flying.Add(-1)
	s.mu.Lock()
	step := s.steps[min(len(s.at), len(s.steps)-1)]
	s.at = append(s.at, time.Since(s.start))
	s.mu.Unlock()
	switch step {
	case "":
		return nil
	case "hang":
		time.Sleep(time.Hour)
		return nil
	case "late":
		time.Sleep(3*time.Second + grace/2)
		return nil
	case "slow":
		time.Sleep(time.Second)
	case "panic":
		panic("at the disco")
	case "wait":
		<-ctx.Done()
		return fmt.Errorf("no greeting: %w", netReason(ctx, ctx.Err()))
	}
	return errors.New(step)
}

func (s *script) began() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.at)
}

// sleep lets virtual time pass, and everything that falls due in it happen.
func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// record runs a monitor over targets for a span of virtual time and returns its
// events, one line each, with the time since the start.
func record(t *testing.T, span time.Duration, targets ...Target) ([]string, *Monitor) {
	t.Helper()
	var events []string
	start := time.Now()
	m := NewMonitor(Config{
		Rand: func() float64 { return 0 },
		OnEvent: func(e Event) {
			events = append(events, fmt.Sprintf("%v %s %s->%s %s", e.At.Sub(start), e.Key, e.Was, e.State, e.Reason))
		},
	})
	m.Set(targets)
	ctx, cancel := context.WithTimeout(t.Context(), span)
	defer cancel()
	if err := m.Run(ctx); err != nil {
		t.Fatal(err)
	}
	return events, m
}

func TestStates(t *testing.T) {
	tests := []struct {
		name     string
		settings Settings
		steps    []string
		span     time.Duration
		want     []string
	}{
		{name: "first success is up at once", steps: []string{""}, settings: Settings{Rise: 3},
			span: time.Minute, want: []string{"0s a unknown->up "}},
		{name: "first failure is down at once", steps: []string{"refused"}, settings: Settings{Fall: 3},
			span: time.Minute, want: []string{"0s a unknown->down refused"}},
		{name: "default takes two failures to fall and one success to rise", steps: []string{"", "x", "y", "z", ""},
			span: time.Minute, want: []string{"0s a unknown->up ", "10s a up->down y", "20s a down->up "}},
		{name: "failures that are not in a row do not count", steps: []string{"", "x", "", "x", "", "x", ""},
			span: time.Minute, want: []string{"0s a unknown->up "}},
		{name: "rise counts successes in a row", steps: []string{"x", "", "x", "", ""}, settings: Settings{Rise: 2},
			span: time.Minute, want: []string{"0s a unknown->down x", "20s a down->up "}},
		{name: "a panic is a failed check", steps: []string{"panic", ""},
			span: time.Minute, want: []string{"0s a unknown->down check panicked: at the disco", "5s a down->up "}},
		{name: "a check ends at its timeout with its own reason", steps: []string{"wait"},
			span: 10 * time.Second, want: []string{"3s a unknown->down no greeting: no answer in time"}},
		{name: "success after the timeout is a failure", steps: []string{"late"},
			span: 4 * time.Second, want: []string{"3.05s a unknown->down passed, but only after 3.05s"}},
		{name: "fast interval from the first contradiction to the change of state",
			settings: Settings{Fall: 3, Rise: 3, FastInterval: time.Second}, steps: []string{"", "x", "x", "x", "", "", "", ""},
			span: time.Minute, want: []string{"0s a unknown->up ", "7s a up->down x", "14s a down->up "}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got, _ := record(t, tt.span, Target{Key: "a", Checker: newScript(t, tt.steps...), Settings: tt.settings})
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestChecksKeepTheirRhythm(t *testing.T) {
	tests := []struct {
		name     string
		settings Settings
		step     string
		want     []time.Duration // seconds
	}{
		{name: "whatever a check takes", step: "slow", want: []time.Duration{0, 5, 10, 15, 20}},
		{name: "skipping the starts that a long check missed", step: "wait", settings: Settings{Interval: 2 * time.Second, Timeout: 5 * time.Second},
			want: []time.Duration{0, 6, 12, 18}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScript(t, tt.step)
				record(t, 22*time.Second, Target{Key: "a", Checker: s, Settings: tt.settings})
				var want []time.Duration
				for _, sec := range tt.want {
					want = append(want, sec*time.Second)
				}
				if diff := cmp.Diff(want, s.began()); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestHungCheckFailsAtEachIntervalAndIsNotStartedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t, "", "hang", "")
		ctx, cancel := context.WithCancel(t.Context())
		var events []string
		start := time.Now()
		m := NewMonitor(Config{
			MaxInFlight: 1, // which the hung check must give back
			Rand:        func() float64 { return 0 },
			OnEvent: func(e Event) {
				events = append(events, fmt.Sprintf("%v %s %s", e.At.Sub(start), e.State, e.Reason))
			},
		})
		m.Set([]Target{{Key: "a", Checker: s}, {Key: "b", Checker: newScript(t, "")}})
		ended := make(chan error)
		go func() { ended <- m.Run(ctx) }()

		sleep(time.Minute)
		want := []string{"0s up ", "0s up ", "13.1s down check has not returned after 8.1s"}
		if diff := cmp.Diff(want, events); diff != "" {
			t.Error(diff)
		}
		if got := m.Load(); got.Hung != 1 || got.InFlight != 0 {
			t.Errorf("load %+v, want 1 hung, none in flight", got)
		}
		if st := m.Status()[0]; !st.Hung || st.Failures < 10 {
			t.Errorf("status %+v, want hung with a failure per interval", st)
		}
		if len(s.began()) != 2 {
			t.Errorf("started at %v, want two starts", s.began())
		}
		sleep(time.Hour) // it returns, and the next check finds the server up
		if st := m.Status()[0]; st.Hung || st.State != Up {
			t.Errorf("status %+v, want up", st)
		}
		if got := m.Load(); got.Hung != 0 {
			t.Errorf("load %+v, want none hung", got)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestSetWhileRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events []string
		start := time.Now()
		m := NewMonitor(Config{
			Rand:    func() float64 { return 0 },
			OnEvent: func(e Event) { events = append(events, fmt.Sprintf("%v %s %s", e.At.Sub(start), e.Key, e.State)) },
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- m.Run(ctx) }()
		set := func(targets ...Target) { m.Set(targets) }
		kept, gone, slower := newScript(t, ""), newScript(t, "hang"), newScript(t, "")
		set(Target{Key: "kept", Checker: kept}, Target{Key: "kept", Checker: kept}, Target{Key: "gone", Checker: gone}, Target{Key: "slower", Checker: slower})
		sleep(2 * time.Second)

		replaced, again := newScript(t, "x"), newScript(t, "")
		set(Target{Key: "kept", Checker: replaced},
			Target{Key: "slower", Checker: slower, Settings: Settings{Interval: time.Second}},
			Target{Key: "new", Checker: newScript(t, "x")})
		sleep(7 * time.Second)
		set(Target{Key: "gone", Checker: again}) // its old check is still out
		sleep(time.Minute)
		if len(again.began()) != 0 {
			t.Error("second check of a key started beside a hung one")
		}
		sleep(time.Hour)
		set()
		sleep(time.Minute)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}

		slices.Sort(events[:2]) // these two at once
		want := []string{"0s kept up", "0s slower up", "2s new down", "13.1s gone down", "1h0m0s gone up"}
		if diff := cmp.Diff(want, events); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]time.Duration{0}, kept.began()); diff != "" {
			t.Errorf("replaced checker: %s", diff)
		}
		if diff := cmp.Diff([]time.Duration{3 * time.Second}, replaced.began()); diff != "" {
			t.Errorf("schedule of an unchanged target: %s", diff)
		}
		if want := []time.Duration{0, 3 * time.Second, 4 * time.Second}; cmp.Diff(want, slower.began()[:3]) != "" {
			t.Errorf("changed interval: checks at %v, want to begin %v", slower.began(), want)
		}
		if left := m.Status(); len(left) != 0 {
			t.Errorf("status after all targets went: %+v", left)
		}
	})
}

func TestMistakesInTargets(t *testing.T) {
	ok := newScript(t, "")
	tests := []struct {
		name    string
		targets []Target
		want    string
	}{
		{"none", []Target{{Key: "a", Checker: ok, Settings: Settings{Interval: time.Millisecond}}, {Key: "b", Checker: ok}, {Checker: ok}}, ""},
		{"no checker", []Target{{Key: "a"}}, `health: target 0: "a": no checker`},
		{"interval", []Target{{Key: "a", Checker: ok, Settings: Settings{Interval: 1}}}, `health: target 0: "a": interval 1ns: less than 1ms`},
		{"fast interval", []Target{{Key: "a", Checker: ok, Settings: Settings{FastInterval: 1}}}, `health: target 0: "a": fast interval 1ns: less than 1ms`},
		{"timeout", []Target{{Key: "a", Checker: ok, Settings: Settings{Timeout: -1}}}, `health: target 0: "a": timeout -1ns: less than 1ms`},
		{"fall", []Target{{Key: "a", Checker: ok, Settings: Settings{Fall: -1}}}, `health: target 0: "a": fall -1, rise 0: less than 0`},
		{"one key, two settings", []Target{{Key: "a", Checker: ok}, {Key: "a", Checker: ok, Settings: Settings{Fall: 9}}},
			`health: target 1: "a": given twice, with settings {Interval:5s FastInterval:5s Timeout:3s Fall:2 Rise:1} and {Interval:5s FastInterval:5s Timeout:3s Fall:9 Rise:1}`},
		{"one key, the default twice", []Target{{Key: "a", Checker: ok}, {Key: "a", Checker: ok, Settings: Settings{Fall: 2}}}, ""},
		{"two", []Target{{Key: "a"}, {Key: "b"}}, "health: target 0: \"a\": no checker\nhealth: target 1: \"b\": no checker"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if err := ValidateTargets(tt.targets); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestSetTakesWhatIsNotValid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second, defaults := newScript(t, ""), newScript(t, ""), newScript(t, "", "x")
		events, m := record(t, 14*time.Second,
			Target{Key: "none"},
			Target{Key: "twice", Checker: first}, Target{Key: "twice", Checker: second, Settings: Settings{Interval: time.Millisecond}},
			Target{Key: "defaults", Checker: defaults, Settings: Settings{Interval: -1, FastInterval: -1, Timeout: -1, Fall: -1, Rise: -1}})
		slices.Sort(events)
		want := []string{"0s defaults unknown->up ", "0s twice unknown->up ", "10s defaults up->down x"}
		if diff := cmp.Diff(want, events); diff != "" {
			t.Error(diff)
		}
		if n, other := len(first.began()), len(second.began()); n != 3 || other != 0 {
			t.Errorf("of two targets with one key the first was checked %d times and the second %d times, want 3 and 0", n, other)
		}
		if st := m.Status()[1]; st.State != Unknown || st.NotTried != 3 || st.Trouble != "no checker" {
			t.Errorf("target without a checker: %+v", st)
		}
	})
}

func TestMonitorRunsOnce(t *testing.T) {
	m := NewMonitor(Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if err := m.Run(ctx); err == nil {
		t.Error("second run: no error")
	}
}

// While OnEvent waits and checks hang, nothing else of the Monitor waits.
func TestNothingWaitsForChecksOrOnEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var m *Monitor
		var during []Status
		m = NewMonitor(Config{
			Rand: func() float64 { return 0 },
			OnEvent: func(Event) {
				if during != nil {
					return
				}
				m.Set([]Target{{Key: "new", Checker: newScript(t, "")}, {Key: "hangs", Checker: newScript(t, "hang")}})
				during = m.Status()
				<-release
			},
		})
		m.Set([]Target{{Key: "up", Checker: newScript(t, "")}, {Key: "hangs", Checker: newScript(t, "hang")}, {Key: "gone", Checker: newScript(t, "hang")}})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- m.Run(ctx) }()
		sleep(time.Minute)
		began := time.Now()
		if got := len(during); got != 2 {
			t.Errorf("%d targets seen by OnEvent, want 2", got)
		}
		for range 3 {
			m.Set([]Target{{Key: "newer", Checker: newScript(t, "")}, {Key: "hangs", Checker: newScript(t, "hang")}})
			if got := m.Status(); len(got) != 2 || got[1].Key != "newer" || got[1].State != Unknown {
				t.Errorf("status %+v", got)
			}
			if got := m.Load(); got.InFlight != 2 || got.Checks != 1 {
				t.Errorf("load %+v", got)
			}
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("took %v of virtual time", took)
		}
		close(release)
		sleep(time.Minute)
		if got := m.Status(); got[0].State != Down || got[1].State != Up {
			t.Errorf("afterwards: %+v", got)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		sleep(time.Hour) // until the hung checks return
	})
}

func TestCheckThatReturnsWhileOnEventWaitsIsNotHung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var events []string
		m := NewMonitor(Config{
			Rand: func() float64 { return 0 },
			OnEvent: func(e Event) {
				events = append(events, fmt.Sprintf("%v %s %s %s", e.At.Sub(start), e.Key, e.State, e.Reason))
				time.Sleep(10 * time.Second)
			},
		})
		passes := CheckerFunc(func(context.Context) error { time.Sleep(time.Second); return nil })
		m.Set([]Target{{Key: "a", Checker: newScript(t, "")}, {Key: "b", Checker: passes}, {Key: "c", Checker: newScript(t, "hang")}})
		ctx, cancel := context.WithTimeout(t.Context(), 12*time.Second)
		defer cancel()
		if err := m.Run(ctx); err != nil {
			t.Fatal(err)
		}
		want := []string{"0s a up ", "10s b up ", "10s c down check has not returned after 10s"}
		if diff := cmp.Diff(want, events); diff != "" {
			t.Error(diff)
		}
		sleep(time.Hour) // until the hung check returns
	})
}

func TestOnce(t *testing.T) {
	tests := []struct {
		name string
		step string
		want Result
		err  error
	}{
		{"passes", "", Result{}, nil},
		{"fails", "refused", Result{Reason: "refused"}, nil},
		{"takes a while", "slow", Result{Latency: time.Second, Reason: "slow"}, nil},
		{"ends at its timeout", "wait", Result{Latency: 3 * time.Second, Reason: "no greeting: no answer in time"}, nil},
		{"hangs", "hang", Result{Latency: 3*time.Second + grace, Reason: "check has not returned after 3.1s"}, nil},
		{"panics", "panic", Result{Reason: "check panicked: at the disco"}, nil},
		{"context ends first", "hang", Result{}, context.DeadlineExceeded},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				if tt.err != nil {
					ctx, cancel = context.WithTimeout(t.Context(), time.Second)
				}
				defer cancel()
				tt.want.At = time.Now()
				if tt.err != nil {
					tt.want = Result{}
				}
				got, err := Once(ctx, newScript(t, tt.step), 0)
				if got != tt.want || err != tt.err {
					t.Errorf("got %+v, %v, want %+v, %v", got, err, tt.want, tt.err)
				}
				sleep(2 * time.Hour) // until a hung check returns
			})
		})
	}
	t.Run("is not tried", func(t *testing.T) {
		lacks := CheckerFunc(func(context.Context) error { return syscall.EMFILE })
		if got, err := Once(t.Context(), lacks, 0); err != nil || !got.NotTried || got.Reason != "too many open files" {
			t.Errorf("got %+v, %v", got, err)
		}
	})
}

func TestThousandFlapsLeaveNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := false
		flapping := CheckerFunc(func(context.Context) error {
			if up = !up; up {
				return nil
			}
			return errors.New("down again")
		})
		events, m := record(t, 999500*time.Millisecond, Target{Key: "a", Checker: flapping, Settings: Settings{Interval: time.Second, Fall: 1}})
		if len(events) != 1000 {
			t.Errorf("%d events, want 1000", len(events))
		}
		// A goroutine that is left fails the bubble, which waits for all of them.
		if got, want := m.Load(), (Load{Checks: 1000}); got != want {
			t.Errorf("load %+v, want %+v", got, want)
		}
	})
}

func TestManyTargetsKeepRhythmWithinTheBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const targets, limit = 5000, 256
		var flying, most, checks atomic.Int64
		checker := CheckerFunc(func(context.Context) error {
			if n := flying.Add(1); n > most.Load() {
				most.Store(n)
			}
			checks.Add(1)
			time.Sleep(20 * time.Millisecond)
			flying.Add(-1)
			return nil
		})
		m := NewMonitor(Config{MaxInFlight: limit})
		var list []Target
		for i := range targets {
			list = append(list, Target{Key: fmt.Sprint(i), Checker: checker, Settings: Settings{Interval: time.Second}})
		}
		m.Set(list)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := m.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if n := checks.Load(); n != 10*targets {
			t.Errorf("%d checks in 10 s of %d targets at 1 s", n, targets)
		}
		if n := most.Load(); n > limit {
			t.Errorf("%d checks at a time, limit %d", n, limit)
		}
	})
}

func TestReasonIsOneBoundedLine(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"lines and control characters", "got \"a\r\n\tb\x1b[2J\"", `got "a b [2J"`},
		{"nothing", "\n", "check failed without a reason"},
		{"endless", strings.Repeat("é", 1000), strings.Repeat("é", maxReason/2) + "..."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := reasonText(errors.New(tt.in)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestRecentResultsAreKeptInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		check := CheckerFunc(func(context.Context) error {
			if n++; n%3 == 0 {
				return fmt.Errorf("result %d", n)
			}
			return nil
		})
		m := NewMonitor(Config{Rand: func() float64 { return 0 }})
		m.Set([]Target{{Key: "a", Checker: check, Settings: Settings{Interval: time.Second}}})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- m.Run(ctx) }()
		begin := time.Now()
		for _, passed := range []int{1, 9, 10, 11, 25} {
			time.Sleep(time.Until(begin.Add(time.Duration(passed)*time.Second - time.Millisecond)))
			recent := m.Status()[0].Recent
			if len(recent) != min(passed, 10) {
				t.Fatalf("after %d checks: %d results", passed, len(recent))
			}
			for i, r := range recent {
				number, want := passed-len(recent)+i+1, ""
				if number%3 == 0 {
					want = fmt.Sprintf("result %d", number)
				}
				if r.Reason != want || !r.At.Equal(begin.Add(time.Duration(number-1)*time.Second)) {
					t.Errorf("after %d checks: result %d is %+v, want %q", passed, i, r, want)
				}
			}
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
