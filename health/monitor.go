package health

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// Config is what a Monitor is made of. The zero value of each field is its default.
type Config struct {
	// OnEvent is called with each change of state, in order, from the goroutine of Run
	// and without a lock held: it may call the Monitor. No check starts and no result is
	// counted until it returns. nil ignores events.
	OnEvent func(Event)
	// MaxInFlight bounds the checks under way, and so goroutines and sockets; 0 means
	// 1024. Further checks that are due wait in order. A check that has passed its
	// timeout and not returned no longer counts.
	MaxInFlight int
	// Rand returns a number in [0, 1), by which first checks are spread; nil means
	// math/rand/v2. It is not called concurrently and must not call the Monitor.
	Rand func() float64
}

const (
	// grace is for how long after its timeout a check may return a reason of its own
	// before it counts as hung.
	grace = 100 * time.Millisecond
	// spread is the mean time between the first checks of targets that are added
	// together: few have a result at once, thousands do not start at once.
	spread = time.Millisecond
)

// Monitor checks targets at intervals and reports changes of state. Make one with
// [NewMonitor]. Its methods are safe for concurrent use; none but Run waits for the
// network, for a check or for OnEvent.
//
// A target has at most one check under way. A check that panics has failed. One that
// does not return after its timeout has failed, fails again at each interval, and is
// not started again until it returns.
type Monitor struct {
	cfg      Config
	wake     chan struct{} // holds one: there is something to do for Run
	finished inbox
	still    standstill
	onResult func() // called with mu held after each result that counts; nil is not

	mu       sync.Mutex
	started  bool
	targets  map[string]*target
	queue    queue     // every target that is not in ready
	ready    []*target // due, but MaxInFlight checks are under way
	events   []Event   // not yet reported
	inFlight int
	hung     int
	checks   uint64
	notTried uint64
}

// inbox holds the results that are not yet counted. It has a lock of its own: Run would
// else queue for Monitor.mu behind all checks that end.
type inbox struct {
	mu      sync.Mutex
	results []result
}

func (b *inbox) put(r result) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.results = append(b.results, r)
}

func (b *inbox) take() []result {
	b.mu.Lock()
	defer b.mu.Unlock()
	taken := b.results
	b.results = nil
	return taken
}

// result is what a check returned.
type result struct {
	t       *target
	err     error
	remark  string
	latency time.Duration
	lost    time.Duration // as standstill measured it until it returned
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
	return &Monitor{cfg: cfg, wake: make(chan struct{}, 1), still: standstill{now: time.Now}, targets: make(map[string]*target)}
}

// ValidateTargets returns what is wrong with targets, nil where nothing is: a Checker
// that is nil, Settings out of range, or equal keys with different Settings. [Monitor.Set]
// takes such targets too; its documentation has what it makes of them.
func ValidateTargets(targets []Target) error {
	var errs []error
	settings := make(map[string]Settings, len(targets))
	for i, t := range targets {
		if t.Checker == nil {
			errs = append(errs, fmt.Errorf("health: target %d: %q: no checker", i, t.Key))
		}
		if err := t.Settings.validate(); err != nil {
			errs = append(errs, fmt.Errorf("health: target %d: %q: %w", i, t.Key, err))
		}
		given := t.Settings.withDefaults()
		if other, ok := settings[t.Key]; ok && other != given {
			errs = append(errs, fmt.Errorf("health: target %d: %q: given twice, with settings %+v and %+v", i, t.Key, other, given))
		}
		settings[t.Key] = given
	}
	return errors.Join(errs...)
}

// Set replaces the targets, before or during Run. It cannot fail and waits for nothing.
//
// A target whose key is there already keeps its state, and its schedule where the
// Settings are equal; its new Checker is used from the next check on. A new one has the
// State that it is given, and is first checked at random within 1 ms times the number of
// new ones, and within one interval. Checks of targets that are gone are canceled; they cause no
// event.
//
// Of several targets with the same key the first one counts. A value of Settings that
// [ValidateTargets] refuses counts as its default. The checks of a target without a
// Checker count as not tried.
func (m *Monitor) Set(targets []Target) {
	want := make(map[string]Target, len(targets))
	timeout := time.Hour
	for _, t := range targets {
		if _, ok := want[t.Key]; ok {
			continue
		}
		if t.Checker == nil {
			t.Checker = CheckerFunc(func(context.Context) error { return fmt.Errorf("%w: no checker", ErrNotTried) })
		}
		t.Settings = t.Settings.withDefaults()
		timeout = min(timeout, t.Settings.Timeout)
		want[t.Key] = t
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.still.setPeriod(timeout)
	for key, t := range m.targets {
		if _, keep := want[key]; !keep && !t.gone {
			m.remove(t)
		}
	}
	now := m.still.now()
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
			m.queue.put(t, t.status.Next)
		}
	}
	m.wakeUp()
}

// add makes a target. Where a check of a removed target with the same key is still
// under way, the new one waits for it: otherwise each reload would add a hung check.
func (m *Monitor) add(w Target, now time.Time) *target {
	t := m.targets[w.Key]
	if t == nil {
		t = &target{index: -1}
		m.targets[w.Key] = t
	}
	t.Target, t.rowAt, t.recent, t.oldest = w, time.Time{}, nil, 0
	t.status = Status{Key: w.Key, State: w.State, Since: now, Hung: t.phase == hanging}
	t.gone, t.stale = false, t.phase != idle
	return t
}

func (m *Monitor) update(t *target, w Target, now time.Time) {
	changed := t.Settings != w.Settings
	t.Target = w
	if soonest := now.Add(w.Settings.Interval); changed && t.phase == idle && t.at.After(soonest) {
		t.status.Next = soonest
		m.queue.put(t, soonest)
	}
}

func (m *Monitor) remove(t *target) {
	t.gone = true
	if t.phase == idle {
		m.queue.remove(t) // where it is in ready, step drops it
		delete(m.targets, t.Key)
		return
	}
	t.cancel()
}

// wakeUp has Run take a step.
func (m *Monitor) wakeUp() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Run checks the targets until ctx ends, then cancels the checks under way, waits 100 ms
// at most for them and returns nil. A Monitor runs once: a second call returns an error.
func (m *Monitor) Run(ctx context.Context) error {
	m.mu.Lock()
	if m.started {
		m.mu.Unlock()
		return errors.New("health: monitor has run already")
	}
	m.started = true
	m.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m.still.start()
	defer m.still.tickWhile(false)

	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		events, wait := m.step(ctx)
		for _, e := range events {
			m.cfg.OnEvent(e)
		}
		if len(events) > 0 {
			continue // OnEvent took time
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			m.drain()
			return nil
		case <-m.wake:
		case <-timer.C:
		}
	}
}

// drain waits for the checks under way, for grace at most.
func (m *Monitor) drain() {
	limit := time.NewTimer(grace)
	defer limit.Stop()
	for {
		m.mu.Lock()
		for _, r := range m.finished.take() {
			m.returned(r.t)
		}
		left := m.inFlight
		m.mu.Unlock()
		if left == 0 {
			return
		}
		select {
		case <-m.wake:
		case <-limit.C:
			return
		}
	}
}

// step does all that is due: it counts results, fails checks that hang, and starts
// others. It returns the events, and for how long there is nothing to do.
func (m *Monitor) step(ctx context.Context) (events []Event, wait time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, lost := m.still.observe()
	for _, r := range m.finished.take() { // before others count as hung
		m.finish(r, now)
	}
	for len(m.queue) > 0 && !m.queue[0].at.After(now) {
		t := m.queue[0]
		if t.phase == idle {
			m.queue.remove(t)
			m.ready = append(m.ready, t)
			continue
		}
		m.overdue(t, now, lost)
	}
	for len(m.ready) > 0 && m.inFlight < m.cfg.MaxInFlight {
		t := m.ready[0]
		m.ready = m.ready[1:]
		if !t.gone {
			m.start(ctx, t, now, lost)
		}
	}
	m.still.tickWhile(m.inFlight > 0)
	events, m.events = m.events, nil
	if len(m.queue) == 0 {
		return events, time.Hour // until somebody calls wakeUp
	}
	return events, m.queue[0].at.Sub(now)
}

func (m *Monitor) start(ctx context.Context, t *target, now time.Time, lost time.Duration) {
	ctx, t.cancel = context.WithTimeout(ctx, t.Settings.Timeout)
	t.phase, t.due, t.began, t.lostAt = running, t.at, now, lost
	m.inFlight++
	m.queue.put(t, t.hangsAt(lost))
	go m.check(ctx, t, t.Checker)
}

// check runs one check, in a goroutine of its own.
func (m *Monitor) check(ctx context.Context, t *target, c Checker) {
	began := m.still.now()
	var said remark
	err := callCheck(context.WithValue(ctx, remarkKey{}, &said), c)
	now, lost := m.still.observe()
	m.finished.put(result{t: t, err: err, remark: said.get(), latency: now.Sub(began), lost: lost})
	m.wakeUp()
}

// callCheck returns a panic of the check as an error.
func callCheck(ctx context.Context, c Checker) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("check panicked: %v", p)
		}
	}()
	return c.Check(ctx)
}

// overdue fails a check that hangs, now and at each interval.
func (m *Monitor) overdue(t *target, now time.Time, lost time.Duration) {
	if t.phase == running {
		if at := t.hangsAt(lost); at.After(now) {
			m.queue.put(t, at)
			return
		}
		t.phase = hanging
		m.inFlight--
		m.hung++
	}
	m.queue.put(t, now.Add(t.Settings.Interval))
	if t.gone {
		return
	}
	t.status.Hung = true // also where t is new: its check waits for this one
	took := now.Sub(t.began)
	m.count(t, fmt.Errorf("check has not returned after %v", took.Round(time.Millisecond)), "", took, now)
}

// finish counts the result of a check and plans the next.
func (m *Monitor) finish(r result, now time.Time) {
	t := r.t
	hung := t.phase == hanging
	m.returned(t)
	switch {
	case t.gone:
		delete(m.targets, t.Key)
		return
	case t.stale:
		t.stale, t.status.Next = false, now
	case hung: // its failure is counted
		t.status.Next = t.next(now)
	default:
		m.count(t, r.outcome(), r.remark, r.latency, now)
		t.status.Next = t.next(now)
	}
	m.queue.put(t, t.status.Next)
}

// returned notes that a target's check has returned.
func (m *Monitor) returned(t *target) {
	if t.phase == hanging {
		m.hung--
	} else {
		m.inFlight--
	}
	t.cancel()
	t.phase, t.status.Hung = idle, false
	m.queue.remove(t)
}

// count counts what came of a check.
func (m *Monitor) count(t *target, err error, remark string, latency time.Duration, now time.Time) {
	if NotTried(err) {
		m.notTried++
		t.skip(err, latency)
	} else {
		m.checks++
		if e, changed := t.count(err, remark, latency, now); changed {
			m.events = append(m.events, e)
		}
	}
	if m.onResult != nil {
		m.onResult()
	}
}

// Once makes one check as a Monitor does, and returns its result: one that panics, or
// does not return within timeout (0 means 3 s), has failed. It returns an error where
// ctx ends first.
func Once(ctx context.Context, c Checker, timeout time.Duration) (Result, error) {
	run, done := context.WithCancel(ctx)
	defer done()
	m := NewMonitor(Config{Rand: func() float64 { return 0 }}) // at once
	m.onResult = done
	m.Set([]Target{{Checker: c, Settings: Settings{Timeout: timeout}}})
	if err := m.Run(run); err != nil {
		return Result{}, err
	}
	if recent := m.Status()[0].Recent; len(recent) > 0 && ctx.Err() == nil {
		return recent[0], nil
	}
	return Result{}, ctx.Err()
}
