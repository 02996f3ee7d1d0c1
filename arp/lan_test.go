package arp

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// lan is a hub in memory: every port hears every frame, group frames for a
// solicited-node address only where it joined. Made and used inside a synctest bubble.
type lan struct {
	t     *testing.T
	mu    sync.Mutex
	ports []*port
	sent  []sentFrame
}

// heard is a frame as it was sent.
type sentFrame struct {
	message
	from *port
	at   time.Time
}

// port implements wire.
type port struct {
	lan     *lan
	in      [2]chan []byte
	states  chan state
	state   state
	closed  chan struct{}
	gone    error
	dropped atomic.Uint64
	sendErr error
	deaf    bool // the switch passes it nothing

	members  map[membership]bool
	joinErr  func(membership) error // what Join fails with; nil: it does not
	leaveErr error
}

func (p *port) Receive(proto protocol, buf []byte) (int, error) {
	select {
	case f := <-p.in[proto]:
		return copy(buf, f), nil
	case <-p.closed:
		return 0, net.ErrClosed
	}
}

func (p *port) Send(frame []byte) error {
	select {
	case <-p.closed:
		return net.ErrClosed
	default:
	}
	p.lan.mu.Lock()
	err := p.sendErr
	p.lan.mu.Unlock()
	if err != nil {
		return err
	}
	p.lan.send(p, frame)
	return nil
}

func (n *lan) send(from *port, frame []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	m, err := parse(frame)
	if err != nil {
		n.t.Errorf("frame sent is malformed: %v: %x", err, frame)
	}
	n.sent = append(n.sent, sentFrame{m, from, time.Now()})
	proto := ipv4ARP
	if frame[12] == etherTypeIPv6>>8 {
		proto = ipv6ND
	}
	for _, p := range n.ports {
		if p == from || p.deaf || !p.state.up || !p.hears(m.dst) {
			continue
		}
		select {
		case p.in[proto] <- slices.Clone(frame):
		default:
			n.t.Error("a port's queue is full")
		}
	}
}

// hears is the multicast filter of a card.
func (p *port) hears(dst mac) bool {
	if dst[0] != 0x33 || dst[2] != 0xff {
		return true
	}
	for m := range p.members {
		if m.group.IsValid() && groupMAC(m.group) == dst {
			return true
		}
	}
	return false
}

func (p *port) Join(m membership) error {
	p.lan.mu.Lock()
	defer p.lan.mu.Unlock()
	if p.joinErr != nil {
		if err := p.joinErr(m); err != nil {
			return err
		}
	}
	if p.members[m] {
		p.lan.t.Errorf("%s joined twice", m)
	}
	p.members[m] = true
	return nil
}

func (p *port) Leave(m membership) error {
	p.lan.mu.Lock()
	defer p.lan.mu.Unlock()
	if !p.members[m] {
		p.lan.t.Errorf("%s left but not joined", m)
	}
	delete(p.members, m)
	return p.leaveErr
}

func (p *port) Dropped() uint64 { return p.dropped.Load() }

func (p *port) Wait() (state, error) {
	select {
	case s := <-p.states:
		return s, p.gone
	case <-p.closed:
		return state{}, net.ErrClosed
	}
}

func (p *port) Close() error {
	close(p.closed)
	return nil
}

// set changes what the host says of the interface.
func (p *port) set(change func(*state)) {
	p.lan.mu.Lock()
	change(&p.state)
	s := p.state
	p.lan.mu.Unlock()
	p.states <- s
	synctest.Wait()
}

// sent returns what the port sent since the last call of reset.
func (p *port) sent() []sentFrame {
	p.lan.mu.Lock()
	defer p.lan.mu.Unlock()
	var hs []sentFrame
	for _, h := range p.lan.sent {
		if h.from == p {
			hs = append(hs, h)
		}
	}
	return hs
}

// announcements are what the port announced since then.
func (p *port) announcements() []sentFrame {
	return slices.DeleteFunc(p.sent(), func(h sentFrame) bool {
		return !group(h.dst) || !h.override || h.asked.IsValid() && h.asked != h.claimed
	})
}

func (n *lan) reset() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sent = nil
}

// inject sends a frame of nobody's.
func (n *lan) inject(frame []byte) {
	n.send(nil, frame)
	synctest.Wait()
}

// port adds a port at the given MAC number and host addresses.
func (n *lan) port(number byte, addrs ...string) *port {
	p := &port{
		lan: n, in: [2]chan []byte{make(chan []byte, 1<<14), make(chan []byte, 1<<14)},
		states: make(chan state), closed: make(chan struct{}), members: map[membership]bool{},
		state: state{mac: macOf(number), up: true},
	}
	for _, a := range addrs {
		p.state.addrs = append(p.state.addrs, netip.MustParsePrefix(a))
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ports = append(n.ports, p)
	return p
}

// host adds a running link on a port of its own.
func (n *lan) host(cfg Config, number byte, addrs ...string) (*Link, *port) {
	n.t.Helper()
	p := n.port(number, addrs...)
	cfg.Interface = "eth0"
	cfg, err := cfg.withDefaults()
	must(n.t, err)
	l := newLink(cfg, p, p.state)
	ctx, cancel := context.WithCancel(n.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	n.t.Cleanup(func() {
		cancel()
		must(n.t, <-ended)
	})
	return l, p
}

// neighbor adds a running link at MAC 2 that answers for address 2.
func (n *lan) neighbor(w nums) (*Link, *port) {
	n.t.Helper()
	l, p := n.host(Config{}, 2)
	must(n.t, l.SetVIPs(vipsAt(mac{}, w.addr(2))))
	return l, p
}

// inLAN runs f in virtual time, once per protocol.
func inLAN(t *testing.T, f func(n *lan, nw nums)) {
	for _, nw := range []nums{v4, v6} {
		t.Run(nw.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(&lan{t: t}, nw) })
		})
	}
}

// nums makes addresses of one protocol by number.
type nums struct {
	name string
	base netip.Addr
	bits string
}

var (
	v4 = nums{"IPv4", netip.MustParseAddr("192.0.2.0"), "/24"}
	v6 = nums{"IPv6", netip.MustParseAddr("2001:db8::"), "/64"}
)

func (w nums) addr(i byte) netip.Addr {
	b := w.base.AsSlice()
	b[len(b)-1] = i
	a, _ := netip.AddrFromSlice(b)
	return a
}

func (w nums) host(i byte) string { return w.addr(i).String() + w.bits }

// vipsAt makes VIPs at one MAC.
func vipsAt(m mac, addrs ...netip.Addr) []VIP {
	vips := make([]VIP, len(addrs))
	for i, a := range addrs {
		vips[i] = VIP{Addr: a, MAC: m}
	}
	return vips
}

func macOf(i byte) mac { return mac{0x02, 0, 0, 0, 0, i} }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
