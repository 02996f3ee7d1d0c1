package health

import (
	"fmt"
	"time"
)

// standstill measures for how long this process did not run while checks were under
// way: it was stopped, its virtual machine was paused, or the host gave it no
// processor. A timer ticks meanwhile; by as much as a tick is late, the process stood
// still. Guarded by Monitor.mu, which nobody holds for long.
type standstill struct {
	timer  *time.Timer
	period time.Duration // between ticks; what is lost in less than two is not noticed
	seen   time.Time     // when the process was last known to run
	lost   time.Duration // in total
}

// maxPeriod bounds the period of a standstill. Its least is that of a timer.
const maxPeriod = 50 * time.Millisecond

// setPeriod makes the period short against the timeout of every target.
func (s *standstill) setPeriod(timeout time.Duration) {
	s.period = max(min(timeout/8, maxPeriod), time.Millisecond)
}

// observe notes that the process runs at now. Where checks are under way, and so the
// timer ticks, a gap since the last time is time lost.
func (s *standstill) observe(now time.Time, ticking bool) {
	if gap := now.Sub(s.seen); ticking && gap > 2*s.period {
		s.lost += gap - s.period
	}
	s.seen = now
}

// tick is called by the timer.
func (m *Monitor) tick() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.observe()
	if m.inFlight > 0 && !m.ended {
		m.still.timer.Reset(m.still.period)
	}
}

// observe notes that the process runs, and returns the time. m.mu must be held.
func (m *Monitor) observe() time.Time {
	now := m.now()
	m.still.observe(now, m.inFlight > 0)
	return now
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
