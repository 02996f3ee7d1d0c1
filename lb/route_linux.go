package lb

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// hostRoutes asks the kernel for routes, and hears of changes of the host. Its sockets
// belong to the network namespace in which it was opened, whatever thread uses it.
type hostRoutes struct {
	handle  *netlink.Handle
	changes *hostChanges
}

func openRoutes(logger *slog.Logger) (*hostRoutes, error) {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE) // without it: all families, of which the kernel may lack some
	if err != nil {
		return nil, fmt.Errorf("lb: open netlink: %w", err)
	}
	changes, err := openChanges(logger)
	if err != nil {
		handle.Close()
		return nil, err
	}
	return &hostRoutes{handle: handle, changes: changes}, nil
}

// route returns the way to dst: the next hop that the kernel chooses, and the others of
// the same route.
func (r *hostRoutes) route(dst netip.Addr) (Route, error) {
	found, err := r.get(dst, netlink.RouteGetOptions{})
	if err != nil {
		return Route{}, noRoute(err)
	}
	if err := unusable(found.Type); err != nil {
		return Route{}, err
	}
	link, err := r.handle.LinkByIndex(found.LinkIndex)
	if err != nil {
		return Route{}, fmt.Errorf("interface %d: %w", found.LinkIndex, err)
	}
	name := link.Attrs().Name
	if link.Type() == "vrf" {
		return Route{}, fmt.Errorf("the route to it leaves by the VRF %s, and golb follows the main table's routes alone", name)
	}
	source, _ := netip.AddrFromSlice(found.Src)
	return Route{
		Interface: name, Index: found.LinkIndex, Gateway: gateway(found.Gw, found.Via), Source: source.Unmap(), MTU: found.MTU, Others: r.others(dst, found),
	}, nil
}

func (r *hostRoutes) get(dst netip.Addr, o netlink.RouteGetOptions) (*netlink.Route, error) {
	routes, err := r.handle.RouteGetWithOptions(dst.AsSlice(), &o)
	if err != nil {
		return nil, err
	}
	if len(routes) == 0 {
		return nil, unix.ENETUNREACH
	}
	return &routes[0], nil
}

// others returns the next hops of the route to dst beside the chosen one, those left out
// that the kernel knows to be dead. A kernel that cannot tell them has none.
func (r *hostRoutes) others(dst netip.Addr, chosen *netlink.Route) (list []RouteHop) {
	fib, err := r.get(dst, netlink.RouteGetOptions{FIBMatch: true})
	if err != nil {
		return nil
	}
	for _, nh := range fib.MultiPath {
		hop := RouteHop{Index: nh.LinkIndex, Gateway: gateway(nh.Gw, nh.Via)}
		if nh.Flags&(unix.RTNH_F_DEAD|unix.RTNH_F_LINKDOWN) == 0 && hop != (RouteHop{Index: chosen.LinkIndex, Gateway: gateway(chosen.Gw, chosen.Via)}) {
			list = append(list, hop)
		}
	}
	return list
}

// gateway returns the zero Addr where a route has none. via is one of the other family.
func gateway(gw []byte, via netlink.Destination) netip.Addr {
	if v, ok := via.(*netlink.Via); ok {
		gw = v.Addr
	}
	a, _ := netip.AddrFromSlice(gw)
	return a.Unmap()
}

// refusingRoute is a route that says not to send; its error is the kernel's.
type refusingRoute struct {
	kind string // as ip route has it
	error
}

func (r refusingRoute) Error() string { return "the route to it is " + r.kind }
func (r refusingRoute) Unwrap() error { return r.error }

// noRoute puts the kernel's answer into the words of ip route.
func noRoute(err error) error {
	switch {
	case errors.Is(err, unix.EINVAL):
		return refusingRoute{"blackhole", err}
	case errors.Is(err, unix.EACCES):
		return refusingRoute{"prohibit", err}
	case errors.Is(err, unix.EHOSTUNREACH):
		return refusingRoute{"unreachable", err}
	}
	return fmt.Errorf("no route: %w", err)
}

// unusable returns why packets cannot be sent by a route of that type, nil where they can.
func unusable(kind int) error {
	switch kind {
	case unix.RTN_LOCAL:
		return ErrOwnHost
	case unix.RTN_BROADCAST, unix.RTN_MULTICAST, unix.RTN_ANYCAST:
		return errNotOneHost
	case unix.RTN_BLACKHOLE:
		return noRoute(unix.EINVAL)
	case unix.RTN_PROHIBIT:
		return noRoute(unix.EACCES)
	case unix.RTN_UNREACHABLE:
		return noRoute(unix.EHOSTUNREACH)
	}
	return nil
}

// vrf returns the VRF that an interface is in, "" where it is in none.
func (r *hostRoutes) vrf(index int) string {
	link, err := r.handle.LinkByIndex(index)
	if err != nil || link.Attrs().MasterIndex == 0 {
		return ""
	}
	master, err := r.handle.LinkByIndex(link.Attrs().MasterIndex)
	if err != nil || master.Type() != "vrf" {
		return ""
	}
	return master.Attrs().Name
}

func (r *hostRoutes) close() {
	r.changes.close()
	r.handle.Close()
}
