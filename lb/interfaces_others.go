//go:build !linux

package lb

import (
	"errors"
	"fmt"
)

func openInterfaces() (InterfaceMonitor, error) {
	return nil, fmt.Errorf("lb: interfaces: %w", errors.ErrUnsupported)
}
