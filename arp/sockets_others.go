//go:build !linux

package arp

import (
	"errors"
	"fmt"
	"runtime"
)

func openWire(Config) (wire, state, error) {
	return nil, state{}, fmt.Errorf("packet sockets on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
