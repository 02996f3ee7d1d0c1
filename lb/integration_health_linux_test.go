package lb_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest/lab"
)

// faultyServer is a server into which tests inject faults.
type faultyServer struct {
	t    *testing.T
	name string
	host *lab.Host
	link *lab.Link
	vips pair
	port int
	at   pair
	web  *exec.Cmd
}

func (m *faultyServer) start() {
	m.web = exec.Command("/proc/self/exe")
	m.web.Env = append(os.Environ(), fmt.Sprintf("%s=%d", serveVar, m.port), serveVar+"_NAME="+m.name)
	must(m.t, m.host.Start(m.web))
}

func (m *faultyServer) killProcess() {
	must(m.t, m.web.Process.Kill())
	_ = m.web.Wait() // says that it was killed
}

func (m *faultyServer) nft(script string) {
	m.t.Helper()
	must(m.t, m.host.Do(func() error {
		cmd := exec.Command("nft", "-f", "-")
		cmd.Stdin = strings.NewReader(script)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("nft: %w: %s", err, out)
		}
		return nil
	}))
}

// fault is a way in which a server fails, and how it is repaired.
type fault struct {
	name       string
	does, undo func(*faultyServer)
	methods    []lb.Method
}

func faults() []fault {
	all := []lb.Method{lb.DSR, lb.NAT, lb.TUN}
	return []fault{
		{"process killed", (*faultyServer).killProcess, (*faultyServer).start, all},
		{"link cut",
			func(m *faultyServer) { must(m.t, m.link.SetUp(false)) },
			func(m *faultyServer) { must(m.t, m.link.SetUp(true)) }, all},
		{"firewall drops",
			func(m *faultyServer) {
				m.nft("table inet wall { chain input { type filter hook input priority 0; policy drop; icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept; }; }")
			},
			func(m *faultyServer) { m.nft("delete table inet wall") }, all},
		{"VIP removed",
			func(m *faultyServer) {
				for _, vip := range m.vips {
					must(m.t, m.host.DelAddr("lo", netip.PrefixFrom(vip, vip.BitLen())))
				}
			},
			func(m *faultyServer) {
				for _, vip := range m.vips {
					must(m.t, m.host.AddAddr("lo", netip.PrefixFrom(vip, vip.BitLen())))
				}
			}, []lb.Method{lb.DSR, lb.TUN}},
	}
}

// faultSite is a test network with three servers of one method.
type faultSite struct {
	*testNetwork
	method  lb.Method
	servers []*faultyServer // of all services
	events  chan timedEvent
	dials   sync.Map // checks by address: *atomic.Int64
}

// timedEvent is an event, with the number of checks that each server's own address had had by then.
type timedEvent struct {
	lb.Event
	checks map[netip.Addr]int64
}

const (
	wardInterval = 200 * time.Millisecond
	wardTimeout  = time.Second
	wardFall     = 2
	// wardSlack is what a busy machine may add to what the config promises.
	wardSlack = time.Minute
)

func newFaultSite(t *testing.T, method lb.Method) *faultSite {
	t.Helper()
	x := &faultSite{testNetwork: newTestNetwork(t, 0), method: method, events: make(chan timedEvent, 1000)}
	vips := frontNet.at(100)
	for n := range 3 {
		m := &faultyServer{t: t, name: fmt.Sprintf("s%d", n), host: x.host(fmt.Sprintf("s%d", n)), vips: vips, port: httpPort, at: frontNet.at(20 + n)}
		link, err := x.lab.Attach(m.host, x.front, lab.LinkConfig{Addrs: frontNet.prefixes(20 + n)})
		must(t, err)
		m.link = link
		if method == lb.NAT {
			m.port = natHTTPPort
			x.route(m.host, subnet{}, golbAt)
		} else {
			x.route(m.host, subnet{}, edgeAt)
			must(t, m.host.SolveARPProblem(vips[:]...))
		}
		if method == lb.TUN {
			_, err := m.host.Decapsulate(lab.DecapConfig{})
			must(t, err)
		}
		m.start()
		t.Cleanup(m.killProcess)
		x.servers = append(x.servers, m)
	}
	return x
}

func (x *faultSite) config(edit func(*lb.Service)) lb.Config {
	cfg := lb.Config{Interfaces: []string{"eth0"}, MaxConnections: 1 << 12}
	for _, f := range families {
		s := lb.Service{
			VIP: x.servers[0].vips[f], Port: httpPort, Method: x.method, Scheduler: "rr",
			Check: lb.Check{Interval: wardInterval, Timeout: wardTimeout, Fall: wardFall, Through: "vip"},
		}
		for _, m := range x.servers {
			r := lb.Server{Name: m.name, Address: m.at[f]}
			if x.method == lb.NAT {
				r.Port = natHTTPPort
			}
			s.Servers = append(s.Servers, r)
		}
		edit(&s)
		cfg.Services = append(cfg.Services, s)
	}
	return cfg
}

// env counts what checks connect to, and keeps events.
func (x *faultSite) env() lb.Env {
	env := lb.Env{}
	env.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		n, _ := x.dials.LoadOrStore(netip.MustParseAddrPort(address).Addr(), new(atomic.Int64))
		n.(*atomic.Int64).Add(1)
		return x.golb.DialContext(ctx, network, address)
	}
	env.OnEvent = func(e lb.Event) { x.events <- timedEvent{e, x.checks()} }
	return env
}

// checks is how many checks of each server's own address there have been.
func (x *faultSite) checks() map[netip.Addr]int64 {
	all := map[netip.Addr]int64{}
	x.dials.Range(func(addr, n any) bool {
		all[addr.(netip.Addr)] = n.(*atomic.Int64).Load()
		return true
	})
	return all
}

// run starts golb and returns once all servers have answered a request through it.
func (x *faultSite) run(edit func(*lb.Service)) *lb.Balancer {
	x.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	b, err := lb.New(x.config(edit), x.env())
	must(x.t, err)
	done := make(chan error, 1)
	go func() { done <- x.golb.Do(func() error { return b.Run(ctx) }) }()
	x.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			x.t.Errorf("golb: %v", err)
		}
	})
	x.await(lb.EventReady, "")
	x.awaitAll()
	// The first result of a check decides at once: all of them shall have one.
	for _, m := range x.servers {
		for _, addr := range m.at {
			for deadline := time.Now().Add(wardSlack); x.checks()[addr] < 3; time.Sleep(wardInterval / 10) {
				if time.Now().After(deadline) {
					x.t.Fatalf("%v is not checked", addr)
				}
			}
		}
	}
	return b
}

// awaitAll waits until each server has answered a client on each VIP.
func (x *faultSite) awaitAll() {
	x.t.Helper()
	deadline := time.Now().Add(wardSlack)
	for _, f := range families {
		seen := map[string]bool{}
		for len(seen) < len(x.servers) {
			if time.Now().After(deadline) {
				x.t.Fatalf("%v: only %v answer", f, seen)
			}
			if who, err := x.ask(f, time.Second); err == nil {
				seen[who] = true
			}
		}
	}
}

// ask makes one request on a new connection.
func (x *faultSite) ask(f family, within time.Duration) (string, error) {
	c := newHTTPClient(x.client)
	c.Timeout = within
	resp, err := c.Get(urlOf(x.servers[0].vips[f], 0))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// await returns the next event of a kind about a server; "" is about any.
func (x *faultSite) await(kind lb.EventKind, server string) timedEvent {
	x.t.Helper()
	deadline := time.After(wardFall*(wardInterval+wardTimeout) + wardSlack)
	for {
		select {
		case e := <-x.events:
			if e.Kind == kind && (server == "" || e.Server == server) {
				return e
			}
		case <-deadline:
			x.t.Fatalf("no event %s of %s", kind, server)
		}
	}
}

// awaitEach waits for an event of a kind about a server in each service, "" is about
// any, and hands them over.
func (x *faultSite) awaitEach(kind lb.EventKind, server string, got func(timedEvent)) {
	x.t.Helper()
	for seen := map[string]bool{}; len(seen) < len(families); {
		if e := x.await(kind, server); !seen[e.Service] {
			seen[e.Service] = true
			got(e)
		}
	}
}

// awaitUp waits until a server is up in each service, and forgets how it came to that.
func (x *faultSite) awaitUp(b *lb.Balancer, server string) {
	x.t.Helper()
	up := func() bool {
		for _, s := range b.Stats().Services {
			if i := slices.IndexFunc(s.Servers, func(r lb.ServerStats) bool { return r.Name == server }); !s.Servers[i].Up {
				return false
			}
		}
		return true
	}
	for deadline := time.Now().Add(wardSlack); !up(); time.Sleep(wardInterval / 10) {
		if time.Now().After(deadline) {
			x.t.Fatalf("%s does not come up", server)
		}
	}
	for len(x.events) > 0 {
		<-x.events
	}
}

// load is clients that ask all the time.
type load struct {
	asked, failed atomic.Int64
	stop          context.CancelFunc
	wait          sync.WaitGroup
}

func (x *faultSite) load() *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{stop: cancel}
	for _, f := range families {
		l.wait.Go(func() {
			for ctx.Err() == nil {
				l.asked.Add(1)
				if _, err := x.ask(f, 500*time.Millisecond); err != nil {
					l.failed.Add(1)
				}
			}
		})
	}
	return l
}

func (l *load) end() (asked, failed int64) {
	l.stop()
	l.wait.Wait()
	return l.asked.Load(), l.failed.Load()
}

// connections are how many each service has ever given a server.
func connections(b *lb.Balancer, server string) (n []uint64) {
	for _, s := range b.Stats().Services {
		i := slices.IndexFunc(s.Servers, func(r lb.ServerStats) bool { return r.Name == server })
		n = append(n, s.Servers[i].Connections)
	}
	return n
}

func TestDeadServersAreFoundBeforeTheirClientsDo(t *testing.T) {
	if _, err := exec.LookPath("nft"); err != nil {
		t.Skipf("%v; the Debian package nftables has it", err)
	}
	for _, method := range []lb.Method{lb.DSR, lb.NAT, lb.TUN} {
		t.Run(method.String(), func(t *testing.T) {
			x := newFaultSite(t, method)
			b := x.run(func(*lb.Service) {})
			victim := x.servers[1]
			for _, c := range faults() {
				if !slices.Contains(c.methods, method) {
					continue
				}
				t.Run(c.name, func(t *testing.T) { x.injectFault(t, b, victim, c) })
			}
		})
	}
}

// injectFault has a server fail, and checks that golb notices, what clients see then, and
// that golb takes the server back.
func (x *faultSite) injectFault(t *testing.T, b *lb.Balancer, victim *faultyServer, c fault) {
	x.t = t
	x.awaitUp(b, victim.name)
	clients := x.load()
	c.does(victim)
	before := x.checks()
	x.awaitEach(lb.EventServerDown, victim.name, func(e timedEvent) {
		addr := victim.at[0]
		if strings.Contains(e.Service, victim.vips[1].String()) {
			addr = victim.at[1]
		}
		// The time that a verdict may take, in checks of the server's own address, which
		// go on all the while; one more may have been under way. A busy machine may need
		// twice as many.
		const most = 2 * (wardFall*(wardInterval+wardTimeout)/wardInterval + 1)
		n := e.checks[addr] - before[addr]
		t.Logf("%s, %d checks: %s", e.Service, n, e.Reason)
		if n > int64(most) {
			t.Errorf("%s: %d checks until it was noticed, want %d at most", e.Service, n, most)
		}
	})
	asked, failed := clients.end()
	t.Logf("%d of %d requests failed before it was noticed", failed, asked)

	had := connections(b, victim.name)
	for _, f := range families {
		for range 12 {
			if who, err := x.ask(f, time.Minute); err != nil || who == victim.name {
				t.Errorf("%v, after it was noticed: %q, %v", f, who, err)
			}
		}
	}
	if now := connections(b, victim.name); !slices.Equal(now, had) {
		t.Errorf("new connections to it: %v, then %v", had, now)
	}

	c.undo(victim)
	x.awaitUp(b, victim.name)
	x.awaitAll()
}

func TestClientsConnectionsTellOfAMissingVIP(t *testing.T) {
	for _, method := range []lb.Method{lb.DSR, lb.TUN} {
		t.Run(method.String(), func(t *testing.T) {
			x := newFaultSite(t, method)
			const failures = 3
			x.run(func(s *lb.Service) {
				s.Check.Through = "" // the server's own address goes on to answer
				s.PassiveCheck = lb.PassiveCheck{Failures: failures, Hold: time.Hour}
			})
			victim := x.servers[1]
			faults := faults()
			faults[len(faults)-1].does(victim)
			// Of as many clients as that, a third meet the server; each repeats its SYN after a
			// second and after three, and then gets another server.
			var clients sync.WaitGroup
			for _, f := range families {
				for range 3 * (failures + 1) {
					clients.Go(func() {
						if _, err := x.ask(f, time.Minute); err != nil {
							t.Errorf("%v: %v", f, err)
						}
					})
				}
			}
			x.awaitEach(lb.EventServerDown, victim.name, func(e timedEvent) {
				if !strings.Contains(e.Reason, "loopback") {
					t.Errorf("%s: %s", e.Service, e.Reason)
				} else {
					t.Logf("%s: %s", e.Service, e.Reason)
				}
			})
			clients.Wait()
			for _, f := range families {
				for range 12 {
					if who, err := x.ask(f, time.Minute); err != nil || who == victim.name {
						t.Errorf("%v, after it was noticed: %q, %v", f, who, err)
					}
				}
			}
		})
	}
}

func TestFallbackServerTakesOverAndHandsBack(t *testing.T) {
	for _, method := range []lb.Method{lb.DSR, lb.NAT, lb.TUN} {
		t.Run(method.String(), func(t *testing.T) {
			x := newFaultSite(t, method)
			spare := x.servers[2]
			x.servers = x.servers[:2]
			x.run(func(s *lb.Service) {
				f := family(0)
				if s.VIP.Is6() {
					f = 1
				}
				s.Fallback.Server = lb.Server{Name: spare.name, Address: spare.at[f]}
				if method == lb.NAT {
					s.Fallback.Server.Port = natHTTPPort
				}
			})
			for _, m := range x.servers {
				m.killProcess()
			}
			x.awaitEach(lb.EventServiceDown, "", func(timedEvent) {})
			for _, f := range families {
				for range 4 {
					if who, err := x.ask(f, time.Minute); err != nil || who != spare.name {
						t.Errorf("%v, all are down: %q, %v", f, who, err)
					}
				}
			}
			for _, m := range x.servers {
				m.start()
			}
			x.awaitEach(lb.EventServiceUp, "", func(timedEvent) {})
			x.awaitAll()
			for _, f := range families {
				if who, err := x.ask(f, time.Minute); err != nil || who == spare.name {
					t.Errorf("%v, they are back: %q, %v", f, who, err)
				}
			}
		})
	}
}

func TestRefusalsThatPassByTellOfDeadServers(t *testing.T) {
	x := newFaultSite(t, lb.NAT)
	b := x.run(func(s *lb.Service) {
		s.Check.Through, s.PassiveCheck = "", lb.PassiveCheck{Failures: 3, Hold: time.Second}
	})
	victim := x.servers[1]
	reject := func(with, icmp6 string) string {
		return fmt.Sprintf("table inet wall { chain input { type filter hook input priority 0; ct state new meta nfproto ipv4 tcp dport %d ip saddr %s reject with %s; "+
			"meta nfproto ipv6 tcp dport %[1]d ip6 saddr %[4]s reject with %[5]s; }; }", victim.port, clientNet[0], with, clientNet[1], icmp6)
	}
	for _, c := range []struct {
		name, script, want string
	}{
		{"by ICMP", reject("icmp type port-unreachable", "icmpv6 type port-unreachable"), "ICMP unreachable"},
		{"by ICMP, prohibited", reject("icmp type admin-prohibited", "icmpv6 type admin-prohibited"), "ICMP unreachable"},
		{"by reset", reject("tcp reset", "tcp reset"), "nothing listens"},
	} {
		t.Run(c.name, func(t *testing.T) {
			x.t = t
			victim.nft(c.script) // which spares golb's checks
			clients := x.load()
			x.awaitEach(lb.EventServerDown, victim.name, func(e timedEvent) {
				if !strings.Contains(e.Reason, c.want) {
					t.Errorf("%s: %s", e.Service, e.Reason)
				}
			})
			asked, failed := clients.end()
			t.Logf("%d of %d requests failed", failed, asked)
			victim.nft("delete table inet wall")
			x.awaitUp(b, victim.name)
			x.awaitAll()
		})
	}
	for _, s := range b.Stats().Services {
		if got := s.Servers[1].Failed; got.Refused < 3 || got.Unreachable < 2 {
			t.Errorf("%s: counted %+v", s.Name, got)
		}
	}
}
