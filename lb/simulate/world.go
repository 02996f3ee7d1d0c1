package simulate

import (
	"net/netip"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
)

// World is what surrounds the balancer: one interface, and who can be reached
// through it. The zero value of each field stands for that of a small world whose
// addresses say where they are:
//
//	balancer           10.9.0.1/16, fd00:9::1/64    02:00:00:00:09:01
//	servers, N to 255  10.9.1.N, fd00:9::1:N        02:00:00:00:00:N
//	gateway            10.9.0.254, fd00:9::fe       02:00:00:00:00:fe
//
// Whoever is neither the balancer nor a server is behind the gateway.
type World struct {
	Interface string                       // "" means eth0
	MAC       forward.MAC                  // of the interface
	MTU       int                          // bytes of IP packet; 0 means 1500
	Addresses []netip.Prefix               // the interface's own, each with its network
	Gateways  []netip.Addr                 // next hop beyond those networks, one per address family
	MACOf     func(netip.Addr) forward.MAC // who answers for an address of those networks
	Start     time.Time                    // the clock's; the zero Time means 2000-01-01
	Seed      uint64                       // of all that is random
	// Env has what a program adds to the balancer: its Schedulers, Checks, Checker, Admit,
	// ClientKey, OnConnection, OnEvent, Logger. The world replaces Now, Rand, OpenPorts,
	// OpenLink and Route. Checks run in real time, and reach the host's network unless
	// Dial and Listen are set.
	Env lb.Env
}

func (w World) withDefaults() World {
	if w.Interface == "" {
		w.Interface = "eth0"
	}
	if w.MAC.IsZero() {
		w.MAC = forward.MAC{2, 0, 0, 0, 9, 1}
	}
	if w.MTU == 0 {
		w.MTU = 1500
	}
	if w.Addresses == nil {
		w.Addresses = []netip.Prefix{netip.MustParsePrefix("10.9.0.1/16"), netip.MustParsePrefix("fd00:9::1/64")}
	}
	if w.Gateways == nil {
		w.Gateways = []netip.Addr{netip.MustParseAddr("10.9.0.254"), netip.MustParseAddr("fd00:9::fe")}
	}
	if w.MACOf == nil {
		w.MACOf = macOf
	}
	if w.Start.IsZero() {
		w.Start = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return w
}

// macOf is World.MACOf by default.
func macOf(a netip.Addr) forward.MAC {
	b := a.As16()
	last := b[15]
	if a.Is4() && b[13] == 9 && b[14] == 1 || a.Is6() && b[13] == 1 && b[14] == 0 {
		return forward.MAC{2, 0, 0, 0, 0, last}
	}
	return forward.MAC{2, 0, 0, 0, 0, 0xfe}
}

// route is lb.Env.Route.
func (w *World) route(dst netip.Addr) (lb.Route, error) {
	r := lb.Route{Interface: w.Interface}
	for _, p := range w.Addresses {
		if p.Addr().Is4() != dst.Is4() {
			continue
		}
		r.Source = p.Addr()
		if p.Contains(dst) {
			return r, nil
		}
	}
	for _, g := range w.Gateways {
		if g.Is4() == dst.Is4() {
			r.Gateway = g
			return r, nil
		}
	}
	return lb.Route{}, &NoRouteError{dst}
}

// NoRouteError says that the world has no way to an address.
type NoRouteError struct{ Address netip.Addr }

func (e *NoRouteError) Error() string { return "no route to " + e.Address.String() }

// sender is the MAC that packets from an address arrive with.
func (w *World) sender(src netip.Addr) forward.MAC {
	r, err := w.route(src)
	if err == nil && r.Gateway.IsValid() {
		return w.MACOf(r.Gateway)
	}
	return w.MACOf(src)
}
