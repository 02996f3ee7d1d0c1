package lb

import (
	"fmt"
	"slices"
	"time"

	"github.com/golb/golb/arp"
	"github.com/golb/golb/lb/internal/fields"
)

// ConflictPolicy is what becomes of a VIP that another host on the link has. 0 is refuse for
// a VIP in a subnet of the interface, and warn for others, which a router may answer for by
// proxy ARP, and where the other host is a server of the config: its answers are a mistake
// there, and golb's announcements can win.
type ConflictPolicy uint8

// The policies for VIPs that another host has.
const (
	ConflictRefuse ConflictPolicy = iota + 1 // the start, the change of config or of the role fails
	ConflictWarn                             // the VIP is claimed, and the conflict told
	ConflictIgnore                           // nobody is asked before, and conflicts are only counted: the VIP is meant to be shared
)

var conflictPolicyNames = map[ConflictPolicy]string{ConflictRefuse: "refuse", ConflictWarn: "warn", ConflictIgnore: "ignore"}

// String returns the name in a config.
func (p ConflictPolicy) String() string { return nameOf(conflictPolicyNames, p, "address_conflict") }

// UnmarshalText reads a name in a config. Its error says what is allowed.
func (p *ConflictPolicy) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*p = 0
		return nil
	}
	return parseName(conflictPolicyNames, p, b, "refuse, warn or ignore")
}

// Announce says when VIPs are announced to all hosts (gratuitous ARP, unsolicited neighbor
// advertisements), by the names and defaults of keepalived's vrrp_garp_master_repeat and so
// on: a burst when golb claims the VIP, a second one, and then one now and then.
type Announce struct {
	Repeat int            `yaml:"repeat"` // announcements in each of the two bursts; 0 means 5
	Delay  *time.Duration `yaml:"delay"`  // from the first burst to the second; nil means 5 s, 0 no second one
	// Refresh is the time from one later burst to the next, and RefreshRepeat the number of
	// announcements in it; 0 means never, and 1.
	Refresh       time.Duration `yaml:"refresh"`
	RefreshRepeat int           `yaml:"refresh_repeat"`
	Interval      time.Duration `yaml:"interval"` // between the announcements of a burst (keepalived's garp_interval, gna_interval); 0 means none
}

// maxRepeat bounds the announcements in a burst.
const maxRepeat = 100

func (v *validator) announce(path string, a *Announce) {
	for _, x := range []struct {
		key   string
		value int
	}{{"repeat", a.Repeat}, {"refresh_repeat", a.RefreshRepeat}} {
		if x.value < 0 || x.value > maxRepeat {
			v.fail(path+"."+x.key, x.value, "out of range", fmt.Sprintf("0 (the default) to %d", maxRepeat))
		}
	}
	v.duration(path, "refresh", a.Refresh, time.Second)
	for _, x := range []struct {
		key         string
		value, most time.Duration
	}{{"delay", orElse(a.Delay, 0), maxCheckDuration}, {"interval", a.Interval, time.Second}} {
		if x.value < 0 || x.value > x.most {
			v.fail(path+"."+x.key, x.value, "out of range", "0 to "+fields.Duration(x.most))
		}
	}
}

// link returns what a link is to do.
func (a *Announce) link() arp.Announcement {
	delay := orElse(a.Delay, 0)
	if a.Delay != nil && delay == 0 {
		delay = -1
	}
	return arp.Announcement{Repeat: a.Repeat, Delay: delay, Refresh: a.Refresh, RefreshRepeat: a.RefreshRepeat, Interval: a.Interval}
}

// group checks the parts of a group that are about claiming its VIPs.
func (v *validator) group(path string, g *Group, interfaces []string) {
	if _, ok := conflictPolicyNames[g.AddressConflict]; !ok && g.AddressConflict != 0 {
		v.fail(path+".address_conflict", g.AddressConflict, "unknown policy", "refuse, warn or ignore")
	}
	for i, name := range g.Interfaces {
		at := fmt.Sprintf("%s.interfaces[%d]", path, i)
		switch {
		case !slices.Contains(interfaces, name):
			v.fail(at, name, "not an interface of the config", fmt.Sprint(interfaces))
		case slices.Contains(g.Interfaces[:i], name):
			v.fail(at, name, "named twice", "")
		}
	}
}

// claimsOn reports whether the group's VIPs are claimed on an interface.
func (g *Group) claimsOn(iface string) bool {
	return g == nil || len(g.Interfaces) == 0 || slices.Contains(g.Interfaces, iface)
}

// conflictPolicy returns the policy of a group; g may be nil.
func (g *Group) conflictPolicy() ConflictPolicy {
	if g == nil {
		return 0
	}
	return g.AddressConflict
}
