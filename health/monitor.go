package health

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"sync"
	"time"
)

// Config is all that a Monitor is told. The zero value of each field is its
// default.
type Config struct {
	// OnEvent is called with each change of state, in order, from the goroutine of
	// Run and without a lock, so it may call the Monitor. No check starts until it
	// returns. nil means nobody is told.
	OnEvent func(Event)
	// MaxInFlight bounds the checks, and so goroutines and sockets, at a time; 0
	// means 1024. Checks that are due beyond it wait in order. A check that hangs
	// past its timeout gives its place back.
	MaxInFlight int
	// Rand returns a number in [0, 1) that spreads the first checks; nil means
	// math/rand. It is not called concurrently.
	Rand func() float64
}

const (
	// grace is what a check gets after its timeout to return its own, better
	// reason before it counts as hung.
	grace = 100 * time.Millisecond
	// spread is the time between the first checks of targets added together, on
	// average: few targets are known at once, thousands do not start together.
	spread = 10 * time.Millisecond
)

// Monitor checks targets at intervals and reports changes of state. Its methods are
// safe for concurrent use.
//
// A target is never checked twice at a time. A check that panics has failed. A
// check that does not return after its timeout has failed, fails again at each
// interval, and is not started again until it returns.
type Monitor struct {
	cfg Config

	wake    chan struct{} // holds one: Set changed something
	results chan result
	done    chan struct{} // closed when Run returns

	mu       sync.Mutex
	started  bool
	targets  map[string]*target
	queue    queue     // every target that is not in ready
	ready    []*target // due, but MaxInFlight are under way
	inFlight int
	hung     int
	checks   uint64
}

// phase is what a target's queue time means.
type phase uint8

const (
	idle    phase = iota // at: start of the next check
	running              // at: when the check counts as hung
	hanging              // at: when it fails again
)

// target is a Target with what is known of it; guarded by Monitor.mu.
type target struct {
	Target
	status Status
	rowAt  time.Time // start of the first check of the row of equal results
	recent []Result  // a ring once it is full
	oldest int       // in the ring

	phase  phase
	at     time.Time // place in the queue
	index  int       // in the queue, -1 outside
	due    time.Time // when the check under way was to start; keeps the rhythm
	began  time.Time // when it did
	cancel context.CancelFunc
	gone   bool // removed; kept until its check returns
	stale  bool // the check under way was begun for a removed target of this key
}

type result struct {
	t       *target
	err     error
	latency time.Duration
}

// NewMonitor returns a Monitor without targets. It starts no goroutine.
func NewMonitor(cfg Config) *Monitor {
	if cfg.MaxInFlight <= 0 {
		cfg.MaxInFlight = 1024
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Float64
	}
	if cfg.OnEvent == nil {
		cfg.OnEvent = func(Event) {}
	}
	return &Monitor{
		cfg:     cfg,
		wake:    make(chan struct{}, 1),
		results: make(chan result),
		done:    make(chan struct{}),
		targets: make(map[string]*target),
	}
}

// Set replaces the targets, before or during Run. Targets whose key is there
// already keep their state, and their schedule where the settings are equal; their
// new Checker is used from the next check on. New ones are Unknown, and first
// checked within 10 ms times their number, and within one interval, at random.
// Checks of targets that are gone are cancelled; they cause no event.
//
// A key that is given twice is one target; its settings must agree. On an error
// nothing has changed.
func (m *Monitor) Set(targets []Target) error {
	want, err := index(targets)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, t := range m.targets {
		if _, keep := want[key]; !keep && !t.gone {
			m.remove(t)
		}
	}
	now := time.Now()
	var fresh []*target
	for _, given := range targets {
		w, pending := want[given.Key]
		if !pending {
			continue
		}
		delete(want, given.Key)
		if t := m.targets[w.Key]; t == nil || t.gone {
			fresh = append(fresh, m.add(w, now))
		} else {
			m.update(t, w, now)
		}
	}
	for _, t := range fresh {
		within := min(t.Settings.Interval, time.Duration(len(fresh))*spread)
		t.status.Next = now.Add(time.Duration(m.cfg.Rand() * float64(within)))
		if t.phase == idle {
			m.put(t, t.status.Next)
		}
	}
	select {
	case m.wake <- struct{}{}:
	default:
	}
	return nil
}

// index returns targets by key, with the defaults of their settings.
func index(targets []Target) (map[string]Target, error) {
	byKey := make(map[string]Target, len(targets))
	for i, t := range targets {
		if t.Key == "" || t.Checker == nil {
			return nil, fmt.Errorf("health: target %d: key %q: key and checker must be given", i, t.Key)
		}
		t.Settings = t.Settings.withDefaults()
		if err := t.Settings.validate(); err != nil {
			return nil, fmt.Errorf("health: target %s: %w", t.Key, err)
		}
		if other, ok := byKey[t.Key]; ok && other.Settings != t.Settings {
			return nil, fmt.Errorf("health: target %s: given twice, with settings %+v and %+v", t.Key, other.Settings, t.Settings)
		}
		byKey[t.Key] = t
	}
	return byKey, nil
}

// add makes a target. Where a check of a removed target of the same key is still
// out, the new one waits for it: otherwise reloads would multiply hung checks.
func (m *Monitor) add(w Target, now time.Time) *target {
	t := m.targets[w.Key]
	if t == nil {
		t = &target{index: -1}
		m.targets[w.Key] = t
	}
	t.Target, t.rowAt, t.recent, t.oldest = w, time.Time{}, nil, 0
	t.status = Status{Key: w.Key, Since: now, Hung: t.phase == hanging}
	t.gone, t.stale = false, t.phase != idle
	return t
}

func (m *Monitor) update(t *target, w Target, now time.Time) {
	changed := t.Settings != w.Settings
	t.Target = w
	if soonest := now.Add(w.Settings.Interval); changed && t.phase == idle && t.at.After(soonest) {
		t.status.Next = soonest
		m.put(t, soonest)
	}
}

func (m *Monitor) remove(t *target) {
	t.gone = true
	if t.phase == idle {
		m.take(t) // where it waits in ready, start drops it
		delete(m.targets, t.Key)
		return
	}
	t.cancel()
}

// Run checks the targets until ctx ends, then cancels the checks under way, waits a
// moment for them and returns nil. A Monitor runs once; a second call fails.
func (m *Monitor) Run(ctx context.Context) error {
	m.mu.Lock()
	if m.started {
		m.mu.Unlock()
		return errors.New("health: monitor has run already")
	}
	m.started = true
	m.mu.Unlock()
	defer close(m.done)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		events, wait := m.step(ctx)
		if m.deliver(events) {
			continue // OnEvent took time
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			m.drain()
			return nil
		case <-m.wake:
		case <-timer.C:
		case r := <-m.results:
			m.deliver(m.settle(r))
		}
	}
}

// drain waits for the checks under way, for no longer than grace.
func (m *Monitor) drain() {
	limit := time.NewTimer(grace)
	defer limit.Stop()
	for {
		m.mu.Lock()
		left := m.inFlight
		m.mu.Unlock()
		if left == 0 {
			return
		}
		select {
		case r := <-m.results:
			m.mu.Lock()
			m.returned(r.t)
			m.mu.Unlock()
		case <-limit.C:
			return
		}
	}
}

// deliver reports whether there was anything to deliver.
func (m *Monitor) deliver(events []Event) bool {
	for _, e := range events {
		m.cfg.OnEvent(e)
	}
	return len(events) > 0
}

// step does all that is due: it starts checks and fails those that hang. It returns
// the events of the latter and how long there is nothing to do.
func (m *Monitor) step(ctx context.Context) (events []Event, wait time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	for len(m.queue) > 0 && !m.queue[0].at.After(now) {
		t := m.queue[0]
		m.take(t)
		if t.phase == idle {
			m.ready = append(m.ready, t)
			continue
		}
		if e, changed := m.hang(t, now); changed {
			events = append(events, e)
		}
	}
	for len(m.ready) > 0 && m.inFlight < m.cfg.MaxInFlight {
		t := m.ready[0]
		m.ready = m.ready[1:]
		if !t.gone {
			m.start(ctx, t, now)
		}
	}
	if len(m.queue) == 0 {
		return events, time.Hour // Set and results wake the loop
	}
	return events, m.queue[0].at.Sub(now)
}

func (m *Monitor) start(ctx context.Context, t *target, now time.Time) {
	ctx, t.cancel = context.WithTimeout(ctx, t.Settings.Timeout)
	t.phase, t.due, t.began = running, t.at, now
	m.inFlight++
	m.put(t, now.Add(t.Settings.Timeout+grace))
	go m.check(ctx, t, t.Checker)
}

// check runs one check in a goroutine of its own.
func (m *Monitor) check(ctx context.Context, t *target, c Checker) {
	began := time.Now()
	err := guarded(ctx, c)
	r := result{t, err, time.Since(began)}
	if _, limited := ctx.Deadline(); err == nil && limited && ctx.Err() != nil {
		r.err = fmt.Errorf("passed, but only after %v", r.latency.Round(time.Millisecond))
	}
	select {
	case m.results <- r:
	case <-m.done:
	}
}

func guarded(ctx context.Context, c Checker) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("check panicked: %v", p)
		}
	}()
	return c.Check(ctx)
}

// hang fails a check that has not returned, now and at each interval.
func (m *Monitor) hang(t *target, now time.Time) (Event, bool) {
	if t.phase == running {
		t.phase = hanging
		m.inFlight--
		m.hung++
	}
	m.put(t, now.Add(t.Settings.Interval))
	if t.gone {
		return Event{}, false
	}
	t.status.Hung = true // also where t is new: it is the same question
	return m.judge(t, fmt.Errorf("check hangs since %v", now.Sub(t.began).Round(time.Millisecond)), now.Sub(t.began), now)
}

// settle takes the result of a check and plans the next.
func (m *Monitor) settle(r result) []Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, now := r.t, time.Now()
	hung := t.phase == hanging
	m.returned(t)
	switch {
	case t.gone:
		delete(m.targets, t.Key)
		return nil
	case t.stale:
		t.stale, t.status.Next = false, now
		m.put(t, now)
		return nil
	case hung: // its failure is counted
		m.plan(t, now)
		return nil
	}
	e, changed := m.judge(t, r.err, r.latency, now)
	m.plan(t, now)
	if changed {
		return []Event{e}
	}
	return nil
}

// returned notes that a target's check is over.
func (m *Monitor) returned(t *target) {
	if t.phase == hanging {
		m.hung--
	} else {
		m.inFlight--
	}
	t.cancel()
	t.phase, t.status.Hung = idle, false
	m.take(t)
}

// judge counts a result; it returns an event where that makes a verdict.
func (m *Monitor) judge(t *target, err error, latency time.Duration, now time.Time) (Event, bool) {
	m.checks++
	s := &t.status
	s.Checked, s.Latency, s.Reason = t.began, latency, ""
	verdict := s.State
	if err == nil {
		s.Successes, s.Failures = s.Successes+1, 0
		if s.State == Unknown || s.State == Down && s.Successes >= t.Settings.Rise {
			verdict = Up
		}
	} else {
		s.Failures, s.Successes = s.Failures+1, 0
		s.Reason = oneLine(err.Error())
		if s.State == Unknown || s.State == Up && s.Failures >= t.Settings.Fall {
			verdict = Down
		}
	}
	t.remember(Result{At: t.began, Latency: latency, Reason: s.Reason})
	if s.Failures+s.Successes == 1 {
		t.rowAt = t.began
	}
	if verdict == s.State {
		return Event{}, false
	}
	e := Event{Key: t.Key, State: verdict, Was: s.State, Reason: s.Reason, At: now, Since: t.rowAt, Latency: latency}
	s.State, s.Since = verdict, now
	return e, true
}

// remember keeps a result in place of the oldest.
func (t *target) remember(r Result) {
	if len(t.recent) < maxRecent {
		t.recent = append(t.recent, r)
		return
	}
	t.recent[t.oldest] = r
	t.oldest = (t.oldest + 1) % maxRecent
}

// plan queues the next check one interval after the last was due, so that neither
// its length nor a full monitor shifts the rhythm; starts that were missed are
// skipped.
func (m *Monitor) plan(t *target, now time.Time) {
	s, step := &t.status, t.Settings.Interval
	if s.State == Up && s.Failures > 0 || s.State == Down && s.Successes > 0 {
		step = t.Settings.FastInterval
	}
	next := t.due.Add(step)
	if late := now.Sub(next); late > 0 {
		next = next.Add((late + step - 1) / step * step)
	}
	s.Next = next
	m.put(t, next)
}

// Status returns what is known of each target, sorted by key.
func (m *Monitor) Status() []Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]Status, 0, len(m.targets))
	for _, t := range m.targets {
		if !t.gone {
			st := t.status
			st.Recent = slices.Concat(t.recent[t.oldest:], t.recent[:t.oldest])
			all = append(all, st)
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Key < all[j].Key })
	return all
}

// Load is how busy a Monitor is.
type Load struct {
	InFlight int    // checks under way
	Waiting  int    // checks that are due and wait for a place
	Hung     int    // checks past their timeout that have not returned
	Checks   uint64 // results since the start
}

// Load returns how busy the monitor is.
func (m *Monitor) Load() Load {
	m.mu.Lock()
	defer m.mu.Unlock()
	return Load{InFlight: m.inFlight, Waiting: len(m.ready), Hung: m.hung, Checks: m.checks}
}

// put queues t, or moves it, to at.
func (m *Monitor) put(t *target, at time.Time) {
	t.at = at
	if t.index >= 0 {
		heap.Fix(&m.queue, t.index)
		return
	}
	heap.Push(&m.queue, t)
}

// take removes t from the queue where it is there.
func (m *Monitor) take(t *target) {
	if t.index >= 0 {
		heap.Remove(&m.queue, t.index)
	}
}
