//go:build !linux

package lb

import (
	"errors"
	"fmt"
	"net/netip"
)

type hostRoutes struct{}

func openRoutes() (*hostRoutes, error) {
	return nil, fmt.Errorf("lb: routes: %w", errors.ErrUnsupported)
}

func (*hostRoutes) route(netip.Addr) (Route, error) { return Route{}, errors.ErrUnsupported }
func (*hostRoutes) changed() bool                   { return false }
func (*hostRoutes) close()                          {}
