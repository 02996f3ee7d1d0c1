package vrrp

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Config is what a virtual router is to do. The zero value of each field but VRID and
// Source is its default.
type Config struct {
	Name      string // in errors; "" is the VRID
	Interface string // tells instances of a Router apart that have one VRID
	VRID      uint8  // 1 to 255
	Version   uint8  // 2 or 3; 0 is 3. Version 2 is for IPv4 only
	// Priority is from 1 to 254, or OwnerPriority for the router that has the addresses
	// as its own; 0 is 100.
	Priority uint8
	// Source is the address that adverts come from: the primary one of the interface,
	// for multicast over IPv6 the link-local one. Its family is the instance's.
	Source netip.Addr
	// Addresses are those of the virtual router, in the order in which they are in
	// adverts. RFC 9568 §5.2.9 wants a link-local one first for IPv6.
	Addresses []netip.Addr
	// Excluded are announced as Addresses are, and are not in adverts, which have room
	// for few. They may be of the other family.
	Excluded []netip.Addr
	// Group is the name of a sync group: instances of a Router that have it in common
	// are master, backup and in fault together. "" is none.
	Group string

	// Interval is the time between adverts: 1 s to 255 s in whole seconds for version
	// 2, 10 ms to 40.95 s in steps of 10 ms for version 3; 0 is 1 s.
	Interval time.Duration
	// DownAdverts is how many adverts in a row must be missing until a backup takes
	// over, 1 to 100; 0 is 3, as RFC 9568 §6.1 has it.
	DownAdverts int
	// StartMaster makes the address owner master at once when it starts; others wait
	// for the master down time all the same. The zero value has the owner wait too.
	StartMaster bool
	// NoPreempt leaves the role to a master of lower priority as long as it is there.
	NoPreempt bool
	// PreemptDelay is how long a master of lower priority is left alone from the first
	// advert of it that is heard; up to 1000 s. It has nothing to do with a start where
	// there is no master.
	PreemptDelay time.Duration

	// Peers are where adverts go; none is multicast.
	Peers []Peer
	// Multicast is the group of multicast adverts; the zero value is 224.0.0.18 or
	// ff02::12.
	Multicast netip.Addr
	// TTL is the TTL or hop limit of unicast adverts; 0 is 255 for IPv4 and 64 for
	// IPv6, as keepalived has it. Multicast has 255 always.
	TTL uint8
	// MTU is how large an advert may be, 0 is 1500.
	MTU int

	// Password of one to eight bytes authenticates adverts of version 2. Everybody on
	// the wire can read it, unless AH is set, which makes it a key.
	Password string
	AH       bool
	// HMAC authenticates adverts of both versions as auth_hmac of keepalived 2.4; nil
	// does not.
	HMAC *HMAC
	// Checksum is the kind of checksum that version 3 has over IPv4. The zero value
	// takes all kinds and sends what the peer sends.
	Checksum Checksum

	// LowerNoAdvert leaves an advert of lower priority unanswered, as RFC 5798 §6.4.3
	// had it; RFC 9568 §6.4.3 has the master send an advert.
	LowerNoAdvert bool
	// OwnerIgnoresAdverts has the address owner take no adverts while it is master.
	OwnerIgnoresAdverts bool

	Announce Announce

	// Wall returns the time of day at now, for the HMAC trailer; nil is now itself.
	Wall func(now time.Time) time.Time

	// Keepalived has the places in which an instance does what keepalived does rather
	// than what is safe.
	Keepalived Keepalived
}

// Peer is another router of a virtual router that uses unicast.
type Peer struct {
	Addr netip.Addr
	// MinTTL and MaxTTL bound the TTL of what comes from the peer; 0 is no bound. 255
	// for MinTTL takes only what no router has forwarded: RFC 5082.
	MinTTL, MaxTTL uint8
}

// Announce says how addresses are announced, by gratuitous ARP and unsolicited neighbor
// advertisements. The names of keepalived's options are in brackets.
type Announce struct {
	// Repeat is how many times each address is announced at a takeover
	// [garp_master_repeat]; 0 is 5.
	Repeat int
	// Delay is how long after a takeover that is done once more [garp_master_delay];
	// 0 is 5 s, negative is never.
	Delay time.Duration
	// Refresh is the time between announcements for as long as the instance is master
	// [garp_master_refresh], 0 is never. They go with the next advert.
	Refresh time.Duration
	// RefreshRepeat is how many times each address is announced then
	// [garp_master_refresh_repeat]; 0 is once.
	RefreshRepeat int
	// LowerRepeat and LowerDelay are for the announcements after an advert of lower
	// priority, whose sender may have announced the addresses as its own
	// [garp_lower_prio_repeat, garp_lower_prio_delay]; 0 is as Repeat and Delay,
	// negative is none.
	LowerRepeat int
	LowerDelay  time.Duration
	// ARPInterval and NDInterval are the times between announcements of IPv4 and IPv6
	// addresses [garp_interval, gna_interval]; 0 announces all at once, which for many
	// addresses is more than a switch may take.
	ARPInterval, NDInterval time.Duration
}

// HMACMode is what an instance does about adverts without a trailer.
type HMACMode uint8

const (
	HMACEnforce     HMACMode = iota // signs, takes signed adverts only
	HMACPermissive                  // signs, takes unsigned ones too
	HMACReceiveOnly                 // does not sign, takes unsigned ones too
)

// HMAC is the configuration of the trailer of adverts. Signed adverts must be right in
// all modes. To change from unsigned adverts, first give all routers the keys with
// HMACReceiveOnly, then HMACPermissive, then HMACEnforce.
type HMAC struct {
	Keys   []Key // any of them is good for adverts that are received
	Active uint8 // ID of the key to sign with
	Mode   HMACMode
	// Monotonic takes adverts whatever the clock says, as long as the number in the
	// trailer grows. It asks for no common time, and lets a recorded advert be played
	// back to a router that has restarted.
	Monotonic bool
	// Window is how far the time in a trailer may be from the clock, 1 s to 300 s in
	// whole seconds; 0 is three times the interval or 5 s, whatever is longer.
	Window time.Duration
}

// Key is one HMAC key.
type Key struct {
	ID     uint8  // 1 to 255
	Secret []byte // 32 to 64 bytes
}

// Keepalived has keepalived's way for each place where an instance differs from it
// because keepalived's way is known to do harm. The zero value is the safe way.
type Keepalived struct {
	// DropOtherAddresses drops adverts whose addresses are not the instance's, so that
	// both routers become master while one configuration is changed before the other.
	// keepalived up to 2.2 does.
	DropOtherAddresses bool
	// DropOtherChecksum drops adverts of version 3 over IPv4 that have a good checksum
	// of another kind than the one in Checksum (ChecksumPseudo if that is unknown), so
	// that both routers become master.
	DropOtherChecksum bool
	// StepBackSilently has a master that hears one of higher priority become backup
	// without a last advert. Without it, the winner of a healed split is not made aware
	// that there was another, and does not announce the addresses again. It is
	// keepalived's default, higher_prio_send_advert turns it off.
	StepBackSilently bool
	// SlowPreempt has a backup whose master falls below its own priority wait for the
	// rest of the master down time rather than for the skew time.
	SlowPreempt bool
	// LatePriority sends a new priority with the next advert rather than at once.
	LatePriority bool
	// IgnorePause has a process that was stopped claim to be master when it goes on.
	IgnorePause bool
	// AnswerAll answers each advert of lower priority by an advert and announcements,
	// however fast they come.
	AnswerAll bool
	// AnySource takes unicast adverts from addresses that are not peers.
	AnySource bool
	// DroppedDelays has each advert of its VRID that a master drops put off its own next
	// advert, so that whoever sends wrong ones fast enough silences it.
	DroppedDelays bool
	// FirstOwnerYields has the first of two address owners that hears the other give up,
	// rather than the one with the lower address. keepalived up to 2.2 does.
	FirstOwnerYields bool
}

// withDefaults returns c with the defaults in place of zero values.
func (c Config) withDefaults() Config {
	byDefault(&c.Version, 3)
	byDefault(&c.Priority, 100)
	byDefault(&c.Interval, time.Second)
	byDefault(&c.DownAdverts, 3)
	byDefault(&c.MTU, 1500)
	ttl, group := uint8(255), group4
	if c.Source.Is6() {
		ttl, group = 64, group6
	}
	byDefault(&c.TTL, ttl)
	byDefault(&c.Multicast, group)
	if c.HMAC != nil {
		h := *c.HMAC
		byDefault(&h.Window, min(max(3*c.Interval, 5*time.Second), 300*time.Second))
		c.HMAC = &h
	}
	a := &c.Announce
	byDefault(&a.Repeat, 5)
	byDefault(&a.Delay, 5*time.Second)
	byDefault(&a.RefreshRepeat, 1)
	byDefault(&a.LowerRepeat, a.Repeat)
	byDefault(&a.LowerDelay, a.Delay)
	return c
}

func byDefault[T comparable](v *T, d T) {
	if *v == *new(T) {
		*v = d
	}
}

func (c *Config) unicast() bool { return len(c.Peers) > 0 }

// signs reports whether adverts get an HMAC trailer.
func (c *Config) signs() bool { return c.HMAC != nil && c.HMAC.Mode != HMACReceiveOnly }

func (c *Config) wall(now time.Time) time.Time {
	if c.Wall == nil {
		return now
	}
	return c.Wall(now)
}

// authType is the authentication type of adverts of version 2.
func (c *Config) authType() AuthType {
	switch {
	case c.AH:
		return AuthAH
	case c.Password != "":
		return AuthPassword
	}
	return AuthNone
}

// password is Password as it is in adverts and as the key of the AH.
func (c *Config) password() (b [authDataLen]byte) {
	copy(b[:], c.Password)
	return b
}

// name is what the instance is called in errors.
func (c *Config) name() string {
	if c.Name == "" {
		return fmt.Sprintf("VRID %d", c.VRID)
	}
	return c.Name
}

// secret is the key to sign with.
func (h *HMAC) secret() []byte {
	i := slices.IndexFunc(h.Keys, func(k Key) bool { return k.ID == h.Active })
	return h.Keys[i].Secret
}
