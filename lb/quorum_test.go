package lb

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/health"
)

// healthRig is a rig with one service of servers of the given weights, at 10.0.0.1 and
// so on, whose health the test decides.
type healthRig struct {
	*rig
	t      *testing.T
	events []Event
	client int
}

const (
	rigSorry = 99 // number of the fallback server
	nobody   = 0
	refused  = -1 // answered by golb itself
)

func rigServer(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}) }

func newHealthRig(t *testing.T, s Service, weights ...int) *healthRig {
	t.Helper()
	x := &healthRig{t: t}
	if len(s.Match) == 0 && !s.VIP.IsValid() {
		s.VIP, s.Port = netip.MustParseAddr("192.0.2.80"), 80
	}
	for i, w := range weights {
		s.Servers = append(s.Servers, Server{Address: rigServer(i + 1), Weight: &w})
	}
	x.rig = newRig(t, Config{MaxConnections: minConnections, Services: []Service{s}})
	x.b.env.OnEvent = func(e Event) { x.events = append(x.events, e) }
	return x
}

// reportChecks has the checks of the servers report up or down, one server after another.
func (x *healthRig) reportChecks(up bool, servers ...int) {
	state := health.Down
	if up {
		state = health.Up
	}
	for _, n := range servers {
		s := x.server(n)
		x.b.onCheckEvent(health.Event{Key: s.checks[0].key, State: state, Reason: "said the test"})
	}
}

// ref names a server of the first service.
func (x *healthRig) ref(n int) ServerRef {
	return ServerRef{x.b.services[0].name, x.server(n).name}
}

func (x *healthRig) server(n int) *server {
	x.t.Helper()
	for _, s := range x.b.serversLocked() {
		if s.address == rigServer(n) {
			return s
		}
	}
	x.t.Fatalf("no server %d", n)
	return nil
}

// open sends the SYN of a new connection and returns whose it is.
func (x *healthRig) open() int {
	x.client++
	return x.send(x.client, forward.FlagSYN)
}

// send sends a segment of client n's connection, and returns the server that gets it,
// refused or nobody.
func (x *healthRig) send(n int, flags uint8) int {
	x.t.Helper()
	src := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(n)}), 4000)
	dst := netip.AddrPortFrom(x.b.cfg.Services[0].anyVIP(), 80)
	_, sent := x.handle(0, rigFrame(rigClient, TCP, src, dst, flags))
	if len(sent) == 0 {
		return nobody
	}
	mac := forward.MAC(sent[0])
	if mac == rigClient {
		return refused
	}
	for n := 1; n <= rigSorry; n++ {
		if rigServerMAC(rigServer(n)) == mac {
			return n
		}
	}
	x.t.Fatalf("sent to %v", mac)
	return nobody
}

// opens returns who gets new connections, each once.
func (x *healthRig) opens() []int {
	var all []int
	for range 8 {
		all = append(all, x.open())
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func sorry(method Method) Fallback {
	return Fallback{Server: Server{Address: rigServer(rigSorry), Method: method}}
}

func TestFallbackServerGetsWhatNoServerTakes(t *testing.T) {
	for _, method := range []Method{DSR, NAT, TUN} {
		for _, persistence := range []time.Duration{0, time.Minute} {
			t.Run(fmt.Sprintf("%v/persistence %v", method, persistence), func(t *testing.T) {
				x := newHealthRig(t, Service{Scheduler: "rr", Fallback: sorry(method), Persistence: Persistence{Timeout: persistence}}, 1, 1)
				expect := func(when string, want ...int) {
					t.Helper()
					if got := x.opens(); !slices.Equal(got, want) {
						t.Errorf("%s: new connections went to %v, want %v", when, got, want)
					}
				}
				expect("both up", 1, 2)
				x.reportChecks(false, 1)
				expect("one up", 2)
				x.reportChecks(false, 2)
				expect("none up", rigSorry)
				sorry := x.client
				x.reportChecks(true, 1)
				expect("one is back", 1)
				if got := x.send(sorry, forward.FlagACK); got != rigSorry {
					t.Errorf("the fallback's connection went to %d once a server was back", got)
				}
				st := x.b.Stats().Services[0]
				if !st.Up || st.Fallback == nil || st.Fallback.Connections != 8 || st.Fallback.Method != method {
					t.Errorf("stats: up %v, fallback %+v", st.Up, st.Fallback)
				}
			})
		}
	}
}

func TestDatagramsLeaveTheFallbackServer(t *testing.T) {
	x := newHealthRig(t, Service{VIP: netip.MustParseAddr("192.0.2.80"), Port: 53, Protocol: UDP, Check: Check{Type: "tcp"}, Fallback: sorry(DSR)}, 1)
	packet := rigFrame(rigClient, UDP, netip.MustParseAddrPort("198.51.100.1:4000"), netip.MustParseAddrPort("192.0.2.80:53"), 0)
	expect := func(when string, n int) {
		t.Helper()
		_, sent := x.handle(0, packet)
		if len(sent) != 1 || forward.MAC(sent[0]) != rigServerMAC(rigServer(n)) {
			t.Errorf("%s: a datagram did not go to server %d", when, n)
		}
	}
	expect("up", 1)
	x.reportChecks(false, 1)
	expect("down", rigSorry)
	x.reportChecks(true, 1)
	expect("back", 1)
}

func TestFallbackServerGetsWhatIsTooMuchForServers(t *testing.T) {
	s := Service{Scheduler: "rr", Fallback: sorry(DSR), Check: Check{Type: "none"}}
	s.Servers = []Server{{Address: rigServer(1), UpperThreshold: 2}}
	x := newHealthRig(t, s)
	var got []int
	for range 4 {
		got = append(got, x.open())
	}
	if want := []int{1, 1, rigSorry, rigSorry}; !slices.Equal(got, want) {
		t.Errorf("connections went to %v, want %v", got, want)
	}
}

func TestFallbackServerComesAndGoesWithTheConfig(t *testing.T) {
	with := Service{VIP: netip.MustParseAddr("192.0.2.80"), Port: 80, Fallback: sorry(DSR), Check: Check{Unchecked: uncheckedUp}}
	without := with
	without.Fallback = Fallback{}
	regular := without
	regular.Servers = []Server{{Address: rigServer(rigSorry)}}
	x := newHealthRig(t, with)
	for i, step := range []struct {
		service Service
		want    int
	}{{without, refused}, {with, rigSorry}, {regular, rigSorry}, {with, rigSorry}, {without, refused}} {
		first := x.open()
		cfg := x.b.cfg
		cfg.Services = []Service{step.service}
		if err := x.b.Apply(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		if got := x.open(); got != step.want {
			t.Errorf("step %d: new connections go to %d, want %d", i, got, step.want)
		}
		if got := x.send(x.client-1, forward.FlagACK); step.want == rigSorry && first == rigSorry && got != rigSorry {
			t.Errorf("step %d: the old connection went to %d", i, got)
		}
	}
}

func TestQuorumHasHysteresis(t *testing.T) {
	// Weights 10, 20, 30; down below 30-10, up from 30+10 on.
	x := newHealthRig(t, Service{Quorum: 30, Hysteresis: 10, Fallback: sorry(DSR)}, 10, 20, 30)
	for i, step := range []struct {
		up     bool
		server int
		down   bool
	}{
		{false, 3, false}, // 30
		{false, 1, false}, // 20
		{false, 2, true},  // 0
		{true, 2, true},   // 20
		{true, 1, true},   // 30
		{true, 3, false},  // 60
		{false, 2, false}, // 40
		{false, 3, true},  // 10
		{true, 3, false},  // 40
	} {
		was := len(x.events)
		before := !x.b.Stats().Services[0].Up
		x.reportChecks(step.up, step.server)
		if got := !x.b.Stats().Services[0].Up; got != step.down {
			t.Errorf("step %d: down %v, want %v", i, got, step.down)
		}
		if got := slices.Contains(x.opens(), rigSorry); got != step.down {
			t.Errorf("step %d: new connections to the fallback: %v, want %v", i, got, step.down)
		}
		told := slices.ContainsFunc(x.events[was:], func(e Event) bool { return e.Kind == EventServiceDown || e.Kind == EventServiceUp })
		if told != (before != step.down) {
			t.Errorf("step %d: events %v", i, x.events[was:])
		}
	}
}

func TestQuorumIsNoMoreThanThereIs(t *testing.T) {
	x := newHealthRig(t, Service{Quorum: 5, Hysteresis: 2, Fallback: sorry(DSR)}, 1, 1)
	x.reportChecks(false, 1, 2)
	x.reportChecks(true, 1, 2)
	if !x.b.Stats().Services[0].Up {
		t.Error("down with all servers up")
	}
}

func TestQuorumFollowsWhatOperatorsDo(t *testing.T) {
	x := newHealthRig(t, Service{Fallback: sorry(DSR)}, 1, 1)
	at := func(n int) ServerRef {
		return ServerRef{"tcp 192.0.2.80:80", netip.AddrPortFrom(rigServer(n), 80).String()}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(x.b.Drain(at(1), 0))
	must(x.b.SetWeight(at(2), 0))
	if got := x.opens(); !slices.Equal(got, []int{rigSorry}) {
		t.Errorf("one drained, one of weight 0: new connections go to %v", got)
	}
	must(x.b.Activate(at(1)))
	if got := x.opens(); !slices.Equal(got, []int{1}) {
		t.Errorf("one active again: new connections go to %v", got)
	}
}

func TestServiceThatIsDownFollowsItsRule(t *testing.T) {
	for _, quiescent := range []bool{false, true} {
		for _, c := range []struct {
			name    string
			service Service
			apart   int // ticks between the failures; -1: the second does not fail
			want    []int
		}{
			{"fallback", Service{Fallback: sorry(DSR)}, 0, []int{rigSorry}},
			{"no fallback", Service{}, 0, []int{refused}},
			{"no fallback, quorum lost", Service{Quorum: 3}, -1, []int{2}},
			{"fallback, quorum lost", Service{Quorum: 3, Fallback: sorry(DSR)}, -1, []int{rigSorry}},
			{"refuse", Service{WhenDown: DownRefuse, Fallback: sorry(DSR)}, 0, []int{refused}},
			{"refuse, quorum lost", Service{WhenDown: DownRefuse, Quorum: 3}, -1, []int{refused}},
			{"last known, both at a time", Service{WhenDown: DownLastKnown, Fallback: sorry(DSR)}, 10 * ticksPerSecond, []int{1, 2}},
			{"last known, the first long ago", Service{WhenDown: DownLastKnown, Fallback: sorry(DSR)}, 60 * ticksPerSecond, []int{2}},
		} {
			t.Run(fmt.Sprintf("%s/quiescent %v", c.name, quiescent), func(t *testing.T) {
				s := c.service
				s.Scheduler, s.Quiescent = "rr", quiescent
				x := newHealthRig(t, s, 1, 2)
				x.reportChecks(false, 1)
				if c.apart >= 0 {
					x.advance(tick(c.apart))
					x.reportChecks(false, 2)
				}
				if got := x.opens(); !slices.Equal(got, c.want) {
					t.Errorf("down: new connections go to %v, want %v", got, c.want)
				}
				x.reportChecks(true, 1)
				want := []int{1}
				if c.apart < 0 {
					want = []int{1, 2}
				}
				if got := x.opens(); !slices.Equal(got, want) {
					t.Errorf("the first is back: new connections go to %v, want %v", got, want)
				}
				x.reportChecks(true, 2)
				if got := x.opens(); !slices.Equal(got, []int{1, 2}) {
					t.Errorf("both are back: new connections go to %v", got)
				}
			})
		}
	}
}

func TestConnectionsOfAFailedServerAreCut(t *testing.T) {
	x := newHealthRig(t, Service{CutFailed: true, Scheduler: "rr"}, 1, 1)
	for range 4 {
		x.open()
	}
	x.reportChecks(false, 1)
	if n := x.b.Stats().Connections; n != 2 {
		t.Errorf("%d connections are left, want the other server's 2", n)
	}
	for n := 1; n <= 4; n++ {
		got := x.send(n, forward.FlagACK)
		if got != refused && got != 2 {
			t.Errorf("connection %d: its next segment went to %d", n, got)
		}
	}
}

func TestHeldServersSpareSlowStart(t *testing.T) {
	x := newHealthRig(t, Service{WhenDown: DownLastKnown, SlowStart: time.Minute}, 50, 50)
	weights := func() [2]int {
		st := x.b.Stats().Services[0].Servers
		return [2]int{st[0].Weight, st[1].Weight}
	}
	x.reportChecks(false, 1, 2)
	if got := weights(); got != [2]int{50, 50} {
		t.Errorf("held: weights %v", got)
	}
	x.reportChecks(true, 1) // it has had connections all the time
	if got := weights(); got != [2]int{50, 50} {
		t.Errorf("back without having been away: weights %v", got)
	}
	x.reportChecks(true, 2) // the service was up without it
	if got := weights(); got != [2]int{50, 1} {
		t.Errorf("back: weights %v, want 50 and 1", got)
	}
}

func TestWhatFollowsFromHealthIsChecked(t *testing.T) {
	server := Server{Address: rigServer(1)}
	for _, c := range []struct {
		service Service
		path    string
	}{
		{Service{Quorum: -1}, "services[0].quorum"},
		{Service{Quorum: 2, Hysteresis: 2}, "services[0].hysteresis"},
		{Service{Hysteresis: 1}, "services[0].hysteresis"},
		{Service{WhenDown: 9}, "services[0].when_down"},
		{Service{CutFailed: true, Quiescent: true}, "services[0].cut_failed"},
		{Service{Fallback: Fallback{Server: Server{Port: 80}}}, "services[0].fallback.server.address"},
		{Service{Fallback: Fallback{Server: server}}, "services[0].fallback.server.address"},
		{Service{Fallback: Fallback{Server: Server{Address: rigServer(2), Port: 81}}}, "services[0].fallback.server.port"},
		{Service{Fallback: Fallback{Server: Server{Address: rigServer(2), Weight: new(int)}}}, "services[0].fallback.server.weight"},
		{Service{Fallback: Fallback{Server: Server{Address: rigServer(2), UpperThreshold: 1}}}, "services[0].fallback.server"},
		{Service{Quorum: 2, Hysteresis: 1, WhenDown: DownLastKnown, CutFailed: true, Fallback: Fallback{Server: Server{Address: rigServer(2)}}}, ""},
	} {
		s := c.service
		s.VIP, s.Port, s.Servers = netip.MustParseAddr("192.0.2.80"), 80, []Server{server}
		err := (&Config{Interfaces: []string{"eth0"}, Services: []Service{s}}).Validate(Env{})
		var errs ConfigErrors
		if errors.As(err, &errs); c.path == "" && err != nil || c.path != "" && (len(errs) != 1 || errs[0].Path != c.path) {
			t.Errorf("%+v: %v, want a mistake at %q", c.service, err, c.path)
		}
	}
}

func TestFlapsLeaveNothingBehind(t *testing.T) {
	for _, c := range []struct {
		name    string
		service Service
	}{
		{"plain", Service{}},
		{"quiescent", Service{Quiescent: true}},
		{"fallback server", Service{Fallback: sorry(NAT), Quorum: 3, Hysteresis: 1}},
		{"fallback page", Service{Fallback: Fallback{Page: DefaultPage}}},
		{"refuse", Service{WhenDown: DownRefuse}},
		{"last known, slow start", Service{WhenDown: DownLastKnown, SlowStart: time.Second}},
		{"cut", Service{CutFailed: true}},
		{"passive", Service{PassiveCheck: PassiveCheck{Failures: 2, Hold: time.Second}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := c.service
			s.Scheduler = "wrr"
			x := newHealthRig(t, s, 1, 2, 3)
			state := func() string {
				x.checkPassiveAfter(0)
				st := x.b.Stats()
				line := fmt.Sprint(st.Connections, st.Services[0].Up, x.b.services[0].dp.Gate())
				for _, r := range st.Services[0].Servers {
					line += fmt.Sprint("; ", r.Up, r.Weight, r.Active, r.Inactive, r.Templates, r.Reason)
				}
				return line
			}
			before, goroutines := state(), runtime.NumGoroutine()
			for round := range 1000 {
				n := round%3 + 1
				x.reportChecks(false, n)
				x.open()
				x.send(x.client, forward.FlagSYN)
				x.send(x.client, forward.FlagACK)
				if round%5 == 0 {
					x.reportChecks(false, 1, 2, 3)
					x.open()
					x.checkPassiveAfter(time.Second)
					x.reportChecks(true, 3, 2, 1)
				}
				x.reportChecks(true, n)
			}
			for range 20 {
				x.checkPassiveAfter(time.Minute)
			}
			if now := state(); now != before {
				t.Errorf("before: %s\nafter:  %s", before, now)
			}
			if now := runtime.NumGoroutine(); now > goroutines {
				t.Errorf("%d goroutines, then %d", goroutines, now)
			}
		})
	}
}
