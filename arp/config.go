package arp

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"
)

// Config says how a link behaves. The zero value of each field but Interface is its
// default.
type Config struct {
	// Interface is the name of an Ethernet interface.
	Interface string
	// MAC is where VIPs are said to be; nil means at the interface's own MAC, also
	// after that changes. Another one, of VRRP for example, is added to what the
	// interface receives. Questions of the host's own always carry the interface's.
	MAC net.HardwareAddr
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

	// ProbeCount is the number of questions in a probe; 0 means 3 (PROBE_NUM of RFC
	// 5227 §1.1).
	ProbeCount int
	// ProbeInterval is the time between them; 0 means 100 ms. RFC 5227 has 1 to 2 s,
	// for the slow networks of 2008 and hosts that pick addresses at random.
	ProbeInterval time.Duration
	// ProbeWait is how long after the last one an answer is waited for; 0 means 200
	// ms.
	ProbeWait time.Duration

	// AnnounceCount is the number of times that a VIP is announced; 0 means 3
	// (MAX_NEIGHBOR_ADVERTISEMENT of RFC 4861 §10).
	AnnounceCount int
	// AnnounceInterval is the time between announcements; 0 means 1 s.
	AnnounceInterval time.Duration

	// OnConflict is called where another host answers for a VIP of ours, or announces
	// it, while we have it; at most once in 10 s per VIP. It runs on the goroutine
	// that also calls back for Resolve. nil: only logged.
	OnConflict func(Conflict)
}

// Conflict is a claim by another host to a VIP.
type Conflict struct {
	VIP       netip.Addr
	MAC       net.HardwareAddr // of the other host
	Interface string           // where it was seen
}

// ConflictError says that a VIP is taken.
type ConflictError struct{ Conflict }

func (e *ConflictError) Error() string {
	return fmt.Sprintf("arp: %s is in use by %s on %s", e.VIP, e.MAC, e.Interface)
}

// Stats are counters since Open, and two gauges.
type Stats struct {
	Answered  uint64 // requests and solicitations for a VIP that were answered
	Announced uint64 // announcements of a VIP
	Asked     uint64 // questions for neighbours
	Conflicts uint64 // messages of others that claim a VIP of ours
	Malformed uint64 // frames dropped for breaking a rule of their protocol
	Unsent    uint64 // frames that the interface did not take, or for which it was down
	Neighbors int    // addresses being resolved
	Known     int    // of these, with a known MAC
}

// withDefaults checks c and fills in the defaults.
func (c Config) withDefaults() (Config, error) {
	var errs []error
	if c.Interface == "" {
		errs = append(errs, errors.New("no interface given"))
	}
	if c.MAC != nil && (len(c.MAC) != 6 || !unicast(mac(c.MAC))) {
		errs = append(errs, fmt.Errorf("MAC %s: want a unicast address of 6 bytes", c.MAC))
	}
	positive(&errs, "Retry", &c.Retry, time.Second)
	positive(&errs, "Refresh", &c.Refresh, 20*time.Second)
	positive(&errs, "ProbeCount", &c.ProbeCount, 3)
	positive(&errs, "ProbeInterval", &c.ProbeInterval, 100*time.Millisecond)
	positive(&errs, "ProbeWait", &c.ProbeWait, 200*time.Millisecond)
	positive(&errs, "AnnounceCount", &c.AnnounceCount, 3)
	positive(&errs, "AnnounceInterval", &c.AnnounceInterval, time.Second)
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

// checkAddr returns addr without zone and IPv4-in-IPv6 form, or says why no one host on
// a link can have it.
func checkAddr(addr netip.Addr) (netip.Addr, error) {
	a := addr.Unmap().WithZone("")
	if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return a, fmt.Errorf("address %s: want one that a host on a link can have", addr)
	}
	return a, nil
}
