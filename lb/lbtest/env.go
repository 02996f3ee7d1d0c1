package lbtest

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
)

// mtu of the interface, in bytes of IP packet, and the size of the connection table
// where a Config leaves it out.
const (
	mtu            = 1500
	maxConnections = 1 << 14
)

// Env returns the environment of one balancer on the wire: one interface at mac with an
// MTU of 1500 bytes, every address on its link at [MACOf], the time of clock, and random
// bits that are the same each time. A test adds its own hooks to it. Nobody answers
// health checks: the Config's checks are of type none, or the test sets Dial and Listen.
func (w *Wire) Env(clock *Clock, mac forward.MAC) lb.Env {
	return lb.Env{
		Now:  clock.Now,
		Rand: random(),
		Dial: func(_ context.Context, network, address string) (net.Conn, error) {
			return nil, unreachable(network, address)
		},
		Listen: func(network, address string) (net.PacketConn, error) { return nil, unreachable(network, address) },
		OpenPorts: func(c lb.PortConfig) ([]lb.Port, error) {
			ports := make([]lb.Port, c.Count)
			for i := range ports {
				ports[i] = w.Port(mac, mtu) // the last one receives
			}
			return ports, nil
		},
		OpenLink: func(lb.LinkConfig) (lb.Link, error) {
			return &Link{MAC: func(a netip.Addr) (forward.MAC, bool) { return MACOf(a), true }}, nil
		},
		Route: func(dst netip.Addr) (lb.Route, error) {
			if dst.Is4() {
				return lb.Route{Interface: "eth0", Source: netip.AddrFrom4([4]byte{192, 0, 2, 1})}, nil
			}
			return lb.Route{Interface: "eth0", Source: netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 15: 1})}, nil
		},
	}
}

// random is lb.Env.Rand: the same numbers for each balancer.
func random() func() uint64 {
	var mu sync.Mutex
	source := rand.NewPCG(1, 2)
	return func() uint64 {
		mu.Lock()
		defer mu.Unlock()
		return source.Uint64()
	}
}

func unreachable(network, address string) error {
	return fmt.Errorf("lbtest: no host answers %s %s: set Dial and Listen of the Env, or the check's type to none", network, address)
}

// MACOf is where [Wire.Env] says that an address is: 02:00 and the last four bytes of the
// address, so 192.0.2.11 is at 02:00:c0:00:02:0b.
func MACOf(a netip.Addr) forward.MAC {
	b := a.As16()
	return forward.MAC{2, 0, b[12], b[13], b[14], b[15]}
}

// Start makes a balancer, runs it and returns once it forwards; stop ends it and returns
// what Run did. The Config's interface is eth0. Where it leaves them out, there is one
// worker, and room for 16,384 connections.
func Start(cfg lb.Config, env lb.Env) (b *lb.Balancer, stop func() error, err error) {
	cfg.Interfaces = []string{"eth0"}
	cfg.MaxConnections = cmp.Or(cfg.MaxConnections, maxConnections)
	if cfg.Workers == 0 && len(cfg.CPUs) == 0 {
		cfg.Workers = 1
	}
	ready := make(chan struct{})
	onEvent := env.OnEvent
	env.OnEvent = func(e lb.Event) {
		if onEvent != nil {
			onEvent(e)
		}
		if e.Kind == lb.EventReady {
			close(ready)
		}
	}
	if b, err = lb.New(cfg, env); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	select {
	case <-ready:
		return b, sync.OnceValue(func() error { cancel(); return <-done }), nil
	case err := <-done:
		cancel()
		return nil, nil, err
	}
}
