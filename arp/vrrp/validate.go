package vrrp

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Validate returns all that is wrong with c, or nil.
func (c Config) Validate() error {
	v := validator{name: c.name()}
	given := c
	c = c.withDefaults()
	if c.VRID == 0 {
		v.bad("VRID", 0, "want 1 to 255")
	}
	v.addresses(&c)
	v.timers(&given, &c)
	v.destinations(&c)
	v.authentication(&given, &c)
	v.announce(&c.Announce)
	return errors.Join(v.errs...)
}

// validator collects errors.
type validator struct {
	name string
	errs []error
}

func (v *validator) bad(field string, value any, want string, args ...any) {
	v.errs = append(v.errs, fmt.Errorf("vrrp: %s: %s %v: %s", v.name, field, value, fmt.Sprintf(want, args...)))
}

// within checks a value that has bounds.
func within[T int | uint8 | time.Duration](v *validator, field string, value, lowest, highest T) {
	if value < lowest || value > highest {
		v.bad(field, value, "want %v to %v", lowest, highest)
	}
}

func (v *validator) addresses(c *Config) {
	family := "IPv4"
	switch {
	case !c.Source.IsValid():
		v.bad("Source", c.Source, "want the address that adverts come from")
		return
	case c.Source.Is4In6(), c.Source.Zone() != "", c.Source.IsMulticast(), c.Source.IsUnspecified():
		v.bad("Source", c.Source, "want a unicast IPv4 or IPv6 address without zone")
		return
	case c.Source.Is6():
		family = "IPv6"
	}
	seen := map[netip.Addr]bool{}
	check := func(field string, addrs []netip.Addr, any bool) {
		for i, a := range addrs {
			at := fmt.Sprintf("%s[%d]", field, i)
			switch {
			case !a.IsValid(), a.Is4In6(), a.Zone() != "", a.IsMulticast(), a.IsUnspecified():
				v.bad(at, a, "want a unicast IPv4 or IPv6 address without zone")
			case !any && a.Is4() != c.Source.Is4():
				v.bad(at, a, "want %s as Source %s; addresses of the other family go to Excluded", family, c.Source)
			case seen[a]:
				v.bad(at, a, "is there twice")
			}
			seen[a] = true
		}
	}
	check("Addresses", c.Addresses, false)
	check("Excluded", c.Excluded, true)
	if room := v.room(c); len(c.Addresses) > room {
		v.bad("Addresses", len(c.Addresses), "want at most %d, as an advert has room for with MTU %d; more go to Excluded", room, c.MTU)
	}
}

// room is how many addresses an advert has room for.
func (v *validator) room(c *Config) int {
	a := Advert{Src: c.Source, Version: c.Version}
	if c.signs() {
		a.Trailer = &Trailer{}
	}
	used := ipv4HeaderLen + a.messageLen()
	if c.Source.Is6() {
		used = ipv6HeaderLen + a.messageLen()
	}
	if c.AH {
		used += ahLen
	}
	return min((c.MTU-used)/(c.Source.BitLen()/8), 255)
}

func (v *validator) timers(given, c *Config) {
	switch {
	case c.Version != 2 && c.Version != 3:
		v.bad("Version", c.Version, "want 2 or 3")
	case c.Version == 2 && c.Source.Is6():
		v.bad("Version", c.Version, "IPv6 wants 3")
	case c.Version == 2 && (c.Interval < time.Second || c.Interval > 255*time.Second || c.Interval%time.Second != 0):
		v.bad("Interval", c.Interval, "VRRP 2 wants 1s to 255s in whole seconds")
	case c.Version == 3 && (c.Interval < 10*time.Millisecond || c.Interval > 40950*time.Millisecond || c.Interval%(10*time.Millisecond) != 0):
		v.bad("Interval", c.Interval, "VRRP 3 wants 10ms to 40.95s in steps of 10ms")
	}
	within(v, "DownAdverts", c.DownAdverts, 1, 100)
	within(v, "PreemptDelay", c.PreemptDelay, 0, 1000*time.Second)
	switch {
	case c.NoPreempt && c.PreemptDelay != 0:
		v.bad("PreemptDelay", c.PreemptDelay, "has no meaning with NoPreempt")
	case c.StartMaster && c.PreemptDelay != 0:
		v.bad("PreemptDelay", c.PreemptDelay, "has no meaning with StartMaster")
	}
	if c.NoPreempt && (given.Priority == OwnerPriority || c.StartMaster) {
		v.bad("NoPreempt", true, "is not for the address owner, nor with StartMaster")
	}
}

func (v *validator) destinations(c *Config) {
	if m := c.Multicast; !m.IsMulticast() || m.Is4() != c.Source.Is4() || m.Zone() != "" {
		v.bad("Multicast", m, "want a multicast group of the family of Source %s", c.Source)
	}
	seen := map[netip.Addr]bool{}
	for i, p := range c.Peers {
		at := fmt.Sprintf("Peers[%d]", i)
		switch {
		case !p.Addr.IsValid(), p.Addr.IsMulticast(), p.Addr.IsUnspecified(), p.Addr.Zone() != "":
			v.bad(at, p.Addr, "want a unicast address without zone")
		case p.Addr.Is4() != c.Source.Is4():
			v.bad(at, p.Addr, "want the family of Source %s", c.Source)
		case p.Addr == c.Source:
			v.bad(at, p.Addr, "is Source itself")
		case seen[p.Addr]:
			v.bad(at, p.Addr, "is there twice")
		}
		seen[p.Addr] = true
		if p.MaxTTL != 0 && p.MinTTL > p.MaxTTL {
			v.bad(at+".MinTTL", p.MinTTL, "is more than MaxTTL %d", p.MaxTTL)
		}
	}
	if c.Checksum > ChecksumPseudoMulticast {
		v.bad("Checksum", uint8(c.Checksum), "want one of the constants")
	}
	if c.Checksum == ChecksumPseudoMulticast && !c.unicast() {
		v.bad("Checksum", c.Checksum, "is for unicast")
	}
	if smallest := 576; c.MTU < smallest {
		v.bad("MTU", c.MTU, "want at least %d", smallest)
	}
}

func (v *validator) authentication(given, c *Config) {
	switch {
	case c.Password != "" && c.Version != 2:
		v.bad("Password", "(hidden)", "VRRP %d has none, HMAC is for all versions", c.Version)
	case c.Password != "" && c.HMAC != nil:
		v.bad("Password", "(hidden)", "is not for use with HMAC")
	case len(c.Password) > authDataLen:
		v.bad("Password", "(hidden)", "has %d bytes, adverts have room for %d and the others would be cut off", len(c.Password), authDataLen)
	case c.AH && c.Password == "":
		v.bad("AH", true, "wants a Password")
	}
	h := c.HMAC
	if h == nil {
		return
	}
	if h.Mode > HMACReceiveOnly {
		v.bad("HMAC.Mode", h.Mode, "want one of the constants")
	}
	if w := given.HMAC.Window; w != 0 && (w < time.Second || w > 300*time.Second || w%time.Second != 0) {
		v.bad("HMAC.Window", w, "want 1s to 300s in whole seconds")
	}
	seen := map[uint8]bool{}
	for i, k := range h.Keys {
		at := fmt.Sprintf("HMAC.Keys[%d]", i)
		if k.ID == 0 || seen[k.ID] {
			v.bad(at+".ID", k.ID, "want 1 to 255, each once")
		}
		if len(k.Secret) < 32 || len(k.Secret) > 64 {
			v.bad(at+".Secret", "(hidden)", "has %d bytes, want 32 to 64", len(k.Secret))
		}
		seen[k.ID] = true
	}
	if !seen[h.Active] && c.signs() || len(h.Keys) == 0 {
		v.bad("HMAC.Active", h.Active, "is not the ID of a key")
	}
}

func (v *validator) announce(a *Announce) {
	most := time.Hour
	within(v, "Announce.Repeat", a.Repeat, 1, 60)
	within(v, "Announce.RefreshRepeat", a.RefreshRepeat, 1, 60)
	within(v, "Announce.LowerRepeat", a.LowerRepeat, -1, 60)
	within(v, "Announce.Refresh", a.Refresh, 0, 24*most)
	within(v, "Announce.ARPInterval", a.ARPInterval, 0, most)
	within(v, "Announce.NDInterval", a.NDInterval, 0, most)
	within(v, "Announce.Delay", a.Delay, -most, most)
	within(v, "Announce.LowerDelay", a.LowerDelay, -most, most)
}
