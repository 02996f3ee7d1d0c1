package main

import (
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/golb/golb/benchmarks/wire/internal/load"
	"github.com/golb/golb/forward"
)

// The roles that this program starts itself in.
const (
	roleGolb      = "golb"
	roleReflector = "reflector"
	roleServer    = "server"
	roleClient    = "client"
	roleFrames    = "frames"
)

// order tells a role what to do. A role says "ready" on its standard output and goes on until its standard input ends. A
// client is ready once something got through; it answers "begin" with "begun", and "end" with a load.Result.
type order struct {
	Role string

	// Of golb and the reflector.
	Interfaces []string // where packets come in; the last is where they leave by
	Method     string
	VIP        netip.AddrPort
	Servers    []netip.Addr
	To         forward.MAC
	Workers    int
	Poll       bool
	Profile    string // file

	// Of client, server and the sender of frames.
	Mode    load.Mode
	Target  netip.AddrPort
	Source  netip.Addr
	Conns   int
	Threads int
	Flows   int

	// CPU is which processor to stay on, counted from 1; 0 means any.
	CPU int
}

func (o order) encode() (string, error) {
	b, err := json.Marshal(o)
	return string(b), err
}

func parseOrder(text string) (order, error) {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return o, fmt.Errorf("role %s: %w", text, err)
	}
	return o, nil
}
