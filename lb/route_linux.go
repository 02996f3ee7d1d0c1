package lb

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// hostRoute asks the kernel for the route to dst.
func hostRoute(dst netip.Addr) (Route, error) {
	routes, err := netlink.RouteGet(dst.AsSlice())
	if err != nil {
		return Route{}, fmt.Errorf("lb: route to %s: %w", dst, err)
	}
	if len(routes) == 0 {
		return Route{}, fmt.Errorf("lb: route to %s: none", dst)
	}
	r := routes[0]
	link, err := netlink.LinkByIndex(r.LinkIndex)
	if err != nil {
		return Route{}, fmt.Errorf("lb: route to %s: interface %d: %w", dst, r.LinkIndex, err)
	}
	gateway, _ := netip.AddrFromSlice(r.Gw)
	source, _ := netip.AddrFromSlice(r.Src)
	return Route{Interface: link.Attrs().Name, Gateway: gateway.Unmap(), Source: source.Unmap(), MTU: r.MTU}, nil
}
