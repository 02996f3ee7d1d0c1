//go:build !linux

package lb

import (
	"errors"
	"fmt"
	"net/netip"
)

func hostRoute(dst netip.Addr) (Route, error) {
	return Route{}, fmt.Errorf("lb: route to %s: %w", dst, errors.ErrUnsupported)
}
