package health

import (
	"fmt"
	"sync"
	"time"
)

// standstill measures for how long this process did not run while checks were under
// way: it was stopped, its virtual machine was paused, or the host gave it no
// processor. A timer ticks while they are; by as much as a tick is late, the process
// stood still. It has a lock of its own, which nothing holds for long: waiting for it is
// no standstill.
type standstill struct {
	now   func() time.Time // time.Now, but for tests
	timer *time.Timer      // calls tick

	mu      sync.Mutex
	period  time.Duration // between ticks; a stop shorter than two periods is not noticed
	ticking bool
	seen    time.Time     // when the process was last known to run
	lost    time.Duration // in total
}

// maxPeriod bounds the period of a standstill.
const maxPeriod = 50 * time.Millisecond

// start makes the timer; nothing ticks yet.
func (s *standstill) start() { s.timer = time.AfterFunc(time.Hour, s.tick) }

// setPeriod makes the period short against the least timeout of a check.
func (s *standstill) setPeriod(timeout time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.period = max(min(timeout/8, maxPeriod), time.Millisecond)
}

// observe notes that the process runs. It returns the time, and how much of it was lost
// so far.
func (s *standstill) observe() (now time.Time, lost time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.observeLocked(), s.lost
}

func (s *standstill) observeLocked() time.Time {
	now := s.now()
	if gap := now.Sub(s.seen); s.ticking && gap > 2*s.period {
		s.lost += gap - s.period
	}
	s.seen = now
	return now
}

// tickWhile has the timer tick, or not.
func (s *standstill) tickWhile(ticking bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ticking && !s.ticking {
		s.seen = s.now()
		s.timer.Reset(s.period)
	}
	s.ticking = ticking
}

// tick is called by the timer.
func (s *standstill) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.observeLocked()
	if s.ticking {
		s.timer.Reset(s.period)
	}
}

// outcome returns what counts of a check: its error, or another one where it passed too
// late, or failed while the process stood still.
func (r *result) outcome() error {
	timeout, lost := r.t.Settings.Timeout, r.lost-r.t.lostAt
	switch {
	case r.err == nil && r.latency-lost > timeout:
		return fmt.Errorf("passed, but only after %v", r.latency.Round(time.Millisecond))
	case r.err != nil && !NotTried(r.err) && lost >= timeout/2:
		return fmt.Errorf("%w: this process stood still for %v: %w", ErrNotTried, lost.Round(time.Millisecond), r.err)
	}
	return r.err
}
