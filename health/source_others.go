//go:build !linux

package health

import "errors"

func bindWithoutPort(uintptr) {}

func bindToInterface(uintptr, string) error { return errors.New("no way to bind to it on this system") }
