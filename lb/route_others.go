//go:build !linux

package lb

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync/atomic"
)

type hostRoutes struct{ changes *hostChanges }

type hostChanges struct {
	changed chan struct{}
	lost    atomic.Uint64
}

func openRoutes(*slog.Logger) (*hostRoutes, error) {
	return nil, fmt.Errorf("lb: routes: %w", errors.ErrUnsupported)
}

func (*hostRoutes) route(netip.Addr) (Route, error) { return Route{}, errors.ErrUnsupported }
func (*hostRoutes) vrf(int) string                  { return "" }
func (*hostRoutes) close()                          {}
func (*hostChanges) run()                           {}
