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

// Link is the ARP and ND side of one interface. Its methods are safe for concurrent
// use.
type Link struct {
	cfg  Config
	wire wire
	done chan struct{} // closed by Close

	closing sync.Once
	closed  error // of closing the sockets

	setting sync.Mutex          // held by SetVIPs, which waits for the kernel
	joined  map[membership]bool // what the VIPs need

	mu      sync.Mutex // guards what follows down to notices
	ran     bool
	m       *machine
	frames  [][]byte      // to send; the loop of Run sends
	after   []func()      // to call once these are sent
	notices []*notice     // to be made, in order; callBack makes them
	more    chan struct{} // frames, after or timers have changed
	noticed chan struct{} // notices have
}

// protocol is one of the two that a wire carries.
type protocol int

const (
	ipv4ARP protocol = iota
	ipv6ND
)

// wire is what a link needs of an interface. Receive and Wait block; they, and the
// rest, fail with net.ErrClosed after Close.
type wire interface {
	// Receive reads one frame of the protocol from its Ethernet header on. One that is
	// longer than buf is cut.
	Receive(p protocol, buf []byte) (int, error)
	// Send writes one frame.
	Send(frame []byte) error
	// Join makes the interface receive what the membership is for, until Leave. Each is
	// joined once.
	Join(membership) error
	Leave(membership) error
	// Dropped returns how many received frames the sockets had no room for. It does not
	// block, and works after Close.
	Dropped() uint64
	// Wait returns the state of the interface once it may have changed. It fails where
	// the interface is gone.
	Wait() (state, error)
	Close() error
}

// membership is one of two things that an interface receives in addition to what it
// always does: frames to a solicited-node multicast group, which MLD then reports, or
// frames to a MAC that is not its own.
type membership struct {
	group netip.Addr // invalid: it is for mac
	mac   mac
}

func (m membership) String() string {
	if m.group.IsValid() {
		return "multicast group " + m.group.String()
	}
	return "MAC " + hardware(m.mac).String()
}

// maxFrames bounds what waits to be sent while the interface takes nothing.
const maxFrames = 1 << 15

// frameLen is enough for an NS or NA with any options that mean something to us.
const frameLen = 1514

// Open opens the sockets on an interface; it needs CAP_NET_RAW in the network namespace
// of the calling thread, which is the one that the link stays in. Nothing is answered
// or sent until Run; who does not call Run calls Close.
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
		done:    make(chan struct{}),
		joined:  map[membership]bool{},
		m:       newMachine(cfg, s),
		more:    make(chan struct{}, 1),
		noticed: make(chan struct{}, 1),
	}
	l.m.random = rand.Float64
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
			poke(l.noticed)
		}
	}
	l.m.afterSend = func(call func()) { l.after = append(l.after, call) }
	return l
}

// Run serves the link until ctx ends or Close is called, when it returns nil, or until
// the interface is deleted or a socket fails, when it returns why. It sits out a link
// that is down, and announces the VIPs again when it is up. On return the sockets are
// closed and no goroutine is left; it waits for calls of OnConflict and Resolve under
// way. A link runs once.
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
		once    sync.Once
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
				once.Do(func() { failure = fmt.Errorf("arp: %s: %w", l.cfg.Interface, err) })
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

// Close closes the sockets and ends Run; calls under way fail with net.ErrClosed. After
// Run it need not be called.
func (l *Link) Close() error {
	l.closing.Do(func() {
		close(l.done)
		l.closed = l.wire.Close()
	})
	return l.closed
}

// Resolve keeps changed informed of where addr, an address on the link, is. It asks at
// once, and each Retry for as long as nobody answers; confirms a known MAC each Refresh
// by asking that host alone, then everybody; and follows a change of MAC seen in any
// answer or announcement. changed is called where the MAC becomes known or another one,
// and with ok false where three questions in a row went unanswered; mac then is the
// last known, and the questions go on. Nothing is told of an address that never
// answered.
//
// Calls are made one at a time, in order, from one goroutine of Run; they may use the
// link but must not wait for it. After stop at most a call under way goes on. An
// address that no host can have is logged, and never resolved.
func (l *Link) Resolve(addr netip.Addr, changed func(mac [6]byte, ok bool)) (stop func()) {
	a, err := checkAddr(addr)
	if err != nil {
		l.do(func(m *machine, now time.Time) {
			m.logLimited(m.logs.unfit, now, slog.LevelError, "arp: cannot resolve", "error", err)
		})
		return func() {}
	}
	s := &subscriber{changed: changed}
	l.do(func(m *machine, now time.Time) { m.resolve(a, s, now) })
	return func() { l.do(func(m *machine, _ time.Time) { m.unsubscribe(a, s) }) }
}

// do runs f on the machine, and lets the loop see to what follows.
func (l *Link) do(f func(m *machine, now time.Time)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(l.m, time.Now())
	poke(l.more)
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

// loop is the one goroutine with a timer, and the one that sends.
func (l *Link) loop() {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		l.mu.Lock()
		l.m.timers.run(time.Now())
		frames, after := l.frames, l.after
		l.frames, l.after = nil, nil
		next, ok := l.m.timers.next()
		l.mu.Unlock()

		l.sendAll(frames)
		for _, call := range after {
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
			l.m.unsent(err, time.Now())
			l.mu.Unlock()
		}
	}
}

// callBack makes the calls of notices, without the lock, so that they may use the link.
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

// nextCall takes the first notice from the queue; ok is false where there is none.
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

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
