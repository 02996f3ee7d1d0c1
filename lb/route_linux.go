package lb

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// hostRoutes asks the kernel for routes, and hears of their changes. Its sockets
// belong to the network namespace in which it was opened, whatever thread uses it.
type hostRoutes struct {
	handle  *netlink.Handle
	updates chan netlink.RouteUpdate
	done    chan struct{}
}

func openRoutes() (*hostRoutes, error) {
	handle, err := netlink.NewHandle()
	if err != nil {
		return nil, fmt.Errorf("lb: open netlink: %w", err)
	}
	r := &hostRoutes{handle: handle, updates: make(chan netlink.RouteUpdate, 64), done: make(chan struct{})}
	if err := netlink.RouteSubscribe(r.updates, r.done); err != nil {
		handle.Close()
		return nil, fmt.Errorf("lb: subscribe to routes: %w", err)
	}
	return r, nil
}

// route returns the way to dst.
func (r *hostRoutes) route(dst netip.Addr) (Route, error) {
	routes, err := r.handle.RouteGet(dst.AsSlice())
	if err != nil {
		return Route{}, fmt.Errorf("no route: %w", err)
	}
	if len(routes) == 0 {
		return Route{}, fmt.Errorf("no route")
	}
	found := routes[0]
	link, err := r.handle.LinkByIndex(found.LinkIndex)
	if err != nil {
		return Route{}, fmt.Errorf("interface %d: %w", found.LinkIndex, err)
	}
	gateway, _ := netip.AddrFromSlice(found.Gw)
	source, _ := netip.AddrFromSlice(found.Src)
	return Route{Interface: link.Attrs().Name, Index: found.LinkIndex, Gateway: gateway.Unmap(), Source: source.Unmap(), MTU: found.MTU}, nil
}

// changed waits for routes to change; it returns false once r is closed.
func (r *hostRoutes) changed() bool {
	_, ok := <-r.updates
	for ok {
		// Routes change many at a time.
		select {
		case _, ok = <-r.updates:
		default:
			return true
		}
	}
	return false
}

func (r *hostRoutes) close() {
	close(r.done)
	r.handle.Close()
}
