package arp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Link is ARP and ND on one interface. It is made by Open and works while Run does. Its
// methods may be called at any time and from any goroutine; what they ask for before Run
// begins with it.
type Link struct {
	cfg  Config
	wire wire
	done chan struct{} // closed by Close

	closing sync.Once
	closed  error // of closing the sockets

	vipsMu      sync.Mutex          // held by SetVIPs while it calls the kernel; locked before mu
	memberships map[membership]bool // what the VIPs need; guarded by vipsMu

	mu        sync.Mutex // guards ran, m, frames, callbacks and notices
	ran       bool
	m         *machine
	frames    [][]byte  // to send; the loop of Run sends
	callbacks []func()  // to call once these are sent
	notices   []*notice // to deliver, in order; callBack does

	more    chan struct{} // has an element after frames, after or timers changed
	noticed chan struct{} // has an element after notices changed
}

// protocol is ARP or ND.
type protocol int

const (
	ipv4ARP protocol = iota
	ipv6ND
)

// wire is what a link needs of an interface. Receive and Wait block. After Close all
// methods that return an error return net.ErrClosed.
type wire interface {
	// Receive reads one frame of the protocol into buf, from its Ethernet header on, and
	// returns its length. What does not fit is lost.
	Receive(p protocol, buf []byte) (int, error)
	// Send writes one frame.
	Send(frame []byte) error
	// Join makes the interface receive what the membership is for; Leave undoes it. No
	// membership is joined twice.
	Join(membership) error
	Leave(membership) error
	// Dropped returns how many received frames the sockets had no room for so far.
	Dropped() uint64
	// Wait waits until the state of the interface may have changed, and returns it. It
	// fails once the interface is deleted.
	Wait() (state, error)
	Close() error
}

// membership makes an interface receive frames to a solicited-node multicast group, which
// MLD then reports, or frames to another MAC than its own.
type membership struct {
	group netip.Addr // not valid: the membership is for mac
	mac   mac
}

func (m membership) String() string {
	if m.group.IsValid() {
		return "multicast group " + m.group.String()
	}
	return "MAC " + hardware(m.mac).String()
}

// maxFrames is how many frames wait to be sent; more are dropped.
const maxFrames = 1 << 15

// frameLen is the longest frame that is read: an Ethernet header and 1500 bytes. Options of
// ND beyond that are not needed.
const frameLen = 1514

// Open opens the sockets of a link, in the network namespace of the calling thread; the
// link stays in that namespace. Nothing is sent and nothing answered before Run. A link
// that is not run must be closed.
//
// Open fails if cfg is wrong, naming every mistake, if there is no such interface, if it is
// not an Ethernet one, or for want of CAP_NET_RAW.
func Open(cfg Config) (*Link, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("arp: %w", err)
	}
	w, s, err := openWire(cfg)
	if err != nil {
		return nil, fmt.Errorf("arp: %s: %w", cfg.Interface, err)
	}
	return newLink(cfg, w, s), nil
}

func newLink(cfg Config, w wire, s state) *Link {
	l := &Link{
		cfg: cfg, wire: w,
		done:        make(chan struct{}),
		memberships: map[membership]bool{},
		m:           newMachine(cfg, s),
		more:        make(chan struct{}, 1),
		noticed:     make(chan struct{}, 1),
	}
	l.m.random = rand.Float64
	l.m.dropped = w.Dropped
	l.m.send = func(f []byte) bool {
		if len(l.frames) == maxFrames {
			return false
		}
		l.frames = append(l.frames, f)
		return true
	}
	l.m.notify = func(n *notice) {
		if !n.queued {
			n.queued = true
			l.notices = append(l.notices, n)
			wake(l.noticed)
		}
	}
	l.m.afterSend = func(call func()) { l.callbacks = append(l.callbacks, call) }
	return l
}

// Run serves the link. It returns nil after ctx ends or Close is called, and an error
// after the interface is deleted or a socket fails. A link that goes down is waited for;
// when it is up again VIPs are announced and neighbors asked anew. Before Run returns it
// closes the sockets, and waits for calls to Config's and Resolve's functions that have
// begun. A link runs once.
func (l *Link) Run(ctx context.Context) error {
	l.mu.Lock()
	ran := l.ran
	l.ran = true
	l.mu.Unlock()
	if ran {
		return fmt.Errorf("arp: %s: run twice", l.cfg.Interface)
	}
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var (
		wg      sync.WaitGroup
		first   sync.Once
		failure error
	)
	for _, serve := range []func() error{
		func() error { return l.receive(ipv4ARP) },
		func() error { return l.receive(ipv6ND) },
		l.follow,
		l.callBack,
	} {
		wg.Go(func() {
			if err := serve(); err != nil && !errors.Is(err, net.ErrClosed) {
				first.Do(func() { failure = fmt.Errorf("arp: %s: %w", l.cfg.Interface, err) })
				l.Close()
			}
		})
	}
	l.loop()
	wg.Wait()
	if failure != nil {
		return failure
	}
	return l.Close()
}

// Close closes the sockets and ends Run. Calls of Probe and Announce that wait fail with
// net.ErrClosed. After Run has returned, Close does nothing.
func (l *Link) Close() error {
	l.closing.Do(func() {
		close(l.done)
		l.closed = l.wire.Close()
	})
	return l.closed
}

// Resolve finds the MAC of addr, an address on the link, and follows it until stop is
// called. It asks at once, and again every Config.Retry for as long as there is no answer.
// A known MAC is confirmed every Config.Refresh, by a request to it alone. If that is not
// answered, all hosts are asked every Retry; after three requests without an answer the
// neighbor is silent. Requests go on, and its MAC is known again when it answers or claims
// addr.
//
// A claim of addr for another MAC moves the neighbor there only if the known MAC leaves
// three requests unanswered, 100 ms apart (see "Conflicts"). A neighbor that is silent
// moves at once.
//
// changed is called with ok true when the MAC becomes known and when it changes, and with
// ok false and the last known MAC when the neighbor becomes silent. It is not called for
// an address that never answered. It is told what is true at the time of the call: where
// it takes long, changes in between are left out. Calls of changed, for all addresses, and
// of Config's functions are made one at a time by a goroutine of Run; they may use the
// link, but waiting for Probe or Announce in them delays the others. After stop has
// returned, changed is called at most once more.
//
// Several calls of Resolve may follow the same address; it is asked for once. An address
// that no host can have (unspecified, loopback, multicast) is logged and not resolved.
func (l *Link) Resolve(addr netip.Addr, changed func(mac [6]byte, ok bool)) (stop func()) {
	a, err := checkAddr(addr)
	if err != nil {
		l.do(func(m *machine, now time.Time) {
			m.logLimited(&m.logs.badAddress, now, slog.LevelError, "arp: cannot resolve", "error", err)
		})
		return func() {}
	}
	s := &subscriber{changed: changed}
	l.do(func(m *machine, now time.Time) { m.resolve(a, s, now) })
	return func() { l.do(func(m *machine, _ time.Time) { m.unsubscribe(a, s) }) }
}

// do runs f on the machine. The loop then sends what f has left to send.
func (l *Link) do(f func(m *machine, now time.Time)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(l.m, time.Now())
	wake(l.more)
}

func (l *Link) receive(p protocol) error {
	buf := make([]byte, frameLen)
	for {
		n, err := l.wire.Receive(p, buf)
		if err != nil {
			return err
		}
		l.do(func(m *machine, now time.Time) { m.input(buf[:n], now) })
	}
}

func (l *Link) follow() error {
	for {
		s, err := l.wire.Wait()
		if err != nil {
			return err
		}
		l.do(func(m *machine, now time.Time) { m.setLink(s, now) })
	}
}

// loop runs the machine's timers, and sends its frames.
func (l *Link) loop() {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		l.mu.Lock()
		l.m.timers.run(time.Now())
		frames, callbacks := l.frames, l.callbacks
		l.frames, l.callbacks = nil, nil
		next, ok := l.m.timers.next()
		l.mu.Unlock()

		l.sendAll(frames)
		for _, call := range callbacks {
			call()
		}
		t.Stop()
		if ok {
			t.Reset(time.Until(next))
		}
		select {
		case <-t.C:
		case <-l.more:
		case <-l.done:
			return
		}
	}
}

func (l *Link) sendAll(frames [][]byte) {
	for _, f := range frames {
		if err := l.wire.Send(f); err != nil {
			l.mu.Lock()
			l.m.sendFailed(err, time.Now())
			l.mu.Unlock()
		}
	}
}

// callBack delivers notices, without holding mu, so that what they call may use the link.
func (l *Link) callBack() error {
	for {
		select {
		case <-l.noticed:
		case <-l.done:
			return nil
		}
		for call, ok := l.nextCall(); ok; call, ok = l.nextCall() {
			if call != nil {
				call()
			}
		}
	}
}

// nextCall takes the first notice from the queue and returns the call to make, nil if there
// is nothing to say any more. ok is false if there is no notice.
func (l *Link) nextCall() (call func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.notices) == 0 {
		return nil, false
	}
	n := l.notices[0]
	l.notices = l.notices[1:]
	n.queued = false
	return n.prepare(), true
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
