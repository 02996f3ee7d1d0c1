package health

import (
	"context"
	"errors"
)

// Always is a check with a fixed result: ldirectord's checktype on and off.
type Always bool

// The two fixed results.
const (
	On  Always = true
	Off Always = false
)

// Check returns the result.
func (a Always) Check(context.Context) error {
	if a {
		return nil
	}
	return errors.New("off by configuration")
}

// OnType returns the type of [On].
func OnType() Type {
	return Type{Name: "on", Also: []string{"none"}, About: "always up", Bind: func(*Keys, Peer) Checker { return On }}
}

// OffType returns the type of [Off].
func OffType() Type {
	return Type{Name: "off", About: "always down", Bind: func(*Keys, Peer) Checker { return Off }}
}
