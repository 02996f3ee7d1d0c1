//go:build !linux

package main

import (
	"context"
	"errors"
)

var errLinux = errors.New("needs Linux")

func playRole(context.Context, string) error    { return errLinux }
func measureAll(context.Context, options) error { return errLinux }
