package lb

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/health"
)

// bed is a balancer in a world, whose workers the test hands their frames.
type bed struct {
	*rig
	world *world
}

// newBed opens a balancer of cfg, whose Interfaces it fills in, with its VIPs claimed.
func newBed(t *testing.T, cfg Config) *bed {
	t.Helper()
	x := &bed{rig: &rig{now: time.Unix(1e9, 0)}, world: newWorld()}
	var err error
	if x.b, err = New(onWorld(cfg), x.world.env(func() time.Time { return x.now })); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	if x.n, err = x.b.open(ctx); err != nil {
		t.Fatal(err)
	}
	if err := x.n.start(x.b); err != nil {
		t.Fatal(err)
	}
	x.ports = []*rigPort{&x.world.ports[0].rigPort}
	return x
}

// onWorld is cfg on the interfaces of a world.
func onWorld(cfg Config) Config {
	cfg.Interfaces = []string{fmt.Sprintf(worldInterface, 0), fmt.Sprintf(worldInterface, 1)}
	cfg.Workers, cfg.MaxConnections = 1, minConnections
	return withoutFirstChecks(cfg)
}

// applyVIP is that of the service of a number.
func applyVIP(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(80 + n)}), 80)
}

// applyService is the service of a number with servers of these numbers.
func applyService(n int, servers ...int) Service {
	s := Service{Name: fmt.Sprintf("service %d", n), VIP: applyVIP(n).Addr(), Port: 80, Scheduler: "rr", Check: Check{Type: "none"}}
	for _, r := range servers {
		s.Servers = append(s.Servers, Server{Name: fmt.Sprintf("s%d", r), Address: rigServer(r)})
	}
	return s
}

// applyConfigs are a config, and one that removes a service, adds one, keeps one, and
// changes much of the rest.
func applyConfigs() (old, next Config) {
	changed := applyService(0, 1, 2, 3)
	changed.Scheduler, changed.Check.Type = "wrr", worldCheck
	changed.Servers[0].Weight = new(3)
	old.Groups = []Group{{Name: "other"}}
	old.Services = []Service{changed, applyService(1, 4), applyService(2, 5, 6)}

	changed = applyService(0, 2, 1, 7)
	changed.Group, changed.Method, changed.Persistence.Timeout, changed.Scheduler = "other", NAT, time.Minute, worldScheduler
	changed.Servers[1].Weight, changed.Servers[0].State = new(2), StateDrain
	changed.Quorum, changed.Fallback, changed.Check.Type = 2, sorry(DSR), worldCheck
	added := applyService(3, 8, 9)
	added.Check.Type = worldCheck
	next.Groups = []Group{{Name: "other"}, {Name: "more"}}
	added.Group = "more"
	next.Services = []Service{applyService(2, 5, 6), changed, added}
	return old, next
}

// traffic sends new connections, and segments of those of earlier rounds, to all
// services, and returns who got them, in order.
func (x *bed) traffic(round int) (got []string) {
	for n := range 4 {
		for at := round; at >= 0; at-- {
			for c := range 5 {
				from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(at), byte(c)}), 4000)
				flags := forward.FlagACK
				if at == round {
					flags = forward.FlagSYN
				}
				reason, sent := x.handle(0, rigFrame(rigClient, TCP, from, applyVIP(n), uint8(flags)))
				to := fmt.Sprint(reason)
				for _, f := range sent {
					to += fmt.Sprintf(" %x", f)
				}
				got = append(got, fmt.Sprintf("service %d, client %v, flags %#x: %s", n, from, flags, to))
			}
		}
	}
	return got
}

// report is all that the balancer says of itself, and what its ports and links were told.
func (x *bed) report() []any {
	st, healths := x.b.Stats(), x.b.Health()
	whose := strings.NewReplacer("an operator", "the config") // what was set at run time may be the config's later
	for i := range healths {
		healths[i].Reason, st.Services[i].Reason = whose.Replace(healths[i].Reason), whose.Replace(st.Services[i].Reason)
		for j := range healths[i].Servers {
			healths[i].Servers[j].Since, healths[i].Servers[j].Check.Next = time.Time{}, time.Time{} // by the real clock
			healths[i].Servers[j].Idle, st.Services[i].Servers[j].Idle = whose.Replace(healths[i].Servers[j].Idle), whose.Replace(st.Services[i].Servers[j].Idle)
		}
	}
	var list []string
	for c := range x.b.Connections {
		list = append(list, fmt.Sprintf("%+v", c))
	}
	slices.Sort(list)
	all := []any{st, healths, x.b.Config(), x.b.Roles(), list}
	x.world.mu.Lock()
	defer x.world.mu.Unlock()
	for _, l := range x.world.links {
		all = append(all, l.vips)
	}
	for _, p := range x.world.ports {
		all = append(all, passes(p.filter))
	}
	return append(all, fmt.Sprintf("%d next hops are resolved", x.world.resolved))
}

// same fails where two balancers report or forward otherwise.
func same(t *testing.T, when string, got, want *bed, round int) {
	t.Helper()
	for what, both := range map[string][2][]any{
		"reports": {got.report(), want.report()}, "forwards": {toAny(got.traffic(round)), toAny(want.traffic(round))},
	} {
		for i := range both[0] {
			if !reflect.DeepEqual(both[0][i], both[1][i]) {
				t.Errorf("%s, it %s\n%+v, want\n%+v", when, what, both[0][i], both[1][i])
			}
		}
	}
}

func toAny(list []string) []any {
	all := make([]any, len(list))
	for i := range list {
		all[i] = list[i]
	}
	return all
}

var errStep = errors.New("so says the test")

// applyFailures are the ways in which Apply may fail.
func applyFailures() map[string]applyFailure {
	fail := func(context.Context) error { return errStep }
	at := func(step string, skip int) applyFailure {
		return applyFailure{want: errStep, arrange: func(x *bed, _ context.CancelFunc) { x.world.on(step, skip, fail) }}
	}
	cancelAt := func(step string, skip int) applyFailure {
		return applyFailure{want: context.Canceled, arrange: func(x *bed, cancel context.CancelFunc) {
			x.world.on(step, skip, func(context.Context) error { cancel(); return nil })
		}}
	}
	all := map[string]applyFailure{
		"the first link refuses the VIPs":               at("SetVIPs world0", 0),
		"the second link refuses a group":               at("SetVIPs world1", 0),
		"the first receiver refuses the filter":         at("SetFilter receiver0", 0),
		"the second receiver refuses the filter":        at("SetFilter receiver1", 0),
		"another host has a VIP, on the first link":     at("Probe world0", 0),
		"another host has a VIP, on the second link":    at("Probe world1", 0),
		"the file of a check is gone at planning":       {text: "so says the test", arrange: at("check", 3).arrange},
		"the scheduler cannot be made":                  at("scheduler", 0),
		"a new server is golb's own host":               {text: "golb does not balance to its own host", arrange: ownHost},
		"a new server's address is a broadcast one":     {text: "broadcast", arrange: broadcast},
		"a setting is wrong":                            {edit: func(c *Config) { c.Services[0].Scheduler = "nosuch" }, text: "nosuch"},
		"a setting needs a restart":                     {edit: func(c *Config) { c.Workers = 2 }, text: "cannot change while running"},
		"canceled before":                               {want: context.Canceled, arrange: func(_ *bed, cancel context.CancelFunc) { cancel() }},
		"canceled at planning":                          cancelAt("scheduler", 0),
		"canceled while a route is looked up":           cancelAt("route 10.0.0.8", 0),
		"canceled while a link probes":                  cancelAt("Probe world1", 0),
		"canceled at the first filter":                  cancelAt("SetFilter receiver0", 0),
		"canceled at the last filter":                   cancelAt("SetFilter receiver1", 0),
		"canceled at the first claim":                   cancelAt("SetVIPs world0", 0),
		"canceled at the last claim":                    cancelAt("SetVIPs world1", 0),
		"canceled while a next hop is resolved":         cancelAt("Resolve 10.0.0.9", 0),
		"the time is over while a link probes, forever": {want: context.DeadlineExceeded, timeout: 10 * time.Millisecond},
	}
	hang := all["the time is over while a link probes, forever"]
	hang.arrange = func(x *bed, _ context.CancelFunc) {
		x.world.on("Probe world0", 0, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	}
	all["the time is over while a link probes, forever"] = hang
	return all
}

type applyFailure struct {
	arrange func(x *bed, cancel context.CancelFunc)
	edit    func(*Config)
	timeout time.Duration
	want    error
	text    string // in the error, where want is nil
}

func ownHost(x *bed, _ context.CancelFunc) {
	x.world.on("route 10.0.0.8", 0, func(context.Context) error { return ErrOwnHost })
}

func broadcast(x *bed, _ context.CancelFunc) {
	x.world.on("route 10.0.0.9", 0, func(context.Context) error { return errNotOneHost })
}

// TestApplyThatFailsChangesNothing has an Apply fail at each step, and compares the
// balancer with one that saw no Apply.
func TestApplyThatFailsChangesNothing(t *testing.T) {
	old, next := applyConfigs()
	for name, tt := range applyFailures() {
		t.Run(name, func(t *testing.T) {
			x, twin := newBed(t, old), newBed(t, old)
			for _, x := range []*bed{x, twin} {
				x.operate(t)
			}
			same(t, "before", x, twin, 0)
			if h := x.b.Health()[0].Servers[0]; h.Up {
				t.Fatal("no server has failed")
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if tt.timeout != 0 {
				ctx, cancel = context.WithTimeout(ctx, tt.timeout)
				defer cancel()
			}
			if tt.arrange != nil {
				tt.arrange(x, cancel)
			}
			cfg := onWorld(next)
			cfg = cfg.clone()
			if tt.edit != nil {
				tt.edit(&cfg)
			}
			err := x.b.Apply(ctx, cfg)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Fatalf("Apply: %v, want %v%s", err, tt.want, tt.text)
			}
			if left := x.world.waiting(); len(left) > 0 {
				t.Fatalf("Apply did not come to %s", left)
			}
			same(t, "after Apply failed", x, twin, 1)
			for _, x := range []*bed{x, twin} {
				if err := x.b.Apply(t.Context(), onWorld(next)); err != nil {
					t.Fatal(err)
				}
			}
			same(t, "after Apply did not", x, twin, 2)
		})
	}
}

// operate changes weights and states at run time, and has a server fail.
func (x *bed) operate(t *testing.T) {
	t.Helper()
	must(t, x.b.SetWeight(ServerRef{"service 0", "s2"}, 2))
	must(t, x.b.Drain(ServerRef{"service 2", "s5"}, time.Hour))
	must(t, x.b.SetRole(t.Context(), "other", RoleActive))
	x.b.onCheckEvent(health.Event{Key: x.b.services[0].servers[0].checks[0].key, State: health.Down, Reason: "said the test"})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestApplyForwardsAsTheConfigSays is what TestApplyThatFailsChangesNothing rests on: the
// configs differ in what clients and operators see.
func TestApplyForwardsAsTheConfigSays(t *testing.T) {
	old, next := applyConfigs()
	x := newBed(t, old)
	before := x.traffic(0)
	kept := x.serversOf(2, 0)
	must(t, x.b.Apply(t.Context(), onWorld(next)))
	x.b.onCheckEvent(health.Event{Key: x.b.services[2].servers[0].checks[0].key, State: health.Down, Reason: "said the test"})
	if slices.Equal(before, x.traffic(1)) {
		t.Error("all is forwarded as before")
	}
	for n, want := range [][]int{{1, 7}, {}, {5, 6}, {9}} {
		if got := x.serversOf(n, 1); !slices.Equal(got, want) {
			t.Errorf("service %d: connections are at servers %v, want %v", n, got, want)
		}
	}
	if got := x.serversOf(2, 0); !slices.Equal(got, kept) {
		t.Errorf("connections of a service that stays went from servers %v to %v", kept, got)
	}
	var vips []netip.Addr
	for _, v := range x.world.links[1].vips {
		vips = append(vips, v.Addr)
	}
	slices.SortFunc(vips, netip.Addr.Compare)
	if want := []netip.Addr{applyVIP(0).Addr(), applyVIP(2).Addr(), applyVIP(3).Addr()}; !slices.Equal(vips, want) {
		t.Errorf("VIPs %v are answered for, want %v", vips, want)
	}
	if got, want := x.world.resolved, len([]int{1, 2, 5, 6, 7, 8, 9, rigSorry}); got != want {
		t.Errorf("%d next hops are resolved, want %d", got, want)
	}
}

// serversOf are the servers that a service's connections of a round are at.
func (x *bed) serversOf(service, round int) (list []int) {
	for c := range x.b.Connections {
		if c.VIP == applyVIP(service) && !c.Template && c.Client.Addr().As4()[2] == byte(round) {
			list = append(list, int(c.Server.Addr().As4()[3]))
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
