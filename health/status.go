package health

import (
	"slices"
	"strings"
	"time"
)

// Status is what a Monitor knows about one target.
type Status struct {
	Key       string
	State     State
	Since     time.Time     // when it got the State, or was added where that is Unknown
	Checked   time.Time     // start of the last check that passed or failed; zero where there is none
	Latency   time.Duration // of that check
	Reason    string        // why that check failed, one line; "" where it passed
	Remark    string        // see the function of that name; "" where that check failed
	Failures  int           // in a row, up to now
	Successes int           // in a row, up to now
	Next      time.Time     // start of the next check, or of the one that is under way
	Hung      bool          // the last check has passed its timeout and not returned
	// NotTried is how many checks since Checked were not tried, and Trouble is why the
	// last of them was not, in one line; 0 and "" where the last check passed or failed.
	NotTried int
	Trouble  string
	Recent   []Result // the last ones, up to 10, the oldest first
}

// Status returns what is known about each target, sorted by key. It does not wait for
// checks or for OnEvent.
func (m *Monitor) Status() []Status {
	m.mu.Lock()
	all := make([]Status, 0, len(m.targets))
	for _, t := range m.targets {
		if !t.gone {
			st := t.status
			st.Recent = slices.Concat(t.recent[t.oldest:], t.recent[:t.oldest])
			all = append(all, st)
		}
	}
	m.mu.Unlock()
	slices.SortFunc(all, func(a, b Status) int { return strings.Compare(a.Key, b.Key) })
	return all
}

// Trouble returns how many targets could not be checked the last time it was tried, and why
// one of them was not, in one line. It does not wait for checks or for OnEvent.
func (m *Monitor) Trouble() (targets int, reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range m.targets {
		if !t.gone && t.status.NotTried > 0 {
			targets++
			if t.status.Trouble < reason || reason == "" {
				reason = t.status.Trouble
			}
		}
	}
	return targets, reason
}

// Load is how busy a Monitor is.
type Load struct {
	InFlight int    // checks under way
	Waiting  int    // checks that are due while MaxInFlight are under way
	Hung     int    // checks that have passed their timeout and not returned
	Checks   uint64 // checks that passed or failed, since the start
	NotTried uint64 // checks that were not tried, since the start
}

// Load returns how busy the monitor is. It does not wait for checks or for OnEvent.
func (m *Monitor) Load() Load {
	m.mu.Lock()
	defer m.mu.Unlock()
	return Load{InFlight: m.inFlight, Waiting: len(m.ready), Hung: m.hung, Checks: m.checks, NotTried: m.notTried}
}
