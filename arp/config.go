package arp

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"
)

// Config is for Open. Only Interface must be set; the zero value of any other field stands
// for its default.
type Config struct {
	// Interface is the name of an Ethernet interface.
	Interface string
	// Index is the interface's index, where not 0; then Interface only appears in errors and
	// the log.
	Index int
	// MAC is that of VIPs whose VIP.MAC is zero. Zero means the interface's own, also after
	// that has changed.
	MAC [6]byte
	// Logger gets conflicts, neighbors that move or are silent, and changes of the link. nil
	// means that nothing is logged.
	Logger *slog.Logger

	// Retry is how long an answer from a neighbor is waited for before the next request. 0
	// means 1 s (RetransTimer of RFC 4861 §10).
	Retry time.Duration
	// Refresh is how long an answer from a neighbor is good before the next request. 0 means
	// 20 s. Each single Retry and Refresh is longer or shorter by up to a quarter, at random,
	// so that requests for many neighbors are spread over time.
	Refresh time.Duration

	// ProbeTime is how long a Probe takes. It asks three times (PROBE_NUM of RFC 5227 §1.1):
	// at once, after a quarter and after half of the time. 0 means 400 ms; a negative
	// ProbeTime means that Probe does not ask. RFC 5227 wants at least 4 s: 1 s between the
	// requests (PROBE_MIN) and 2 s after the last (ANNOUNCE_WAIT). It also wants a delay of
	// up to 1 s before the first (PROBE_WAIT), which Probe leaves out.
	ProbeTime time.Duration

	// OnConflict is called when another host claims a VIP, and with Conflict.Ended when it
	// has not done so for half a minute, though it was asked; not for VIPs that are Shared. Of each
	// VIP up to four hosts are told apart. Resolve says how calls are made. If nil,
	// conflicts are logged instead.
	OnConflict func(Conflict)
	// OnNeighborConflict is called when another host claims the address of a neighbor that
	// still answers at its known MAC, at most once in 10 s for each neighbor. If nil, such
	// conflicts are logged, and counted.
	OnNeighborConflict func(NeighborConflict)
}

// Conflict is a claim of another host to a VIP.
type Conflict struct {
	VIP       netip.Addr
	MAC       [6]byte // of the other host
	Interface string  // of the link that received the claim
	// OnLink is true where the VIP is in a subnet of the interface, or the interface has no
	// subnet of that IP version. For an address of elsewhere a router may answer (proxy ARP).
	OnLink bool
	Ended  bool // the host no longer claims the VIP
}

// NeighborConflict is a claim of another host to the address of a neighbor.
type NeighborConflict struct {
	Addr      netip.Addr
	MAC       [6]byte // where the neighbor answers, and stays
	Claimant  [6]byte // of the other host
	Interface string  // of the link that received the claim
}

// ConflictError is the error of Probe if another host has an address.
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
	if c.ProbeTime == 0 {
		c.ProbeTime = 400 * time.Millisecond
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, errors.Join(errs...)
}

func positive(errs *[]error, name string, v *time.Duration, byDefault time.Duration) {
	if *v < 0 {
		*errs = append(*errs, fmt.Errorf("%s %v: want more than 0, or 0 for %v", name, *v, byDefault))
	}
	if *v == 0 {
		*v = byDefault
	}
}

// checkMAC returns an error if no VIP can be at m. The zero MAC stands for a default.
func checkMAC(m mac) error {
	if group(m) {
		return fmt.Errorf("MAC %s: want a unicast address", hardware(m))
	}
	return nil
}

// checkAddr returns addr without a zone and not in IPv4-in-IPv6 form. It fails if no host
// on a link can have the address.
func checkAddr(addr netip.Addr) (netip.Addr, error) {
	a := addr.Unmap().WithZone("")
	if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return a, fmt.Errorf("address %s: want one that a host on a link can have", addr)
	}
	return a, nil
}
