package arp

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"
)

// Config says how a link behaves. The zero value of each field but Interface is its
// default.
type Config struct {
	// Interface is the name of an Ethernet interface.
	Interface string
	// MAC is the address of VIPs that have none of their own (VIP.MAC). Zero means the
	// interface's, which is followed when it changes.
	MAC [6]byte
	// Logger gets conflicts, silent neighbours and changes of the link; nil discards
	// them.
	Logger *slog.Logger

	// Retry is about how long to wait for an answer from a neighbour until the next
	// question; 0 means 1 s (RetransTimer of RFC 4861 §10).
	Retry time.Duration
	// Refresh is about how long an answer from a neighbour is good, until it is asked
	// again; 0 means 20 s. Both are spread by a quarter either way, so that hundreds
	// of neighbours are not asked at once.
	Refresh time.Duration

	// ProbeTime is how long Probe listens for a host that has an address. It asks three
	// times (PROBE_NUM of RFC 5227 §1.1), at the beginning, after a quarter and at half of
	// the time. 0 means 400 ms. 4 s is the least that RFC 5227 allows (PROBE_MIN of 1 s
	// between the questions, ANNOUNCE_WAIT of 2 s after them, without PROBE_WAIT, a delay of
	// up to 1 s before them, which keeps hosts apart that are switched on together).
	// Negative: Probe asks nothing and finds nobody.
	ProbeTime time.Duration

	// AnnounceCount is the number of times that a VIP is announced; 0 means 3
	// (MAX_NEIGHBOR_ADVERTISEMENT of RFC 4861 §10).
	AnnounceCount int
	// AnnounceInterval is the time between announcements; 0 means 1 s.
	AnnounceInterval time.Duration

	// OnConflict is called where another host answers for a VIP of ours, or announces
	// it, while we have it; at most once in 10 s per VIP. It runs on the goroutine
	// that also calls back for Resolve. nil: only logged.
	OnConflict func(Conflict)
	// OnNeighborConflict is called where another host claims the address of a neighbor
	// that still answers at its own MAC; at most once in 10 s per neighbor, on the same
	// goroutine. nil: only logged.
	OnNeighborConflict func(NeighborConflict)
}

// Conflict is a claim by another host to a VIP.
type Conflict struct {
	VIP       netip.Addr
	MAC       [6]byte // of the other host
	Interface string  // where it was seen
}

// NeighborConflict is a claim to the address of a neighbor that answers elsewhere.
type NeighborConflict struct {
	Addr      netip.Addr
	MAC       [6]byte // where the neighbor answers, and stays
	Claimant  [6]byte // the MAC of the other host
	Interface string  // where it was seen
}

// ConflictError says that a VIP is taken.
type ConflictError struct{ Conflict }

func (e *ConflictError) Error() string {
	return fmt.Sprintf("arp: %s is in use by %s on %s", e.VIP, hardware(e.MAC), e.Interface)
}

// withDefaults checks c and fills in the defaults.
func (c Config) withDefaults() (Config, error) {
	var errs []error
	if c.Interface == "" {
		errs = append(errs, errors.New("no interface given"))
	}
	errs = append(errs, checkMAC(c.MAC))
	positive(&errs, "Retry", &c.Retry, time.Second)
	positive(&errs, "Refresh", &c.Refresh, 20*time.Second)
	positive(&errs, "AnnounceCount", &c.AnnounceCount, 3)
	positive(&errs, "AnnounceInterval", &c.AnnounceInterval, time.Second)
	if c.ProbeTime == 0 {
		c.ProbeTime = 400 * time.Millisecond
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, errors.Join(errs...)
}

func positive[T int | time.Duration](errs *[]error, name string, v *T, byDefault T) {
	if *v < 0 {
		*errs = append(*errs, fmt.Errorf("%s %v: want more than 0, or 0 for %v", name, *v, byDefault))
	}
	if *v == 0 {
		*v = byDefault
	}
}

// checkMAC says why no VIP can be at m. The zero MAC stands for another one.
func checkMAC(m mac) error {
	if group(m) {
		return fmt.Errorf("MAC %s: want a unicast address", hardware(m))
	}
	return nil
}

// checkAddr returns addr without zone and IPv4-in-IPv6 form, or says why no one host on
// a link can have it.
func checkAddr(addr netip.Addr) (netip.Addr, error) {
	a := addr.Unmap().WithZone("")
	if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return a, fmt.Errorf("address %s: want one that a host on a link can have", addr)
	}
	return a, nil
}
