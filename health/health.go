// Package health checks whether servers are up. A [Checker] checks one server once; a
// [Monitor] runs many of them at intervals and reports changes of state:
//
//	m := health.NewMonitor(health.Config{OnEvent: func(e health.Event) { log.Print(e) }})
//	m.Set([]health.Target{{
//		Key:     "tcp 192.0.2.10:80",
//		Checker: &health.TCP{Addr: netip.MustParseAddrPort("192.0.2.10:80")},
//	}})
//	return m.Run(ctx)
//
// # Checks
//
// The package has a Checker for each of many protocols: [TCP], [HTTP], [DNS] and so on.
// The zero value of each field but Addr is a default. Each implements its protocol
// itself, but NTLM: nothing is linked but the standard library, x/net and go-ntlmssp. What
// is read of a server is bounded, and a hostile or hung server costs no more than the check's timeout.
// Yours is any type with the method Check, or a [CheckerFunc].
//
// The error of a check is the reason why the server is down: one line that names what
// came and what was expected. Text of the server is quoted; control characters never
// appear. A Monitor makes the same of the errors of any Checker, and cuts them to 300
// bytes. An error that satisfies [NotTried] is trouble of this host, such as no free
// descriptor, and tells nothing about the server.
//
// # Monitoring
//
// A [Target] is a Checker with a key and [Settings]: interval, timeout, and how many
// results in a row change the state. [Monitor.Set] replaces the targets at any time; it
// cannot fail and waits for nothing. [Once] makes a single check.
//
// A check that panics has failed. One that ignores its timeout fails at each interval
// and is not started again until it returns. A check that was not tried, or during which
// this process stood still for half of its timeout or longer (SIGSTOP, a paused virtual
// machine), leaves the state as it is, unless it passed; it is counted in [Status] and
// [Load].
//
// # Checks by name
//
// A [Registry] makes checks from the name of a [Type] and parameters, for programs that
// read these from a config or a command line. Add a type of your own by giving
// [NewRegistry] a Type with a name and a function:
//
//	types := health.NewRegistry(append(health.Builtin(), myType)...)
//
// A program that names the types it needs, as in NewRegistry(TCPType(), HTTPType()),
// links no others.
//
// # Concurrency
//
// All durations are [time.Duration], 0 being the default. Monitor and Registry are safe
// for concurrent use, and so is the Check method of every Checker of this package, as
// long as its fields are not changed.
package health

import (
	"context"
	"fmt"
	"net"
	"time"
)

// Checker checks one server, which it knows itself.
//
// Check returns nil where the server is up, else the reason as an error, or one that
// satisfies [NotTried]. It returns soon after ctx ends. A Monitor does not call it again
// before it has returned; a Checker that several monitors share must be safe for
// concurrent use.
type Checker interface {
	Check(ctx context.Context) error
}

// CheckerFunc is a function as a Checker.
type CheckerFunc func(ctx context.Context) error

// Check calls f.
func (f CheckerFunc) Check(ctx context.Context) error { return f(ctx) }

// DialFunc opens a connection as [net.Dialer.DialContext] does; network is tcp or udp.
// It is how checks get another source address or network namespace. Its errors must
// wrap those of the system for [NotTried] to recognize them.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// dial calls f, or the host's own dialer where f is nil.
func (f DialFunc) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if f != nil {
		return f(ctx, network, address)
	}
	return Source{}.Dial(ctx, network, address)
}

// Settings are how often a target is checked and how many results change its state. The
// zero value of each field is its default.
type Settings struct {
	// Interval is the time from the start of a check to the start of the next; 0 means
	// 5 s. Starts that fall into a longer check are skipped.
	Interval time.Duration
	// FastInterval replaces Interval after a result that contradicts the state, until
	// the state changes or a result confirms it; 0 means Interval.
	FastInterval time.Duration
	// Timeout is how long a check may take; 0 means 3 s. It may exceed Interval.
	Timeout time.Duration
	// Fall is how many failures in a row take a target down; 0 means 2.
	Fall int
	// Rise is how many successes in a row bring a target up; 0 means 1.
	Rise int
}

// DefaultTimeout is the default of Settings.Timeout.
const DefaultTimeout = 3 * time.Second

// withDefaults returns s with the default for each field that is zero or not valid.
func (s Settings) withDefaults() Settings {
	if s.Interval < minDuration {
		s.Interval = 5 * time.Second
	}
	if s.FastInterval < minDuration {
		s.FastInterval = s.Interval
	}
	if s.Timeout < minDuration {
		s.Timeout = DefaultTimeout
	}
	if s.Fall < 1 {
		s.Fall = 2
	}
	if s.Rise < 1 {
		s.Rise = 1
	}
	return s
}

// minDuration is the least valid Interval, FastInterval and Timeout.
const minDuration = time.Millisecond

// validate returns the mistake in s, nil where there is none.
func (s Settings) validate() error {
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"interval", s.Interval}, {"fast interval", s.FastInterval}, {"timeout", s.Timeout}} {
		if d.value != 0 && d.value < minDuration {
			return fmt.Errorf("%s %v: less than %v", d.name, d.value, minDuration)
		}
	}
	if s.Fall < 0 || s.Rise < 0 {
		return fmt.Errorf("fall %d, rise %d: less than 0", s.Fall, s.Rise)
	}
	return nil
}

// Detection returns the longest time from the moment a target stops working to its
// state Down, where checks start in time.
func (s Settings) Detection() time.Duration {
	s = s.withDefaults()
	return time.Duration(s.Fall) * (s.Interval + s.Timeout)
}

// Target is a Checker on a schedule.
type Target struct {
	// Key identifies the target. Targets with equal keys are one and are checked once:
	// services that have the same check of the same server share it.
	Key      string
	Checker  Checker
	Settings Settings
	// State is what a target that is new to the monitor begins with: Unknown, or what its
	// owner knows of it by another check.
	State State
}

// State is what a Monitor takes a target for.
type State uint8

// The states. A target is Unknown until its first result, which changes the state at
// once, whatever Fall and Rise are. What Unknown means for traffic is the caller's
// choice: keepalived treats it as Up by default and as Down in its alpha mode.
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
	Was     State         // before
	Reason  string        // why it is down, one line; "" where it is up
	At      time.Time     // of the change
	Since   time.Time     // start of the first check of the row of results that caused it
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

// Result is the result of one check.
type Result struct {
	At      time.Time     // start of the check
	Latency time.Duration // until it returned
	Reason  string        // why it failed or was not tried, one line; "" where it passed
	Remark  string        // see the function of that name; "" where it did not pass
	// NotTried is true where the result tells nothing about the server; see the
	// function of that name.
	NotTried bool
}
