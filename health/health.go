// Package health tells which servers are alive: checks that ask one question of
// one server, and a [Monitor] that asks at intervals and turns answers into
// verdicts.
//
//	m := health.NewMonitor(health.Config{OnEvent: func(e health.Event) { log.Print(e) }})
//	err := m.Set([]health.Target{{
//		Key:     "tcp 192.0.2.10:80",
//		Checker: &health.TCP{Addr: netip.MustParseAddrPort("192.0.2.10:80")},
//	}})
//	if err != nil {
//		return err
//	}
//	return m.Run(ctx)
//
// The package knows nothing of balancing; any program may use it. Each check speaks
// its protocol itself, so nothing is linked but the standard library and x/net. A
// [Registry] makes checks by the names and parameters of a config; checks of one's
// own can be put into it.
package health

import (
	"context"
	"fmt"
	"net"
	"time"
)

// Checker asks one question of one server. Address and question belong to the
// checker, so a call needs nothing but its context.
//
// Check returns nil where the server is up, else a one-line reason that names what
// was got and what was wanted. It returns soon after ctx ends and reads no more of
// an answer than it needs. A Monitor never calls a Checker twice at a time, but
// one Checker may be given to several monitors: Check is safe for concurrent use
// unless its type says otherwise.
type Checker interface {
	Check(ctx context.Context) error
}

// CheckerFunc is a function as a Checker.
type CheckerFunc func(ctx context.Context) error

// Check calls f.
func (f CheckerFunc) Check(ctx context.Context) error { return f(ctx) }

// DialFunc opens a connection as [net.Dialer.DialContext] does. Checks take one so
// that they can be run from another network namespace or source address.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// dial is f, or the host's own dialer where f is nil.
func (f DialFunc) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if f != nil {
		return f(ctx, network, address)
	}
	// Keep-alives would outlive no check, and cost four system calls on each.
	d := net.Dialer{KeepAlive: -1}
	return d.DialContext(ctx, network, address)
}

// Settings say how often a target is checked and how many results make a verdict.
// The zero value is the default.
type Settings struct {
	// Interval is from the start of a check to the start of the next; 0 means 5 s.
	// A check that lasts longer skips the starts it missed.
	Interval time.Duration
	// FastInterval replaces Interval between the first result that contradicts the
	// state and the verdict; 0 means Interval.
	FastInterval time.Duration
	// Timeout is how long a check may take; 0 means 3 s. It may exceed Interval.
	Timeout time.Duration
	// Fall is how many failures in a row take a target down; 0 means 2.
	Fall int
	// Rise is how many successes in a row bring a target up; 0 means 1.
	Rise int
}

// withDefaults returns s with every zero replaced by its meaning.
func (s Settings) withDefaults() Settings {
	if s.Interval == 0 {
		s.Interval = 5 * time.Second
	}
	if s.FastInterval == 0 {
		s.FastInterval = s.Interval
	}
	if s.Timeout == 0 {
		s.Timeout = 3 * time.Second
	}
	if s.Fall == 0 {
		s.Fall = 2
	}
	if s.Rise == 0 {
		s.Rise = 1
	}
	return s
}

// Detection is how long after a target has died the verdict falls, at most, where
// checks are not late.
func (s Settings) Detection() time.Duration {
	s = s.withDefaults()
	return time.Duration(s.Fall) * (s.Interval + s.Timeout)
}

func (s Settings) validate() error {
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"interval", s.Interval}, {"fast interval", s.FastInterval}, {"timeout", s.Timeout}} {
		if d.value < time.Millisecond {
			return fmt.Errorf("%s %v: less than 1ms", d.name, d.value)
		}
	}
	if s.Fall < 1 || s.Rise < 1 {
		return fmt.Errorf("fall %d, rise %d: less than 1", s.Fall, s.Rise)
	}
	return nil
}

// Target is a Checker on a schedule.
type Target struct {
	// Key names the server and the whole question. Equal keys are the same check:
	// services that ask the same of the same server share one.
	Key      string
	Checker  Checker
	Settings Settings
}

// State is what is known of a target.
type State uint8

// The states. A target is Unknown until its first result, which decides at once,
// whatever Fall and Rise say. What Unknown means for traffic is the caller's
// choice: as Up it is keepalived's default, as Down its alpha mode.
const (
	Unknown State = iota
	Up
	Down
)

// String returns unknown, up or down.
func (s State) String() string {
	switch s {
	case Unknown:
		return "unknown"
	case Up:
		return "up"
	case Down:
		return "down"
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// Event is a change of state.
type Event struct {
	Key     string
	State   State         // Up or Down
	Was     State         // what it was before
	Reason  string        // why it is down, one line; "" where it is up
	At      time.Time     // when the verdict fell
	Since   time.Time     // start of the first check of the row that led to it
	Latency time.Duration // of the last check of that row
}

// String returns the event in one line, for logs.
func (e Event) String() string {
	s := fmt.Sprintf("%s: %s after %s", e.Key, e.State, e.At.Sub(e.Since).Round(time.Millisecond))
	if e.Reason != "" {
		s += ": " + e.Reason
	}
	return s
}

// Status is what a Monitor knows of one target.
type Status struct {
	Key       string
	State     State
	Since     time.Time     // when State began; while Unknown, when the target was added
	Checked   time.Time     // start of the last check that has a result; zero where there is none
	Latency   time.Duration // of that check
	Reason    string        // why that check failed, one line; "" where it did not
	Failures  int           // in a row, up to now
	Successes int           // in a row, up to now
	Next      time.Time     // start of the next check; where one is under way, of that one
	Hung      bool          // the last check timed out and has not returned
	Recent    []Result      // the last ones, up to 10, the oldest first
}

// Result is what one check found.
type Result struct {
	At      time.Time // start of the check
	Latency time.Duration
	Reason  string // "" where the server passed
}

// maxRecent is how many results of a target are kept.
const maxRecent = 10
