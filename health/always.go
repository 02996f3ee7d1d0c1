package health

import (
	"context"
	"errors"
)

// Always is a fixed verdict: ldirectord's checktype on and off.
type Always bool

// The two verdicts.
const (
	On  Always = true
	Off Always = false
)

// Check returns the verdict.
func (a Always) Check(context.Context) error {
	if a {
		return nil
	}
	return errors.New("off by configuration")
}

// OnType is the registry's entry of [On].
func OnType() Type {
	return Type{Name: "on", Also: []string{"none"}, About: "always up", Bind: func(*Keys, Peer) Checker { return On }}
}

// OffType is the registry's entry of [Off].
func OffType() Type {
	return Type{Name: "off", About: "always down", Bind: func(*Keys, Peer) Checker { return Off }}
}
