package lb_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest"
)

// faultyHost is a balancer on two wires, front and back, whose host's routes and neighbors
// a test changes while it runs. Use it in a bubble of testing/synctest.
type faultyHost struct {
	t        testing.TB
	balancer *lb.Balancer
	cfg      lb.Config
	wires    map[string]*lbtest.Wire
	changes  chan struct{}

	ifaceChanges chan struct{}

	mu     sync.Mutex
	ifaces map[string]lb.HostInterface // those that the host has
	routes map[netip.Addr]faultyRoute  // addresses that are not here are on the back
	links  map[string]*faultyLink
	events []lb.Event
	sent   []sentFrame
}

type faultyRoute struct {
	lb.Route
	err error
}

// sentFrame is a frame that golb sent on a wire.
type sentFrame struct {
	wire string
	to   forward.MAC
	data []byte
}

// faultyMACs are golb's.
var faultyMACs = map[string]forward.MAC{"front": {2, 0, 0, 0, 0, 2}, "back": {2, 0, 0, 0, 0, 3}}

var errNoRoute = errors.New("no route: so says the test")

// newFaultyHost makes a host whose routes and neighbors a test may set before it runs golb.
func newFaultyHost(t testing.TB) *faultyHost {
	h := &faultyHost{
		t: t, wires: map[string]*lbtest.Wire{}, changes: make(chan struct{}, 1),
		routes: map[netip.Addr]faultyRoute{}, links: map[string]*faultyLink{},
		ifaces: map[string]lb.HostInterface{}, ifaceChanges: make(chan struct{}, 1),
	}
	for name, mac := range faultyMACs {
		h.wires[name] = lbtest.NewWire()
		h.ifaces[name] = lb.HostInterface{Index: len(h.ifaces) + 1, Name: name, MAC: mac, MTU: 1500, Up: true, Carrier: true}
		h.links[name] = &faultyLink{host: h, at: map[netip.Addr]faultyNeighbor{}, asked: map[*faultyQuestion]bool{}}
		h.wires[name].Sniff(func(f lbtest.Frame) {
			if src := forward.MAC(f.Data[6:]); src == mac || src == h.ifaces[name].MAC {
				h.sent = append(h.sent, sentFrame{name, forward.MAC(f.Data), f.Data})
			}
		})
	}
	return h
}

// run runs golb until stop is called.
func (h *faultyHost) run(cfg lb.Config) (stop func()) {
	h.t.Helper()
	h.cfg = h.configured(cfg)
	var err error
	if h.balancer, err = lb.New(h.cfg, h.env()); err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.balancer.Run(ctx) }()
	synctest.Wait()
	return func() {
		cancel()
		if err := <-done; err != nil {
			h.t.Errorf("Run: %v", err)
		}
	}
}

func (h *faultyHost) configured(cfg lb.Config) lb.Config {
	cfg.Interfaces, cfg.Workers, cfg.MaxConnections = []string{"front", "back"}, 1, 1<<10
	return cfg
}

func (h *faultyHost) env() lb.Env {
	return lb.Env{
		OnEvent: func(e lb.Event) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.events = append(h.events, e)
		},
		OpenPorts: func(c lb.PortConfig) ([]lb.Port, error) {
			mac := faultyMACs[c.Interface]
			if c.SendOnly {
				return []lb.Port{sendOnly{h.wires[c.Interface].Port(nobodyMAC, 1500), mac}}, nil
			}
			return []lb.Port{h.wires[c.Interface].Port(mac, 1500)}, nil
		},
		OpenLink: func(c lb.LinkConfig) (lb.Link, error) { return &openedLink{h.links[c.Interface]}, nil },
		Route: func(to netip.Addr) (lb.Route, error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			if r, ok := h.routes[to]; ok {
				return r.Route, r.err
			}
			return lb.Route{Interface: "back", Source: server4(200)}, nil
		},
		RoutesChanged:  h.changes,
		OpenInterfaces: func() (lb.InterfaceMonitor, error) { return &faultyMonitor{host: h, closed: make(chan struct{})}, nil },
	}
}

// route sets the route to an address, and has golb hear of a change.
func (h *faultyHost) route(to netip.Addr, r lb.Route, err error) {
	h.mu.Lock()
	h.routes[to] = faultyRoute{r, err}
	h.mu.Unlock()
	select {
	case h.changes <- struct{}{}:
	default:
	}
}

// iface changes an interface, nil takes it away, and has golb hear of it.
func (h *faultyHost) iface(name string, to *lb.HostInterface) {
	h.mu.Lock()
	if to == nil {
		delete(h.ifaces, name)
	} else {
		h.ifaces[name] = *to
	}
	h.mu.Unlock()
	select {
	case h.ifaceChanges <- struct{}{}:
	default:
	}
}

// faultyMonitor is an lb.InterfaceMonitor.
type faultyMonitor struct {
	host   *faultyHost
	asked  bool
	closed chan struct{}
	close  sync.Once
}

func (m *faultyMonitor) Next() (list []lb.HostInterface, err error) {
	if m.asked {
		select {
		case <-m.host.ifaceChanges:
		case <-m.closed:
			return nil, net.ErrClosed
		}
	}
	m.asked, list = true, []lb.HostInterface{}
	m.host.mu.Lock()
	defer m.host.mu.Unlock()
	for _, i := range m.host.ifaces {
		list = append(list, i)
	}
	return list, nil
}

func (m *faultyMonitor) Close() error {
	m.close.Do(func() { close(m.closed) })
	return nil
}

// connect sends a SYN of a client, and returns the server that it went to by its MAC, zero
// where golb passed none on.
func (h *faultyHost) connect(from netip.AddrPort) (to sentFrame) {
	return h.send("front", lbtest.Packet{SrcMAC: clientMAC, DstMAC: faultyMACs["front"], Src: from, Dst: netip.AddrPortFrom(vip4, 80), Flags: forward.FlagSYN})
}

// send injects a packet and returns the frame that golb sent because of it, the zero value
// where there was none.
func (h *faultyHost) send(wire string, p lbtest.Packet) (out sentFrame) {
	h.t.Helper()
	h.sent = nil
	h.wires[wire].Inject(p.Frame())
	for _, w := range h.wires {
		w.Inject()
	}
	switch {
	case len(h.sent) > 1:
		h.t.Fatalf("%d frames were sent for one", len(h.sent))
	case len(h.sent) == 1:
		out = h.sent[0]
	}
	return out
}

// happened returns the events of some kinds since the last call.
func (h *faultyHost) happened(kinds ...lb.EventKind) (list []lb.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.events {
		if slices.Contains(kinds, e.Kind) {
			list = append(list, e)
		}
	}
	h.events = nil
	return list
}

// reasons are why the servers of a service are down, "" for those that are up.
func (h *faultyHost) reasons(service int) (list []string) {
	for _, s := range h.balancer.Stats().Services[service].Servers {
		if s.Up != (s.Reason == "") {
			h.t.Errorf("server %s is up: %v, with reason %q", s.Name, s.Up, s.Reason)
		}
		list = append(list, s.Reason)
	}
	return list
}

// faultyLink knows where neighbors are, and which of them answer. Those that it was not
// told of are at serverMAC.
type faultyLink struct {
	lbtest.Link
	host  *faultyHost
	empty bool                          // only those that it was told of answer
	at    map[netip.Addr]faultyNeighbor // guarded by host.mu, as what follows
	asked map[*faultyQuestion]bool
}

type faultyNeighbor struct {
	mac    forward.MAC
	silent bool
}

type faultyQuestion struct {
	addr    netip.Addr
	changed func(mac [6]byte, ok bool)
	known   bool
	mac     forward.MAC
}

// openedLink is a faultyLink as it was opened once: golb tells by it which has answered.
type openedLink struct{ *faultyLink }

func (l *faultyLink) Resolve(addr netip.Addr, changed func(mac [6]byte, ok bool)) (stop func()) {
	q := &faultyQuestion{addr: addr, changed: changed}
	l.host.mu.Lock()
	l.asked[q] = true
	l.host.mu.Unlock()
	l.tell(q)
	return func() {
		l.host.mu.Lock()
		defer l.host.mu.Unlock()
		delete(l.asked, q)
	}
}

// set changes a neighbor, and tells who asked.
func (l *faultyLink) set(addr netip.Addr, n faultyNeighbor) {
	l.host.mu.Lock()
	l.at[addr] = n
	var ask []*faultyQuestion
	for q := range l.asked {
		if q.addr == addr {
			ask = append(ask, q)
		}
	}
	l.host.mu.Unlock()
	for _, q := range ask {
		l.tell(q)
	}
}

// tell tells what is new, as package arp does: nothing of a neighbor that never answered.
func (l *faultyLink) tell(q *faultyQuestion) {
	l.host.mu.Lock()
	n, ok := l.at[q.addr]
	if !ok {
		n.mac, n.silent = serverMAC(q.addr), l.empty
	}
	mac, known := n.mac, !n.silent
	if !known {
		mac = q.mac
	}
	news := known != q.known || known && mac != q.mac
	q.known, q.mac = known, mac
	l.host.mu.Unlock()
	if news {
		q.changed(mac, known)
	}
}

// following is how many addresses the link has been asked to follow.
func (l *faultyLink) following() int {
	l.host.mu.Lock()
	defer l.host.mu.Unlock()
	return len(l.asked)
}

// segment sends a segment of an established connection.
func (h *faultyHost) segment(from netip.AddrPort) sentFrame {
	return h.send("front", lbtest.Packet{SrcMAC: clientMAC, DstMAC: faultyMACs["front"], Src: from, Dst: netip.AddrPortFrom(vip4, 80), Flags: forward.FlagACK})
}
