package lb_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/health"
	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest"
)

// trials are checks whose results come when the test says so, by address of the server.
type trials struct {
	mu      sync.Mutex
	results map[netip.Addr]error // nil is a pass
	come    chan struct{}        // closed and made anew when one is there
}

var errTrial = errors.New("said the test")

func newTrials() *trials { return &trials{results: map[netip.Addr]error{}, come: make(chan struct{})} }

// decide has the checks of a server end, those under way and those to come.
func (x *trials) decide(server int, err error) {
	x.mu.Lock()
	x.results[server4(server)] = err
	close(x.come)
	x.come = make(chan struct{})
	x.mu.Unlock()
	synctest.Wait()
}

func (x *trials) check(ctx context.Context, server netip.Addr) error {
	for {
		x.mu.Lock()
		err, known := x.results[server]
		come := x.come
		x.mu.Unlock()
		if known {
			return err
		}
		select {
		case <-come:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// trialBench is a bench whose checks are trials. It runs, and is not ready yet.
type trialBench struct {
	*bench
	*trials
	ready  bool
	events []lb.EventKind
	client int
}

// startTrials runs a balancer in the bubble of a test.
func startTrials(t *testing.T, cfg lb.Config) *trialBench {
	t.Helper()
	x := &trialBench{trials: newTrials()}
	var mu sync.Mutex
	x.bench = launch(t, cfg, func(e lb.Event) {
		mu.Lock()
		defer mu.Unlock()
		if e.Kind == lb.EventReady {
			x.ready = true
		}
		if e.Kind != lb.EventNeighbor {
			x.events = append(x.events, e.Kind)
		}
	}, func(env *lb.Env) {
		env.Checker = func(_ *lb.Service, r *lb.Server) health.Checker {
			addr := r.Address
			return health.CheckerFunc(func(ctx context.Context) error { return x.check(ctx, addr) })
		}
	})
	time.Sleep(100 * time.Millisecond) // all are being asked
	synctest.Wait()
	return x
}

// Who gets a new connection, where no server does.
const (
	droppedIt = 0
	refusedIt = -1
)

// open sends a SYN to a VIP and returns the server that got it, droppedIt or refusedIt.
func (x *trialBench) open(vip netip.Addr) int {
	x.t.Helper()
	x.client++
	p := lbtest.Packet{SrcMAC: clientMAC, DstMAC: balancerMAC, Src: client(x.client), Dst: netip.AddrPortFrom(vip, 80), Flags: forward.FlagSYN}
	for _, f := range x.inject(p.Frame()) {
		mac := forward.MAC(f.Data)
		if mac == clientMAC {
			return refusedIt
		}
		for n := 1; n < 100; n++ {
			if mac == serverMAC(server4(n)) {
				return n
			}
		}
	}
	return droppedIt
}

// opens returns who gets new connections, each once.
func (x *trialBench) opens(vip netip.Addr) (all []int) {
	x.t.Helper()
	for range 8 {
		all = append(all, x.open(vip))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (x *trialBench) expect(when string, want ...int) {
	x.t.Helper()
	if got := x.opens(vip4); !slices.Equal(got, want) {
		x.t.Errorf("%s: new connections go to %v, want %v", when, got, want)
	}
}

func trialService(servers int) lb.Service {
	s := service(vip4, servers)
	s.Scheduler, s.Check = "rr", lb.Check{Type: "tcp", Interval: time.Second, Timeout: 3 * time.Second, Fall: 2}
	return s
}

func TestServerJoinsAfterItsFirstGoodCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := startTrials(t, lb.Config{Services: []lb.Service{trialService(3)}})
		x.expect("before any result", droppedIt)
		if n := x.balancer.Stats().Drops[lb.Unchecked]; n != 8 || x.ready {
			t.Errorf("before any result: %d dropped as unchecked, want 8; ready %v", n, x.ready)
		}
		if h := x.balancer.Health()[0]; h.Up || h.Reason == "" || h.Servers[0].Up || h.Servers[0].Reason != "not checked yet" {
			t.Errorf("before any result: health %+v", h)
		}
		x.decide(2, errTrial)
		x.expect("one failed, two are unknown", droppedIt)
		x.decide(3, nil)
		x.expect("one joined", 3)
		if !x.ready {
			t.Error("not ready with a server")
		}
		x.decide(1, nil)
		x.expect("two joined", 1, 3)
		x.decide(2, nil)
		time.Sleep(2 * time.Second)
		x.expect("the one that failed is back", 1, 2, 3)
		want := []lb.EventKind{lb.EventServerDown, lb.EventServerJoined, lb.EventReady, lb.EventServerJoined, lb.EventServerUp}
		if !slices.Equal(x.events, want) {
			t.Errorf("events %v, want %v", x.events, want)
		}
	})
}

func TestNobodyWaitsLongerThanACheckMayTake(t *testing.T) {
	for name, tt := range map[string]struct {
		edit  func(*lb.Service)
		after int
	}{
		"refused":         {func(*lb.Service) {}, refusedIt},
		"fallback server": {func(s *lb.Service) { s.Fallback = lb.Fallback{Server: lb.Server{Address: server4(50)}} }, 50},
		"last known":      {func(s *lb.Service) { s.WhenDown = lb.DownLastKnown }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := trialService(1)
				tt.edit(&s)
				x := startTrials(t, lb.Config{Services: []lb.Service{s}})
				time.Sleep(2500 * time.Millisecond)
				x.expect("while the check hangs", droppedIt)
				time.Sleep(time.Second)
				x.expect("after its timeout", tt.after)
				if !x.ready {
					t.Error("not ready")
				}
			})
		})
	}
}

func TestChecksThatAreNotMadeEndTheWaitToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := startTrials(t, lb.Config{Services: []lb.Service{trialService(1)}})
		x.decide(1, health.ErrNotTried)
		x.expect("before the timeout", droppedIt)
		time.Sleep(3500 * time.Millisecond)
		x.expect("after the timeout", refusedIt)
		x.decide(1, nil)
		time.Sleep(time.Second)
		x.expect("with a result", 1)
	})
}

func TestReloadAsksNewServersAndKeepsWhatIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := trialService(2)
		x := startTrials(t, lb.Config{Services: []lb.Service{first}})
		x.decide(1, nil)
		x.decide(2, errTrial)
		time.Sleep(2 * time.Second)

		more := trialService(3)
		more.Check.Interval, more.Servers[0].Weight = 2*time.Second, new(2)
		must(t, x.apply(lb.Config{Services: []lb.Service{more}}))
		x.expect("a server was added, weight and interval changed", 1)
		x.decide(1, errTrial)
		time.Sleep(time.Second)
		x.expect("one failure after the interval changed", 1)
		x.decide(1, nil)
		x.decide(3, nil)
		time.Sleep(3 * time.Second)
		x.expect("the new one passed", 1, 3)

		replaced := trialService(5)
		replaced.Servers = replaced.Servers[3:]
		must(t, x.apply(lb.Config{Services: []lb.Service{replaced}}))
		x.expect("all servers are others", droppedIt)
		x.decide(5, nil)
		time.Sleep(100 * time.Millisecond)
		x.expect("one of them passed", 5)

	})
}

func TestServersThatNeedNoFirstCheck(t *testing.T) {
	for name, edit := range map[string]func(*lb.Config, *lb.Env){
		"unchecked: up": func(c *lb.Config, _ *lb.Env) { c.Services[0].Check.Unchecked = "up" },
		"no check":      func(c *lb.Config, env *lb.Env) { c.Services[0].Check.Type, env.Checker = "none", nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := &trialBench{trials: newTrials()}
				cfg := lb.Config{Services: []lb.Service{trialService(2)}}
				x.bench = launch(t, cfg, func(lb.Event) {}, func(env *lb.Env) {
					env.Checker = func(*lb.Service, *lb.Server) health.Checker {
						return health.CheckerFunc(func(ctx context.Context) error { return x.check(ctx, server4(1)) })
					}
					edit(&cfg, env)
				})
				time.Sleep(100 * time.Millisecond)
				x.expect("at start", 1, 2)
			})
		})
	}
}

func TestServersKeepTheConfigsOrderWhicheverJoinsFirst(t *testing.T) {
	chosen := func(order []int) (list []int) {
		synctest.Test(t, func(t *testing.T) {
			s := trialService(4)
			s.Scheduler = "sh"
			x := startTrials(t, lb.Config{Services: []lb.Service{s}})
			for _, n := range order {
				x.decide(n, nil)
			}
			for range 64 {
				list = append(list, x.open(vip4))
			}
		})
		return list
	}
	want := chosen([]int{1, 2, 3, 4})
	for _, order := range [][]int{{4, 3, 2, 1}, {2, 4, 1, 3}, {3, 1, 4, 2}} {
		if got := chosen(order); !slices.Equal(got, want) {
			t.Errorf("joined in order %v, servers are chosen differently", order)
		}
	}
}

func TestServiceWithAKnownCheckJoinsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &answers{}
		first, second := asking(vip4, 2), asking(netip.MustParseAddr("192.0.2.81"), 2)
		first.Check.Unchecked, second.Check.Unchecked = "", ""
		b := startAsking(t, lb.Config{Services: []lb.Service{first}}, a)
		time.Sleep(500 * time.Millisecond)
		must(t, b.apply(lb.Config{Services: []lb.Service{first, second}}))
		if got := b.up(1); !slices.Equal(got, []bool{true, true}) {
			t.Errorf("servers up: %v, want both: another service has their checks", got)
		}
	})
}
