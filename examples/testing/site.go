// Package site is the balancer of a program, and shows how to test one: its tests run the
// config and the admission hook in memory, without privileges or a network, the same each
// time.
//
//	go test ./examples/testing
package site

import (
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/golb/golb/lb"
	"github.com/golb/golb/sched"
)

// Config returns the config: port 80 of 192.0.2.80 over two servers by NAT, each client
// on one server for ten minutes.
func Config() lb.Config {
	return lb.Config{
		Interfaces: []string{"eth0"},
		Services: []lb.Service{{
			Name: "web", VIP: netip.MustParseAddr("192.0.2.80"), Port: 80, Method: lb.NAT,
			Persistence: lb.Persistence{Timeout: 10 * time.Minute},
			Check:       lb.Check{Interval: 2 * time.Second},
			Servers: []lb.Server{
				{Address: netip.MustParseAddr("192.0.2.11"), Port: 8080},
				{Address: netip.MustParseAddr("192.0.2.12"), Port: 8080},
			},
		}},
	}
}

// DenyList refuses new connections from networks. The zero value refuses none; it is safe
// for concurrent use.
type DenyList struct {
	networks atomic.Pointer[[]netip.Prefix] // replaced as a whole, so that Admit takes no lock
}

// Set replaces the networks.
func (d *DenyList) Set(networks ...netip.Prefix) {
	list := slices.Clone(networks)
	d.networks.Store(&list)
}

// Admit is for lb.Env.Admit.
func (d *DenyList) Admit(f *sched.Flow) bool {
	list := d.networks.Load()
	if list == nil {
		return true
	}
	client := netip.AddrFrom16(f.Src).Unmap()
	for _, n := range *list {
		if n.Contains(client) {
			return false
		}
	}
	return true
}
