package lb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golb/golb/forward"
)

var strangerMAC = forward.MAC{2, 0, 0, 0, 9, 9}

// has returns a step of a world in which another host has the VIP of a service.
func has(service int, mac forward.MAC, onLink bool) func(context.Context) error {
	return func(context.Context) error {
		return errors.Join(nil, &ConflictError{Conflict: Conflict{VIP: applyVIP(service).Addr(), MAC: mac, Interface: "world0", OnLink: onLink}})
	}
}

func TestVIPsThatAnotherHostHas(t *testing.T) {
	server := rigServerMAC(rigServer(2))
	for _, tc := range []struct {
		name    string
		policy  ConflictPolicy
		mac     forward.MAC
		onLink  bool
		method  Method
		refused string // why; "" where the VIP is claimed
	}{
		{name: "a stranger", mac: strangerMAC, onLink: true,
			refused: `services[1].vip: "192.0.2.81": 02:00:00:00:09:09 answers for it on world0; take the address off that host`},
		{name: "a stranger, of a VIP of elsewhere", mac: strangerMAC},
		{name: "a server", mac: server, onLink: true},
		{name: "a stranger, with warn", policy: ConflictWarn, mac: strangerMAC, onLink: true},
		{name: "a stranger of a VIP of elsewhere, with refuse", policy: ConflictRefuse, mac: strangerMAC, refused: "02:00:00:00:09:09 answers for it on world0"},
		{name: "a server, with refuse", policy: ConflictRefuse, mac: server, onLink: true, refused: "server s2 (" + server.String() + ") answers for it on world0; " +
			"that server must not answer ARP for the VIP. Linux: the VIP with /32 on lo, and sysctl net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2"},
		{name: "a server of nat, with refuse", policy: ConflictRefuse, mac: server, onLink: true, method: NAT, refused: "take the VIP off that server"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := roleConfig()
			cfg.Groups[0].AddressConflict = tc.policy
			cfg.Services[1].Method = tc.method
			x := newBed(t, cfg)
			x.world.on("Probe world0", 0, has(1, tc.mac, tc.onLink))
			err := x.b.SetRole(t.Context(), "quiet", RoleActive)
			if tc.refused == "" {
				must(t, err)
				x.expectRole(t, "claimed", bothVIP, RoleActive)
				return
			}
			var mistakes ConfigErrors
			if !errors.As(err, &mistakes) || !strings.Contains(err.Error(), tc.refused) || !strings.HasSuffix(err.Error(), "address_conflict: warn in group quiet") {
				t.Fatalf("got %v, want %s", err, tc.refused)
			}
			x.expectRole(t, "refused", oneVIP, RoleStandby)
		})
	}
}

// TestServerThatIsAddedIsToldFromAStranger: its MAC is asked for before the VIP is.
func TestServerThatIsAddedIsToldFromAStranger(t *testing.T) {
	x := newBed(t, Config{Services: []Service{applyService(0, 1)}})
	x.world.on("Probe world0", 0, has(1, rigServerMAC(rigServer(7)), true))
	must(t, x.b.AddService(t.Context(), applyService(1, 7)))
}

func TestSharedVIPsAreNotAskedFor(t *testing.T) {
	cfg := roleConfig()
	cfg.Groups[0].AddressConflict = ConflictIgnore
	x := newBed(t, cfg)
	must(t, x.b.SetRole(t.Context(), "quiet", RoleActive))
	if got := x.probed(); got != "probed [0]" {
		t.Errorf("%s, want none of the group", got)
	}
	for _, v := range x.world.links[0].vips {
		if v.Shared != (v.Addr == applyVIP(1).Addr()) {
			t.Errorf("%+v", v)
		}
	}
}

func TestGroupIsClaimedOnItsInterfaces(t *testing.T) {
	cfg := roleConfig()
	cfg.Groups[0].Standby, cfg.Groups[0].Interfaces = false, []string{"world1"}
	x := newBed(t, cfg)
	claimed := func(want string) {
		t.Helper()
		x.world.mu.Lock()
		defer x.world.mu.Unlock()
		if got := fmt.Sprint(addrsOf(x.world.links[0].vips), addrsOf(x.world.links[1].vips)); got != want {
			t.Errorf("links answer for %s, want %s", got, want)
		}
	}
	claimed("[192.0.2.80] [192.0.2.80 192.0.2.81]")
	if got := x.probed(); got != "probed [0]" {
		t.Errorf("the other interface: %s", got)
	}
	next := roleConfig()
	next.Groups[0].Standby, next.Groups[0].Interfaces = false, []string{"world0"}
	must(t, x.b.Apply(t.Context(), onWorld(next)))
	claimed("[192.0.2.80 192.0.2.81] [192.0.2.80]")
	x.world.links[0].noIPv6 = true
	next.Services = append(next.Services, Service{Name: "six", VIP: netip.MustParseAddr("2001:db8::80"), Port: 80, Group: "quiet", Check: Check{Type: "none"}})
	if err := x.b.Apply(t.Context(), onWorld(next)); !errors.Is(err, ErrNoIPv6) {
		t.Errorf("an IPv6 VIP on an interface without IPv6: %v", err)
	}
	claimed("[192.0.2.80 192.0.2.81] [192.0.2.80]")
}

func TestAnnouncementsAreAsConfigured(t *testing.T) {
	delay := time.Duration(0)
	cfg := Config{Services: []Service{applyService(0, 1)}}
	x := newBed(t, cfg)
	x.awaitAnnounced(t, 0)
	cfg.Announce = Announce{Repeat: 2, Delay: &delay, Refresh: time.Minute, RefreshRepeat: 3, Interval: time.Millisecond}
	must(t, x.b.Apply(t.Context(), onWorld(cfg)))
	x.awaitAnnounced(t, 0, 0) // by the new rhythm
	how := x.world.links[0].vips[0].Announce
	if how.Repeat != 2 || how.Delay >= 0 || how.Refresh != time.Minute || how.RefreshRepeat != 3 || how.Interval != time.Millisecond {
		t.Errorf("%+v", how)
	}
	if got := x.probed(); got != "probed [0]" {
		t.Errorf("%s, want it once", got)
	}
}

func TestVIPsAreAnnouncedOnDemand(t *testing.T) {
	x := newBed(t, roleConfig())
	x.awaitAnnounced(t, 0)
	must(t, x.b.Announce(t.Context(), DefaultGroup))
	x.awaitAnnounced(t, 0, 0)
	if err := x.b.Announce(t.Context(), "none"); !errors.Is(err, ErrNoGroup) {
		t.Errorf("%v, want %v", err, ErrNoGroup)
	}
	if err := x.b.Announce(t.Context(), "quiet"); err == nil || !strings.Contains(err.Error(), `"quiet" is standby`) {
		t.Errorf("standby: %v", err)
	}
}

func TestConflictsAreShownUntilTheyEnd(t *testing.T) {
	x := newBed(t, roleConfig())
	tell := func(c Conflict) { x.world.links[0].cfg.OnConflict(c) }
	shown := func() (list []string) {
		var st Stats
		text, err := json.Marshal(x.b.Stats())
		must(t, err)
		must(t, json.Unmarshal(text, &st))
		for i, s := range x.b.Health() {
			for j, c := range s.Conflicts {
				list = append(list, fmt.Sprintf("%s: %s on %s: %s, group %s", s.Name, c.VIP, c.Interface, c.Who(), c.Group))
				if st.Services[i].Conflicts[j].Who() != c.Who() || c.Remedy == "" || c.Since.IsZero() {
					t.Errorf("list and health differ, or say too little: %+v, %+v", st.Services[i].Conflicts[j], c)
				}
			}
		}
		return list
	}
	told := func() (list []string) {
		x.world.mu.Lock()
		defer x.world.mu.Unlock()
		for _, e := range x.world.events {
			if e.VIP.IsValid() {
				reason, _, _ := strings.Cut(e.Reason, ";")
				list = append(list, fmt.Sprintf("%s %s: %s", e.Kind, e.VIP, reason))
			}
		}
		return list
	}
	stranger := Conflict{VIP: applyVIP(0).Addr(), MAC: strangerMAC, Interface: "world0", OnLink: true}
	server := stranger
	server.MAC = rigServerMAC(rigServer(1))
	standby := stranger
	standby.VIP = applyVIP(1).Addr()
	for _, c := range []Conflict{stranger, server, stranger, standby} {
		tell(c)
	}
	want := []string{
		"service 0: 192.0.2.80 on world0: 02:00:00:00:09:09, group default",
		"service 0: 192.0.2.80 on world0: server s1 (" + forward.MAC(server.MAC).String() + "), group default",
	}
	if got := shown(); !slices.Equal(got, want) {
		t.Errorf("shown %q, want %q", got, want)
	}
	server.Ended = true
	tell(server)
	tell(server)
	if got := shown(); !slices.Equal(got, want[:1]) {
		t.Errorf("shown %q, want %q", got, want[:1])
	}
	if got, want := told(), []string{
		"vip_conflict 192.0.2.80: 02:00:00:00:09:09 answers for it on world0, group default",
		"vip_conflict 192.0.2.80: server s1 (" + forward.MAC(server.MAC).String() + ") answers for it on world0, group default",
		"conflict_ended 192.0.2.80: server s1 (" + forward.MAC(server.MAC).String() + ") no longer answers for it on world0",
	}; !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
	must(t, x.b.SetRole(t.Context(), DefaultGroup, RoleStandby))
	if got := shown(); len(got) != 0 {
		t.Errorf("shown %q of a VIP that is given up", got)
	}
}

// TestConflictsOnAnInterfaceThatCame: the policy is that of the start, but nothing else is
// refused for it.
func TestConflictsOnAnInterfaceThatCame(t *testing.T) {
	for _, tc := range []struct {
		name    string
		policy  ConflictPolicy
		mac     forward.MAC
		claimed bool
	}{
		{"a stranger", 0, strangerMAC, false},
		{"a stranger, with warn", ConflictWarn, strangerMAC, true},
		{"a server", 0, rigServerMAC(rigServer(2)), true},
		{"a stranger, with ignore", ConflictIgnore, strangerMAC, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := roleConfig()
			cfg.Groups[0].AddressConflict = tc.policy
			x := newBed(t, cfg)
			f := x.n.interfaces[0]
			f.link.mu.Lock()
			f.link.unprobed[applyVIP(1).Addr()] = true // as after a probe without carrier
			f.link.mu.Unlock()
			x.world.on("Probe world0", 0, func(context.Context) error { return ErrLinkDown })
			must(t, x.b.SetRole(t.Context(), "quiet", RoleActive))
			x.world.on("Probe world0", 0, has(1, tc.mac, true))
			x.n.tasks.Go(func() error { return x.n.takeIn(x.b, f) })
			answered := func() bool {
				x.world.mu.Lock()
				defer x.world.mu.Unlock()
				return slices.ContainsFunc(x.world.links[0].vips, func(v LinkVIP) bool { return v.Addr == applyVIP(1).Addr() })
			}
			shown := func() int { return len(x.b.Health()[1].Conflicts) }
			await := func(what string, ok func() bool) {
				t.Helper()
				within(t, what, func() {
					for !ok() {
						time.Sleep(time.Millisecond)
					}
				})
			}
			if tc.claimed {
				await("the claim", answered)
				return
			}
			await("the conflict", func() bool { return shown() == 1 })
			if answered() {
				t.Error("claimed")
			}
			f.link.wakeTakeIn() // the other host is gone
			await("the claim", answered)
			await("the end of the conflict", func() bool { return shown() == 0 })
		})
	}
}
