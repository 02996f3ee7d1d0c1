// Package alert sends messages about servers that go down or come up: by e-mail
// ([Mail]), to a webhook ([Webhook]), by a command ([Command]) or by any [Sender].
//
// A [Notifier] takes events. It gathers those of a few seconds into one message. A failure
// and the first recovery after it are sent at once; further events of the same server are
// held back, so that a flapping server causes two messages every few minutes. All durations
// are [time.Duration], 0 being the default.
//
// Texts of events may quote servers: a Notifier makes them printable, one line each, and
// so are the errors of all senders. Notifier is safe for concurrent use, and so are the
// senders as long as their fields are not changed.
package alert

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/golb/golb/health/printable"
)

// Event is a change of a server's state.
type Event struct {
	Key     string    `json:"key"`     // identifies the server: events with equal keys are held back together
	Service string    `json:"service"` // name
	Server  string    `json:"server"`  // name
	State   string    `json:"state"`   // up, down, or a word of the caller's
	Reason  string    `json:"reason,omitempty"`
	Since   time.Time `json:"since,omitzero"`   // when it began; zero where that is not known
	At      time.Time `json:"at"`               // when it was noticed
	Action  string    `json:"action,omitempty"` // what the caller does about it
	Changes int       `json:"changes"`          // how many changes this event stands for, itself included; set by Add

	Summary string `json:"summary"` // says it in a subject; "" means "Service: Server is State"
	Urgency int    `json:"urgency"` // the subject of several events begins with those of the highest
	Normal  bool   `json:"normal"`  // State is how it should be: a recovery, not a failure
}

// maxText bounds each text of an event, and an error, in bytes.
const maxText = 1000

// printable returns e with texts that are safe to show.
func (e Event) printable() Event {
	for _, text := range []*string{&e.Key, &e.Service, &e.Server, &e.State, &e.Reason, &e.Action, &e.Summary} {
		*text = printable.Line(*text, maxText)
	}
	return e
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

// Message is what a Sender sends. Its JSON form is that of a [Webhook].
type Message struct {
	Subject string  `json:"subject"`
	Text    string  `json:"text"` // one event a line
	Events  []Event `json:"events"`
	Omitted int     `json:"omitted"` // events that are not in it, for want of room
}

// Sender sends a message. Send returns soon after ctx ends.
type Sender interface {
	Send(ctx context.Context, m Message) error
}

// PartlySent is the error of a Sender whose message reached some recipients but not all.
// A Notifier does not send such a message again.
type PartlySent struct{ Err error }

func (e *PartlySent) Error() string { return "sent, but not to all: " + e.Err.Error() }

// Unwrap returns the error of the others.
func (e *PartlySent) Unwrap() error { return e.Err }

// SenderFunc is a function as a Sender.
type SenderFunc func(ctx context.Context, m Message) error

// Send calls f.
func (f SenderFunc) Send(ctx context.Context, m Message) error { return f(ctx, m) }

// Config is what a Notifier is made of. The zero value of each field is its default.
type Config struct {
	Senders []Sender
	// Name begins each subject; "" means golb.
	Name string
	// Gather is for how long events are gathered into one message; 0 means 2 s.
	Gather time.Duration
	// Hold is for how long, after an event, further events with the same key are held
	// back, but for the first that is Normal; they are then sent as one, the last. 0 means
	// 5 min.
	Hold time.Duration
	// Timeout is how long one attempt to send may take; 0 means 30 s.
	Timeout time.Duration
	// OnError is called with the error of each attempt that failed, and of each message
	// that was dropped, from several goroutines; nil ignores errors.
	OnError func(error)
}

const (
	maxEvents = 500 // in a message
	maxQueue  = 16  // messages that wait for a sender
	attempts  = 3
	// lastTime is how long senders may take for the last messages when Run ends.
	lastTime = 3 * time.Second
)

// Notifier turns events into messages. Add is safe for concurrent use.
type Notifier struct {
	cfg  Config
	wake chan struct{} // holds one

	mu      sync.Mutex
	pending []Event
	omitted int
	flushAt time.Time        // when pending is sent; zero where it is empty
	holds   map[string]*hold // by key
}

// hold is a key whose events are held back.
type hold struct {
	until    time.Time
	count    int // of events held back
	last     Event
	isNormal bool // an event that is Normal has been sent
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
	return &Notifier{cfg: cfg, wake: make(chan struct{}, 1), holds: make(map[string]*hold)}
}

// Add takes an event. It does not block. Of more than 500 events for one message it keeps
// the number only.
func (n *Notifier) Add(e Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	e = e.printable()
	e.Changes = 1
	now := time.Now()
	h := n.holds[e.Key]
	switch {
	case h == nil:
		n.holds[e.Key] = &hold{until: now.Add(n.cfg.Hold), isNormal: e.Normal}
	case e.Normal && !h.isNormal:
		e.Changes += h.count
		h.count, h.isNormal = 0, true
	default:
		h.count++
		h.last = e
		return
	}
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

// Run sends messages until ctx ends, then those that are left, for 5 s at most, and returns
// nil. Each sender has a goroutine: one that hangs does not delay the others. An attempt
// that fails is repeated after 30 s and once more after 2 min, unless its error is a
// [PartlySent]. Where 16 messages wait for a sender, further ones are dropped.
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

// next returns the message that is due, nil where there is none, and for how long nothing
// else is. With last, everything is due.
func (n *Notifier) next(now time.Time, last bool) (*Message, time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	wait := time.Hour // Add wakes Run
	for key, h := range n.holds {
		if h.until.After(now) && !last {
			wait = min(wait, h.until.Sub(now))
			continue
		}
		if h.count == 0 {
			delete(n.holds, key)
			continue
		}
		h.last.Changes = h.count
		n.append(h.last, now)
		h.count, h.until, h.isNormal = 0, now.Add(n.cfg.Hold), h.last.Normal
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

// work sends the messages for one sender.
func (n *Notifier) work(ctx context.Context, s Sender, queue <-chan Message) {
	for m := range queue {
		for try := 1; ; try++ {
			err := n.send(ctx, s, m)
			if err == nil {
				break
			}
			n.cfg.OnError(printable.Error(fmt.Errorf("alert: attempt %d of %d: %s: %w", try, attempts, m.Subject, err), maxText))
			if _, some := errors.AsType[*PartlySent](err); some || try == attempts || ctx.Err() != nil || !sleep(ctx, 30*time.Second<<(2*(try-1))) {
				break
			}
		}
	}
}

// send makes one attempt. Where ctx has ended it gets lastTime.
func (n *Notifier) send(ctx context.Context, s Sender, m Message) (err error) {
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.cfg.Timeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lastTime, cancel) })()
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

// sleep reports whether it slept for d: ctx did not end before.
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
