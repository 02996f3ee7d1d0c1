package lb_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest/lab"
)

// faultLab is a golb with two interfaces, each in a network of its own with a client and a
// DSR server, and a service of method NAT whose clients are in the first and whose server is
// in the second.
type faultLab struct {
	t       *testing.T
	lab     *lab.Lab
	nets    [2]subnet
	sw      [2]*lab.Switch
	golb    *lab.Host
	links   [2]*lab.Link
	clients [2]*lab.Host
	servers [2]*lab.Host
	b       *lb.Balancer

	mu      sync.Mutex
	events  []lb.Event
	changed chan struct{} // closed and replaced at each event
}

const (
	faultGolb, faultClient, faultServer = 2, 10, 11 // numbers of hosts in their networks
	faultVIP, faultNATVIP               = 100, 101
)

func newFaultLab(t *testing.T) *faultLab {
	t.Helper()
	if err := lab.Unavailable(); err != nil {
		t.Skip(err)
	}
	l, err := lab.New()
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	x := &faultLab{t: t, lab: l, nets: [2]subnet{frontNet, backNet}, changed: make(chan struct{})}
	x.golb, err = l.Host("golb")
	must(t, err)
	for i := range x.nets {
		x.sw[i] = newSwitch(t, l, fmt.Sprintf("switch%d", i))
		x.clients[i], x.servers[i] = x.host("client", i, faultClient), x.host("server", i, faultServer)
		vip := x.nets[i].at(faultVIP)
		must(t, x.servers[i].SolveARPProblem(vip[0], vip[1]))
		serveHTTP(t, x.servers[i], fmt.Sprintf("server%d", i), httpPort)
	}
	serveHTTP(t, x.servers[1], "nat", natHTTPPort)
	must(t, x.servers[1].DefaultRoute(backNet.at(faultGolb)[0]))
	must(t, x.servers[1].DefaultRoute(backNet.at(faultGolb)[1]))
	return x
}

func (x *faultLab) host(name string, network, number int) *lab.Host {
	x.t.Helper()
	h, err := x.lab.Host(fmt.Sprintf("%s%d", name, network))
	must(x.t, err)
	_, err = x.lab.Attach(h, x.sw[network], lab.LinkConfig{Addrs: x.nets[network].prefixes(number)})
	must(x.t, err)
	return h
}

// plug gives golb its interface in a network.
func (x *faultLab) plug(network int) {
	x.t.Helper()
	var err error
	x.links[network], err = x.lab.Attach(x.golb, x.sw[network], lab.LinkConfig{
		Name: fmt.Sprintf("eth%d", network), Addrs: x.nets[network].prefixes(faultGolb),
	})
	must(x.t, err)
}

// config has services of both families.
func (x *faultLab) config() lb.Config {
	cfg := lb.Config{Interfaces: []string{"eth0", "eth1"}, Workers: 2, MaxConnections: 1 << 14}
	for _, f := range families {
		for i := range x.nets {
			cfg.Services = append(cfg.Services, lb.Service{
				VIP: x.nets[i].at(faultVIP)[f], Port: httpPort, Check: lb.Check{Type: "none"},
				Servers: []lb.Server{{Address: x.nets[i].at(faultServer)[f]}},
			})
		}
		cfg.Services = append(cfg.Services, lb.Service{
			VIP: frontNet.at(faultNATVIP)[f], Port: httpPort, Method: lb.NAT, Check: lb.Check{Type: "none"},
			Servers: []lb.Server{{Address: backNet.at(faultServer)[f], Port: natHTTPPort}},
		})
	}
	return cfg
}

// run starts golb, and ends it with the test.
func (x *faultLab) run(cfg lb.Config) {
	x.t.Helper()
	var err error
	x.b, err = lb.New(cfg, lb.Env{Dial: x.golb.DialContext, OnEvent: x.onEvent})
	must(x.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- x.golb.Do(func() error { return x.b.Run(ctx) }) }()
	x.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			x.t.Errorf("golb: %v", err)
		}
	})
	x.awaitEvent("", lb.EventReady, "", 0)
}

func (x *faultLab) onEvent(e lb.Event) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.events = append(x.events, e)
	close(x.changed)
	x.changed = make(chan struct{})
}

// mark is where the list of events is now.
func (x *faultLab) mark() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.events)
}

// awaitEvent waits for an event about an interface whose reason begins with a text, after a
// mark.
func (x *faultLab) awaitEvent(name string, kind lb.EventKind, reason string, after int) {
	x.t.Helper()
	deadline := time.After(giveUpAfter)
	for {
		x.mu.Lock()
		list, changed := x.events[after:], x.changed
		x.mu.Unlock()
		for _, e := range list {
			if e.Kind == kind && e.Interface == name && strings.HasPrefix(e.Reason, reason) {
				return
			}
		}
		select {
		case <-changed:
		case <-deadline:
			x.t.Fatalf("no event %s %q of %s, only %+v", kind, reason, name, list)
		}
	}
}

// state waits until Stats says that an interface is in a state.
func (x *faultLab) awaitState(number int, state lb.InterfaceState) lb.InterfaceStats {
	x.t.Helper()
	for deadline := time.Now().Add(giveUpAfter); ; time.Sleep(5 * time.Millisecond) {
		all := x.b.Stats().Interfaces
		if all[number].State == state {
			return all[number]
		}
		if time.Now().After(deadline) {
			x.t.Fatalf("interface %d is %+v, want it %s", number, all[number], state)
		}
	}
}

// onLink changes an interface of golb.
func (x *faultLab) onLink(name string, change func(netlink.Link) error) {
	x.t.Helper()
	must(x.t, x.golb.Do(func() error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		return change(link)
	}))
}

// faultFlow is a client that asks a VIP again and again, each time by a connection of its
// own.
type faultFlow struct {
	name   string
	client *http.Client
	url    string
	stop   context.CancelFunc
	done   chan struct{}
	golb   func() lb.Stats

	mu       sync.Mutex
	good     int // since the last failure
	failures []string
}

// flows starts the clients: front and back each stay in their network, across goes from one
// to the other. Of front nothing may be lost.
func (x *faultLab) flows(f family) (front, back, across *faultFlow) {
	x.t.Helper()
	front = x.flow("front", 0, frontNet.at(faultVIP)[f])
	back = x.flow("back", 1, backNet.at(faultVIP)[f])
	across = x.flow("across", 0, frontNet.at(faultNATVIP)[f])
	return front, back, across
}

func (x *faultLab) flow(name string, from int, vip netip.Addr) *faultFlow {
	// Long enough for what is only late on a busy machine: the first three repeats of a SYN.
	timeout := 10 * time.Second
	ctx, stop := context.WithCancel(x.t.Context())
	c := &faultFlow{
		name: name, url: urlOf(vip, 3000), stop: stop, done: make(chan struct{}), golb: x.b.Stats,
		client: &http.Client{Timeout: timeout, Transport: &http.Transport{DialContext: x.clients[from].DialContext, DisableKeepAlives: true}},
	}
	if name != "front" {
		c.client.Timeout = time.Second
	}
	go c.run(ctx)
	x.t.Cleanup(func() { stop(); <-c.done })
	return c
}

func (c *faultFlow) run(ctx context.Context) {
	defer close(c.done)
	for ctx.Err() == nil {
		err := c.ask(ctx)
		if ctx.Err() != nil {
			return
		}
		c.mu.Lock()
		c.good++
		if err != nil {
			c.good = 0
			c.failures = append(c.failures, err.Error())
		}
		c.mu.Unlock()
		time.Sleep(10 * time.Millisecond)
	}
}

func (c *faultFlow) ask(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// comesBack waits until the client has been served some times in a row from now on.
func (c *faultFlow) comesBack(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	c.good = -1 // the one that is under way
	c.mu.Unlock()
	for deadline := time.Now().Add(giveUpAfter); ; time.Sleep(10 * time.Millisecond) {
		c.mu.Lock()
		good, failures := c.good, c.failures
		c.mu.Unlock()
		if good >= 5 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not come back: %q; golb: %+v", c.name, failures[max(0, len(failures)-3):], c.golb())
		}
	}
}

// breaks waits until a request of the client fails that began after now.
func (c *faultFlow) breaks(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	had := len(c.failures)
	c.mu.Unlock()
	for deadline := time.Now().Add(giveUpAfter); ; time.Sleep(10 * time.Millisecond) {
		c.mu.Lock()
		failed := len(c.failures) > had
		c.mu.Unlock()
		if failed {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s goes on without its interface", c.name)
		}
	}
}

// checkUnharmed ends the client, and fails where one of its requests was lost.
func (c *faultFlow) checkUnharmed(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.failures) > 0 {
		t.Errorf("%s lost %d requests: %q", c.name, len(c.failures), c.failures[:min(3, len(c.failures))])
	}
}

// TestFaultLabInterfaces drives one golb through all that can happen to an interface, under
// traffic: only what needs the interface is lost, and it comes back by itself.
func TestFaultLabInterfaces(t *testing.T) {
	for _, f := range families {
		t.Run(f.String(), func(t *testing.T) {
			x := newFaultLab(t)
			x.plug(0)
			x.plug(1)
			x.run(x.config())
			front, back, across := x.flows(f)
			for _, c := range []*faultFlow{front, back, across} {
				c.comesBack(t)
			}
			for _, fault := range interfaceFaults() {
				t.Run(fault.name, func(t *testing.T) {
					x.t = t
					at := x.mark()
					fault.inject(x)
					if fault.reason != "" {
						x.awaitEvent("eth1", fault.kind, fault.reason, at)
					}
					if fault.repair != nil {
						front.comesBack(t)
						across.breaks(t)
						back.breaks(t)
						at = x.mark()
						fault.repair(x)
						x.awaitEvent("eth1", lb.EventInterfaceUp, "", at)
					}
					back.comesBack(t)
					across.comesBack(t)
					front.comesBack(t)
					front.checkUnharmed(t)
				})
			}
		})
	}
}

type interfaceFault struct {
	name   string
	inject func(*faultLab)
	kind   lb.EventKind // of the event that tells it
	reason string
	repair func(*faultLab) // nil where nothing is to be lost for long
}

func interfaceFaults() []interfaceFault {
	up := func(x *faultLab) {
		x.onLink("eth1", netlink.LinkSetUp)
		// The kernel takes IPv6 addresses away with a link that goes down.
		_ = x.golb.AddAddr("eth1", backNet.prefixes(faultGolb)[1])
	}
	rename := func(from, to string) func(*faultLab) {
		return func(x *faultLab) {
			x.onLink(from, func(l netlink.Link) error { return netlink.LinkSetName(l, to) })
		}
	}
	return []interfaceFault{
		{name: "set down", inject: func(x *faultLab) { x.onLink("eth1", netlink.LinkSetDown) }, kind: lb.EventInterfaceDown, reason: "down", repair: up},
		{name: "no carrier", inject: func(x *faultLab) { must(x.t, x.links[1].SetUp(false)) }, kind: lb.EventInterfaceDown, reason: "no carrier",
			repair: func(x *faultLab) { must(x.t, x.links[1].SetUp(true)) }},
		{name: "deleted and made anew", inject: func(x *faultLab) { x.onLink("eth1", netlink.LinkDel) }, kind: lb.EventInterfaceDown, reason: "missing",
			repair: func(x *faultLab) { x.plug(1) }},
		{name: "deleted and made anew at once", inject: func(x *faultLab) { x.onLink("eth1", netlink.LinkDel); x.plug(1) }},
		{name: "renamed", inject: rename("eth1", "lan0"), kind: lb.EventInterface, reason: "name lan0"},
		{name: "renamed back", inject: rename("lan0", "eth1"), kind: lb.EventInterface, reason: "name eth1"},
		{name: "another MAC", inject: func(x *faultLab) {
			x.onLink("eth1", func(l netlink.Link) error {
				return netlink.LinkSetHardwareAddr(l, net.HardwareAddr{2, 0, 0, 0, 9, 9})
			})
		}, kind: lb.EventInterface, reason: fmt.Sprint("MAC ", forward.MAC{2, 0, 0, 0, 9, 9})},
		{name: "a smaller MTU", inject: func(x *faultLab) {
			x.onLink("eth1", func(l netlink.Link) error { return netlink.LinkSetMTU(l, 1400) })
		}, kind: lb.EventInterface, reason: "MTU 1400"},
	}
}
