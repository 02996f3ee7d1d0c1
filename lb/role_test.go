package lb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golb/golb/forward"
)

// The virtual MACs of virtual router 51 (RFC 9568 §7.3).
var (
	virtualMAC  = forward.MAC{0, 0, 0x5e, 0, 1, 51}
	virtualMAC2 = forward.MAC{0, 0, 0x5e, 0, 1, 52}
)

// roleConfig has service 0 in the default group and service 1 in the group quiet, which
// starts standby and has a MAC of its own.
func roleConfig() Config {
	quiet := applyService(1, 2)
	quiet.Group = "quiet"
	return Config{Groups: []Group{{Name: "quiet", Standby: true, MAC: virtualMAC}}, Services: []Service{applyService(0, 1), quiet}}
}

// vipsAt is what all links answer for, as service numbers with their MACs.
func (x *bed) vipsAt(t *testing.T) string {
	t.Helper()
	x.world.mu.Lock()
	defer x.world.mu.Unlock()
	var all []string
	for _, l := range x.world.links {
		var list []string
		for _, v := range l.vips {
			list = append(list, fmt.Sprintf("%d at %v", v.Addr.As4()[3]-80, forward.MAC(v.MAC)))
		}
		slices.Sort(list)
		all = append(all, strings.Join(list, ", "))
	}
	if all = slices.Compact(all); len(all) != 1 {
		t.Fatalf("links answer for different VIPs: %q", all)
	}
	return all[0]
}

// probed are the VIPs that the first link probed, by service number.
func (x *bed) probed() string {
	x.world.mu.Lock()
	defer x.world.mu.Unlock()
	serviceNumbers := func(vips []netip.Addr) (list []byte) {
		for _, a := range vips {
			list = append(list, a.As4()[3]-80)
		}
		return list
	}
	return fmt.Sprintf("probed %v", serviceNumbers(x.world.links[0].probed))
}

// awaitAnnounced fails unless each link announced exactly these services' VIPs.
func (x *bed) awaitAnnounced(t *testing.T, services ...int) {
	t.Helper()
	announced := func(l *worldLink) (list []int) {
		x.world.mu.Lock()
		defer x.world.mu.Unlock()
		for _, a := range l.announced {
			list = append(list, int(a.As4()[3])-80)
		}
		return list
	}
	for _, l := range x.world.links {
		within(t, "the announcement", func() {
			for len(announced(l)) < len(services) {
				time.Sleep(time.Millisecond)
			}
		})
		got := announced(l)
		slices.Sort(got) // they go in the background
		if !slices.Equal(got, services) {
			t.Errorf("%s announced the VIPs of services %v, want %v", l.name, got, services)
		}
	}
}

func (x *bed) roleEvents() (list []string) {
	x.world.mu.Lock()
	defer x.world.mu.Unlock()
	for _, e := range x.world.events {
		if e.Kind == EventRole {
			list = append(list, e.Group+" "+e.Reason)
		}
	}
	return list
}

func (x *bed) expectRole(t *testing.T, when, vips string, quiet Role) {
	t.Helper()
	if got := x.vipsAt(t); got != vips {
		t.Errorf("%s: links answer for %s; want %s", when, got, vips)
	}
	if got, want := x.b.Roles(), (map[string]Role{DefaultGroup: RoleActive, "quiet": quiet}); !maps.Equal(got, want) {
		t.Errorf("%s: roles %v, want %v", when, got, want)
	}
	for n := range 2 { // whatever the role
		_, sent := x.handle(0, rigFrame(rigClient, TCP, netip.MustParseAddrPort("198.51.100.7:4000"), applyVIP(n), forward.FlagSYN))
		if len(sent) != 1 || forward.MAC(sent[0]) != rigServerMAC(rigServer(n+1)) {
			t.Errorf("%s: packets of service %d are not forwarded", when, n)
		}
	}
}

const (
	oneVIP  = "0 at 00:00:00:00:00:00"
	bothVIP = "0 at 00:00:00:00:00:00, 1 at 00:00:5e:00:01:33"
)

func TestStandbyGroupsForwardAndAreSilent(t *testing.T) {
	x := newBed(t, roleConfig())
	x.expectRole(t, "at start", oneVIP, RoleStandby)
	if got, want := x.probed(), "probed [0]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	x.awaitAnnounced(t, 0)

	must(t, x.b.SetRole(t.Context(), "quiet", RoleActive))
	x.expectRole(t, "active", bothVIP, RoleActive)
	if got, want := x.probed(), "probed [0 1]"; got != want {
		t.Errorf("active: %s, want %s", got, want)
	}
	x.awaitAnnounced(t, 0, 1)
	must(t, x.b.SetRole(t.Context(), "quiet", RoleActive)) // again: nothing is new

	must(t, x.b.SetRole(t.Context(), "quiet", RoleStandby))
	x.expectRole(t, "standby again", oneVIP, RoleStandby)
	if got, want := x.roleEvents(), []string{"quiet active", "quiet standby"}; !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
}

func TestRoleThatCannotBeTakenStays(t *testing.T) {
	for name, step := range map[string]string{
		"another host has a VIP": "Probe world1", "a link refuses the VIPs": "SetVIPs world1", "the first link does": "SetVIPs world0",
	} {
		t.Run(name, func(t *testing.T) {
			x := newBed(t, roleConfig())
			x.world.on(step, 0, func(context.Context) error {
				if got := x.b.Roles()["quiet"]; got != RoleStandby {
					t.Errorf("meanwhile the role is %s, want %s", got, RoleStandby)
				}
				return errStep
			})
			if err := x.b.SetRole(t.Context(), "quiet", RoleActive); !errors.Is(err, errStep) {
				t.Errorf("%v, want %v", err, errStep)
			}
			x.expectRole(t, "after it", oneVIP, RoleStandby)
			if got := x.roleEvents(); len(got) != 0 {
				t.Errorf("events %q", got)
			}
			must(t, x.b.SetRole(t.Context(), "quiet", RoleActive))
			x.expectRole(t, "tried again", bothVIP, RoleActive)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := x.b.SetRole(ctx, "quiet", RoleStandby); !errors.Is(err, context.Canceled) {
				t.Errorf("%v, want %v", err, context.Canceled)
			}
			x.expectRole(t, "canceled", bothVIP, RoleActive)
		})
	}
}

func TestRolesThatAreRefused(t *testing.T) {
	x := newBed(t, roleConfig())
	if err := x.b.SetRole(t.Context(), "none", RoleActive); !errors.Is(err, ErrNoGroup) {
		t.Errorf("%v, want %v", err, ErrNoGroup)
	}
	for _, role := range []Role{RoleOpening, "master"} {
		if err := x.b.SetRole(t.Context(), "quiet", role); err == nil || !strings.Contains(err.Error(), "allowed: standby or active") {
			t.Errorf("role %q: %v", role, err)
		}
	}
	x.expectRole(t, "after it", oneVIP, RoleStandby)
}

func TestRoleIsSetBeforeRun(t *testing.T) {
	w := newWorld()
	b, err := New(onWorld(roleConfig()), w.env(time.Now))
	must(t, err)
	if got, want := b.Roles(), (map[string]Role{DefaultGroup: RoleOpening, "quiet": RoleOpening}); !maps.Equal(got, want) {
		t.Errorf("roles %v, want %v", got, want)
	}
	must(t, b.SetRole(t.Context(), "quiet", RoleActive))
	must(t, b.SetRole(t.Context(), DefaultGroup, RoleStandby))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n, err := b.open(ctx)
	must(t, err)
	must(t, n.start(b))
	x := &bed{rig: &rig{b: b, n: n}, world: w}
	if got, want := x.vipsAt(t), "1 at 00:00:5e:00:01:33"; got != want {
		t.Errorf("links answer for %s; want %s", got, want)
	}
}

func TestApplyKeepsRolesAndTakesNewGroups(t *testing.T) {
	x := newBed(t, roleConfig())
	must(t, x.b.SetRole(t.Context(), DefaultGroup, RoleStandby))
	must(t, x.b.SetRole(t.Context(), "quiet", RoleActive))
	cfg := roleConfig()
	for i, g := range []Group{{Name: "new"}, {Name: "later", Standby: true}} {
		s := applyService(2+i, 3)
		s.Group = g.Name
		cfg.Groups, cfg.Services = append(cfg.Groups, g), append(cfg.Services, s)
	}
	must(t, x.b.Apply(t.Context(), onWorld(cfg)))
	want := map[string]Role{DefaultGroup: RoleStandby, "quiet": RoleActive, "new": RoleActive, "later": RoleStandby}
	if got := x.b.Roles(); !maps.Equal(got, want) {
		t.Errorf("roles %v, want %v", got, want)
	}
	if got, want := x.vipsAt(t), "1 at 00:00:5e:00:01:33, 2 at 00:00:00:00:00:00"; got != want {
		t.Errorf("links answer for %s; want %s", got, want)
	}
}

func TestApplyReportsTheRolesItChanges(t *testing.T) {
	x := newBed(t, roleConfig())
	for _, standby := range []bool{true, false, false, true} {
		cfg := roleConfig()
		cfg.Groups[0].Standby = standby
		cfg.Groups = append(cfg.Groups, Group{Name: fmt.Sprintf("new-%t", standby)})
		must(t, x.b.Apply(t.Context(), onWorld(cfg)))
	}
	must(t, x.b.SetRole(t.Context(), "quiet", RoleActive))
	must(t, x.b.Apply(t.Context(), onWorld(roleConfig()))) // the role that was set outlasts it
	if got, want := x.roleEvents(), []string{"quiet active", "quiet standby", "quiet active"}; !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
	x.expectRole(t, "after it", bothVIP, RoleActive)
}

// TestServiceMovesToAnotherMAC: its VIP is never given twice, nor asked for.
func TestServiceMovesToAnotherMAC(t *testing.T) {
	cfg := roleConfig()
	cfg.Groups[0].Standby = false
	x := newBed(t, cfg)
	probed := x.probed()
	next := roleConfig()
	next.Groups[0].Standby = false
	next.Services[0].Group, next.Services[1].Group = "quiet", ""
	must(t, x.b.Apply(t.Context(), onWorld(next)))
	if got, want := x.vipsAt(t), "0 at 00:00:5e:00:01:33, 1 at 00:00:00:00:00:00"; got != want {
		t.Errorf("links answer for %s; want %s", got, want)
	}
	if got := x.probed(); got != probed {
		t.Errorf("%s, want %s", got, probed)
	}
	x.awaitAnnounced(t, 0, 0, 1, 1)
}

func TestPortsGetVirtualMACs(t *testing.T) {
	cfg := roleConfig()
	cfg.Groups = append(cfg.Groups, Group{Name: "more", MAC: virtualMAC2}, Group{Name: "same", MAC: virtualMAC})
	x := newBed(t, cfg)
	for _, p := range x.world.ports {
		if want := []forward.MAC{virtualMAC, virtualMAC2}; !slices.Equal(p.macs, want) {
			t.Errorf("%s receives for %v, want %v", p.name, p.macs, want)
		}
	}
	slices.Reverse(cfg.Groups)
	must(t, x.b.Apply(t.Context(), onWorld(cfg)))
	cfg.Groups[1].MAC[5]++
	var mistakes ConfigErrors
	if err := x.b.Apply(t.Context(), onWorld(cfg)); !errors.As(err, &mistakes) || mistakes[0].Path != "groups" {
		t.Errorf("another MAC: %v, want a mistake in groups", err)
	}
}

// TestIPv6VIPsNeedIPv6OnOneInterface: the others answer for those of IPv4.
func TestIPv6VIPsNeedIPv6OnOneInterface(t *testing.T) {
	cfg := Config{Services: []Service{applyService(0, 1)}}
	six := Service{Name: "six", VIP: netip.MustParseAddr("2001:db8::80"), Port: 80, Check: Check{Type: "none"}}
	six.Servers = []Server{{Address: netip.MustParseAddr("2001:db8::1")}}
	x := newBed(t, cfg)
	var log bytes.Buffer
	x.n.logger = slog.New(slog.NewTextHandler(&log, nil))
	cfg.Services = append(cfg.Services, six)
	x.world.links[0].noIPv6 = true
	for range 2 {
		must(t, x.b.Apply(t.Context(), onWorld(cfg)))
		if got, want := fmt.Sprint(addrsOf(x.world.links[0].vips), addrsOf(x.world.links[1].vips)), "[192.0.2.80] [192.0.2.80 2001:db8::80]"; got != want {
			t.Errorf("links answer for %s, want %s", got, want)
		}
	}
	if got := strings.Count(log.String(), "level=WARN"); got != 1 || !strings.Contains(log.String(), "interface=world0") {
		t.Errorf("warned %d times, want once: %s", got, &log)
	}

	must(t, x.b.RemoveService(t.Context(), "six"))
	x.world.links[1].noIPv6 = true
	want := x.report()
	if err := x.b.AddService(t.Context(), six); !errors.Is(err, ErrNoIPv6) {
		t.Errorf("no interface has IPv6: %v, want %v", err, ErrNoIPv6)
	}
	if got := x.report(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("after it:\n%v, want\n%v", got, want)
	}
}

// TestAnnouncementsThatFailAreLogged: unless the VIPs were given up meanwhile.
func TestAnnouncementsThatFailAreLogged(t *testing.T) {
	for name, givenUp := range map[string]bool{"still active": false, "standby again": true} {
		t.Run(name, func(t *testing.T) {
			x := newBed(t, roleConfig())
			x.awaitAnnounced(t, 0)
			var log bytes.Buffer
			x.b.env.Logger = slog.New(slog.NewTextHandler(&log, nil))
			goOn := make(chan struct{})
			x.world.on("Announce world1", 0, func(context.Context) error {
				<-goOn
				return errStep
			})
			must(t, x.b.SetRole(t.Context(), "quiet", RoleActive))
			if givenUp {
				must(t, x.b.SetRole(t.Context(), "quiet", RoleStandby))
			}
			close(goOn)
			within(t, "the announcement", func() { must(t, x.n.tasks.Wait()) })
			if logged := strings.Contains(log.String(), "VIPs not announced"); logged == givenUp {
				t.Errorf("logged %t, want %t: %s", logged, !givenUp, &log)
			}
		})
	}
}

// TestInterfaceThatIsBackIsAnnouncedOn: what its link answers for, and there alone.
func TestInterfaceThatIsBackIsAnnouncedOn(t *testing.T) {
	x := newBed(t, roleConfig())
	x.awaitAnnounced(t, 0)
	x.n.announceOn(x.b, 1)
	within(t, "the announcement", func() { must(t, x.n.tasks.Wait()) })
	x.world.mu.Lock()
	defer x.world.mu.Unlock()
	if got := fmt.Sprint(x.world.links[0].announced, x.world.links[1].announced); got != "[192.0.2.80] [192.0.2.80 192.0.2.80]" {
		t.Errorf("announced %s", got)
	}
}
