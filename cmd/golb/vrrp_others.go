//go:build !linux

package main

import (
	"errors"
	"fmt"
	"io"
	"runtime"
)

func openVRRPWire(string) (io.ReadCloser, error) {
	return nil, fmt.Errorf("packet sockets on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
