package health

import (
	"context"
	"strings"
	"time"
)

// phase is what a target waits for, and what its time in the queue means.
type phase uint8

const (
	idle    phase = iota // at: start of the next check
	running              // at: the check counts as hung
	hanging              // at: the hung check fails again
)

// target is a Target and what is known about it; guarded by Monitor.mu.
type target struct {
	Target
	status Status
	rowAt  time.Time // start of the first check of the row of equal results
	recent []Result  // a ring once it has maxRecent
	oldest int       // index in the ring

	phase  phase
	at     time.Time     // place in the queue
	index  int           // in the queue, -1 outside
	due    time.Time     // when the check under way was to start; the next one counts from there
	began  time.Time     // when it did start
	lostAt time.Duration // as standstill measured it until then
	cancel context.CancelFunc
	gone   bool // removed; kept until its check returns
	stale  bool // the check under way is of a removed target with this key
}

// maxRecent is how many results of a target are kept.
const maxRecent = 10

// remember keeps a result, in place of the oldest one where there are maxRecent.
func (t *target) remember(r Result) {
	if len(t.recent) < maxRecent {
		t.recent = append(t.recent, r)
		return
	}
	t.recent[t.oldest] = r
	t.oldest = (t.oldest + 1) % maxRecent
}

// skip counts a check that was not tried.
func (t *target) skip(err error, latency time.Duration) {
	s := &t.status
	s.NotTried++
	s.Trouble = strings.TrimPrefix(reasonText(err), ErrNotTried.Error()+": ")
	t.remember(Result{At: t.began, Latency: latency, Reason: s.Trouble, NotTried: true})
}

// count counts a check that passed or failed, and returns an event where that changes
// the state.
func (t *target) count(err error, remark string, latency time.Duration, now time.Time) (Event, bool) {
	s := &t.status
	s.Checked, s.Latency, s.Reason, s.Remark = t.began, latency, "", ""
	s.NotTried, s.Trouble = 0, ""
	state := s.State
	if err == nil {
		s.Successes, s.Failures, s.Remark = s.Successes+1, 0, remark
		if s.State == Unknown || s.State == Down && s.Successes >= t.Settings.Rise {
			state = Up
		}
	} else {
		s.Failures, s.Successes = s.Failures+1, 0
		s.Reason = reasonText(err)
		if s.State == Unknown || s.State == Up && s.Failures >= t.Settings.Fall {
			state = Down
		}
	}
	t.remember(Result{At: t.began, Latency: latency, Reason: s.Reason, Remark: s.Remark})
	if s.Failures+s.Successes == 1 {
		t.rowAt = t.began
	}
	if state == s.State {
		return Event{}, false
	}
	e := Event{Key: t.Key, State: state, Was: s.State, Reason: s.Reason, At: now, Since: t.rowAt, Latency: latency}
	s.State, s.Since = state, now
	return e, true
}

// next returns the start of the next check: one interval after the last one was due, so
// that neither its length nor a full monitor shifts the schedule. Starts that were
// missed are skipped.
func (t *target) next(now time.Time) time.Time {
	s, interval := &t.status, t.Settings.Interval
	if s.State == Up && s.Failures > 0 || s.State == Down && s.Successes > 0 {
		interval = t.Settings.FastInterval
	}
	next := t.due.Add(interval)
	if behind := now.Sub(next); behind > 0 {
		next = next.Add((behind + interval - 1) / interval * interval)
	}
	return next
}

// hangsAt returns when the check under way counts as hung. Time that the process lost
// since it began does not count.
func (t *target) hangsAt(lost time.Duration) time.Time {
	return t.began.Add(t.Settings.Timeout + grace + lost - t.lostAt)
}
