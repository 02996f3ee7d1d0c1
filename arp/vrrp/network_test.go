package vrrp

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// network is nodes on one switch in virtual time. All that happens does so in one order:
// that of time and, at one time, packets before timers.
type network struct {
	now      time.Time
	nodes    []*node
	flying   []packet
	delay    func() time.Duration // of a packet
	lose     func() bool          // whether a packet is lost
	lateness func() time.Duration // how late timers are
	linked   func(a, b *node) bool
	changed  func(*node) // a node has another state
	quiet    bool        // keep no logs
}

type packet struct {
	at   time.Time
	to   *node
	data []byte
}

// node is a host: it keeps a log of what its instances ask of it.
type node struct {
	net    *network
	cfgs   []Config
	router *Router
	log    []string
	events []Event
	adverts

	up, paused bool
	lostQueue  bool // paused so that packets are lost rather than wait
	queue      [][]byte
	wallOffset time.Duration
	due        time.Time     // the deadline that lateness is for
	lateness   time.Duration // of it
}

// adverts are what a node sent.
type adverts struct{ sent []sentAdvert }

type sentAdvert struct {
	at time.Time
	Advert
}

func newNetwork() *network {
	return &network{
		now:      epoch,
		delay:    func() time.Duration { return time.Millisecond },
		lose:     func() bool { return false },
		lateness: func() time.Duration { return 0 },
		linked:   func(a, b *node) bool { return true },
		changed:  func(*node) {},
	}
}

// add adds a node that is not started.
func (n *network) add(cfgs ...Config) *node {
	x := &node{net: n, cfgs: cfgs}
	for i := range x.cfgs {
		x.cfgs[i].Wall = func(now time.Time) time.Time { return now.Add(x.wallOffset) }
	}
	n.nodes = append(n.nodes, x)
	return x
}

// start boots a node.
func (x *node) start(t testing.TB) *node {
	t.Helper()
	r, err := NewRouter(x, x.cfgs...)
	if err != nil {
		t.Fatal(err)
	}
	x.router, x.up, x.paused, x.queue = r, true, false, nil
	r.Start(x.net.now)
	return x
}

func (x *node) in() *Instance { return x.router.Instances()[0] }

// master reports whether the node is up and is master.
func (x *node) master() bool { return x.up && !x.paused && x.in().State() == StateMaster }

// crash ends a node without a word.
func (x *node) crash() { x.up = false }

// stop ends a node in order.
func (x *node) stop() {
	x.router.Shutdown(x.net.now)
	x.up = false
}

func (x *node) resume() {
	x.paused = false
	for _, p := range x.queue {
		x.receive(p)
	}
	x.queue = nil
	x.router.Tick(x.net.now)
}

// run lets a duration pass.
func (n *network) run(d time.Duration) {
	end := n.now.Add(d)
	for n.step(end) {
	}
	n.now = end
}

// step does what is next up to a time, or returns false.
func (n *network) step(end time.Time) bool {
	at, first, flying := end.Add(1), (*node)(nil), -1
	for i := range n.flying {
		if n.flying[i].at.Before(at) {
			at, flying = n.flying[i].at, i
		}
	}
	for _, x := range n.nodes {
		if !x.up || x.paused {
			continue
		}
		if d := x.deadline(); !d.IsZero() && d.Before(at) {
			at, first = d, x
		}
	}
	switch {
	case at.After(end):
		return false
	case first != nil:
		n.now = later(n.now, at)
		first.router.Tick(n.now)
	default:
		p := n.flying[flying]
		n.flying = append(n.flying[:flying], n.flying[flying+1:]...)
		n.now = later(n.now, at)
		p.to.arrive(p.data)
	}
	return true
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// deadline is when the node gets to what is due, which takes it a while.
func (x *node) deadline() time.Time {
	d := x.router.Deadline()
	if d.IsZero() {
		return d
	}
	if d != x.due {
		x.due, x.lateness = d, x.net.lateness()
	}
	return d.Add(x.lateness)
}

func (x *node) arrive(data []byte) {
	switch {
	case !x.up || x.paused && x.lostQueue:
	case x.paused:
		x.queue = append(x.queue, data)
	default:
		x.receive(data)
	}
}

func (x *node) receive(data []byte) {
	x.router.Receive(x.net.now, x.cfgs[0].Interface, data)
}

func (x *node) Send(in *Instance, dst netip.Addr, data []byte) {
	a, reason := Decode(data)
	if reason != ReasonNone {
		panic(fmt.Sprintf("sent an advert that does not decode: %s: %x", reason, data))
	}
	if x.net.quiet {
		x.sent = x.sent[:0]
	}
	x.sent = append(x.sent, sentAdvert{x.net.now, a})
	x.note(in, "send %d", a.Priority)
	for _, y := range x.net.nodes {
		if y == x || !y.up || !x.net.linked(x, y) || !dst.IsMulticast() && dst != y.cfgs[0].Source || x.net.lose() {
			continue
		}
		x.net.flying = append(x.net.flying, packet{x.net.now.Add(x.net.delay()), y, append([]byte(nil), data...)})
	}
}

func (x *node) Become(in *Instance, s State, why Cause) {
	x.note(in, "%s, %s", s, why)
	x.net.changed(x)
}

func (x *node) Announce(in *Instance, addr netip.Addr) {
	x.note(in, "announce %s", addr)
}

func (x *node) note(in *Instance, format string, args ...any) {
	if !x.net.quiet {
		x.log = append(x.log, in.Name()+": "+fmt.Sprintf(format, args...))
	}
}

func (x *node) Report(_ *Instance, e Event) { x.events = append(x.events, e) }

// reported returns how many events of a kind there were, and forgets them.
func (x *node) reported(k EventKind) int {
	n := 0
	for _, e := range x.events {
		if e.Kind == k {
			n++
		}
	}
	return n
}

// config4 is an instance of VRRP 2 on node n with the address 192.0.2.n.
func config4(n byte, priority uint8) Config {
	return Config{
		Name: "v", VRID: 51, Version: 2, Priority: priority, Source: netip.AddrFrom4([4]byte{192, 0, 2, n}),
		Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.100")},
	}
}

// config6 is an instance of VRRP 3 over IPv6.
func config6(n byte, priority uint8) Config {
	c := config4(n, priority)
	c.Version, c.Source = 3, netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 15: n})
	c.Addresses = []netip.Addr{netip.MustParseAddr("fe80::100"), netip.MustParseAddr("2001:db8::100")}
	return c
}
