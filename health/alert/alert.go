// Package alert tells people and programs what became of servers: by e-mail, to a
// webhook, by a command, or by any [Sender]. It gathers what happens at once into
// one message, and keeps quiet about a server that flaps.
package alert

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Event is something that happened to a server.
type Event struct {
	Key     string    `json:"key"`     // of what: events of one key are damped together
	Service string    `json:"service"` // names for people
	Server  string    `json:"server"`
	State   string    `json:"state"`            // up, down, or as the caller calls it
	Reason  string    `json:"reason,omitempty"` // why
	Since   time.Time `json:"since,omitzero"`   // when it began; zero where it is not known
	At      time.Time `json:"at"`               // when it was known
	Action  string    `json:"action,omitempty"` // what was done about it
	Changes int       `json:"changes"`          // how many changes this stands for, itself included; more than 1 where it flapped
}

// String returns the event in one line.
func (e Event) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s is %s", e.Service, e.Server, e.State)
	if e.Changes > 1 {
		fmt.Fprintf(&b, " after %d changes", e.Changes)
	}
	if !e.Since.IsZero() {
		fmt.Fprintf(&b, " since %s", e.Since.Format(time.DateTime+" MST"))
	}
	if e.Reason != "" {
		b.WriteString(": " + e.Reason)
	}
	if e.Action != "" {
		b.WriteString("; " + e.Action)
	}
	return b.String()
}

// Message is what senders send.
type Message struct {
	Subject string  `json:"subject"`
	Text    string  `json:"text"` // an event a line
	Events  []Event `json:"events"`
	Omitted int     `json:"omitted"` // events beyond what one message holds
}

// Sender sends a message. Send returns soon after ctx ends.
type Sender interface {
	Send(ctx context.Context, m Message) error
}

// PartlySent is the error of a Sender whose message some, but not all, have got. It is
// not sent again.
type PartlySent struct{ Err error }

func (e *PartlySent) Error() string { return "sent, but not to all: " + e.Err.Error() }

// Unwrap returns what went wrong with the others.
func (e *PartlySent) Unwrap() error { return e.Err }

// SenderFunc is a function as a Sender.
type SenderFunc func(ctx context.Context, m Message) error

// Send calls f.
func (f SenderFunc) Send(ctx context.Context, m Message) error { return f(ctx, m) }

// Config is all that a Notifier is told. The zero value of each field is its
// default.
type Config struct {
	Senders []Sender
	// Name begins each subject; "" means golb.
	Name string
	// Gather is for how long events are gathered into one message; 0 means 2 s.
	Gather time.Duration
	// Hold is for how long a key that was told of is kept quiet; what happens to it
	// meanwhile is told at its end, as one event. 0 means 5 min.
	Hold time.Duration
	// Timeout is how long one attempt to send may take; 0 means 30 s.
	Timeout time.Duration
	// OnError is told of each attempt that failed, from several goroutines; nil is
	// nobody.
	OnError func(error)
}

const (
	maxEvents = 500 // in a message
	maxQueue  = 16  // messages that a slow sender has not sent
	attempts  = 3
	// farewell is what senders get for the last messages when Run ends.
	farewell = 5 * time.Second
)

// Notifier turns events into messages. Add is safe for concurrent use.
type Notifier struct {
	cfg  Config
	wake chan struct{} // holds one

	mu      sync.Mutex
	pending []Event
	omitted int
	flushAt time.Time        // of pending; zero where there is none
	quiet   map[string]*hold // keys that were told of
}

// hold is a key that is kept quiet.
type hold struct {
	until time.Time
	count int // events held back
	last  Event
}

// New returns a Notifier. It starts no goroutine.
func New(cfg Config) *Notifier {
	if cfg.Name == "" {
		cfg.Name = "golb"
	}
	if cfg.Gather == 0 {
		cfg.Gather = 2 * time.Second
	}
	if cfg.Hold == 0 {
		cfg.Hold = 5 * time.Minute
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 30 * time.Second
	}
	if cfg.OnError == nil {
		cfg.OnError = func(error) {}
	}
	return &Notifier{cfg: cfg, wake: make(chan struct{}, 1), quiet: make(map[string]*hold)}
}

// Add takes an event. It does not block; what it keeps is bounded.
func (n *Notifier) Add(e Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	e.Changes = 1
	if h := n.quiet[e.Key]; h != nil {
		h.count++
		h.last = e
		return
	}
	now := time.Now()
	n.quiet[e.Key] = &hold{until: now.Add(n.cfg.Hold)}
	n.append(e, now)
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

func (n *Notifier) append(e Event, now time.Time) {
	if len(n.pending) >= maxEvents {
		n.omitted++
		return
	}
	n.pending = append(n.pending, e)
	if n.flushAt.IsZero() {
		n.flushAt = now.Add(n.cfg.Gather)
	}
}

// Run sends until ctx ends, then sends what is left, in at most 5 s, and returns
// nil. Each sender has a goroutine of its own, so that one that hangs does not hold
// up the others; an attempt that fails is repeated twice, after 30 s and 2 min, unless
// its error is [PartlySent].
func (n *Notifier) Run(ctx context.Context) error {
	queues := make([]chan Message, len(n.cfg.Senders))
	var group sync.WaitGroup
	for i, s := range n.cfg.Senders {
		queues[i] = make(chan Message, maxQueue)
		group.Go(func() { n.work(ctx, s, queues[i]) })
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		m, wait := n.next(time.Now(), false)
		n.enqueue(queues, m)
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-n.wake:
		case <-timer.C:
		}
	}
	m, _ := n.next(time.Now(), true)
	n.enqueue(queues, m)
	for _, q := range queues {
		close(q)
	}
	group.Wait()
	return nil
}

func (n *Notifier) enqueue(queues []chan Message, m *Message) {
	if m == nil {
		return
	}
	for _, q := range queues {
		select {
		case q <- *m:
		default:
			n.cfg.OnError(fmt.Errorf("alert: %d messages wait already; dropped: %s", maxQueue, m.Subject))
		}
	}
}

// next returns the message that is due, or nil, and how long there is nothing to
// do. last makes everything due.
func (n *Notifier) next(now time.Time, last bool) (*Message, time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	wait := time.Hour // Add wakes the loop
	for key, h := range n.quiet {
		if h.until.After(now) && !last {
			wait = min(wait, h.until.Sub(now))
			continue
		}
		if h.count == 0 {
			delete(n.quiet, key)
			continue
		}
		h.last.Changes = h.count
		n.append(h.last, now)
		h.count, h.until = 0, now.Add(n.cfg.Hold)
		wait = min(wait, n.cfg.Hold)
	}
	switch {
	case len(n.pending) == 0:
		return nil, wait
	case n.flushAt.After(now) && !last:
		return nil, min(wait, n.flushAt.Sub(now))
	}
	m := compose(n.cfg.Name, n.pending, n.omitted)
	n.pending, n.omitted, n.flushAt = nil, 0, time.Time{}
	return &m, wait
}

// compose writes a message.
func compose(name string, events []Event, omitted int) Message {
	m := Message{Events: events, Omitted: omitted}
	if len(events) == 1 {
		e := events[0]
		m.Subject = fmt.Sprintf("%s: %s: %s is %s", name, e.Service, e.Server, e.State)
	} else {
		m.Subject = fmt.Sprintf("%s: %d changes", name, len(events)+omitted)
	}
	var b strings.Builder
	for _, e := range events {
		b.WriteString(e.String() + "\n")
	}
	if omitted > 0 {
		fmt.Fprintf(&b, "and %d more\n", omitted)
	}
	m.Text = b.String()
	return m
}

// work sends the messages of one sender.
func (n *Notifier) work(ctx context.Context, s Sender, queue <-chan Message) {
	for m := range queue {
		for try := 1; ; try++ {
			err := n.send(ctx, s, m)
			if err == nil {
				break
			}
			n.cfg.OnError(fmt.Errorf("alert: attempt %d of %d: %s: %w", try, attempts, m.Subject, err))
			if _, some := errors.AsType[*PartlySent](err); some || try == attempts || ctx.Err() != nil || !sleep(ctx, 30*time.Second<<(2*(try-1))) {
				break
			}
		}
	}
}

// send makes one attempt. When Run has ended it still gets a short time.
func (n *Notifier) send(ctx context.Context, s Sender, m Message) (err error) {
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.cfg.Timeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(farewell, cancel) })()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("sender panicked: %v", p)
		}
	}()
	if err := s.Send(limit, m); err != nil {
		if limit.Err() != nil {
			return errors.New("not sent in time")
		}
		return err
	}
	return nil
}

// sleep returns false where ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
