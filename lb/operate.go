package lb

import (
	"fmt"
	"time"
)

// ServerState is what an operator wants of a server. It is not its health: see
// ServerStats.Up.
type ServerState string

// The states of a server.
const (
	StateActive ServerState = "active" // new connections as its weight says
	StateDrain  ServerState = "drain"  // no new connections; existing ones go on
	StateHalt   ServerState = "halt"   // no connections at all: existing ones are cut
)

// SetWeight changes a server's weight at once (ipvsadm -e -w). It stays until a
// config with another weight for the server is applied; an agent scales it. 0 ends
// new connections to it, and leaves existing ones.
//
// It fails with ErrNoService or ErrNoServer, or where weight is not 0 to 65535.
func (b *Balancer) SetWeight(name ServerRef, weight int) error {
	if weight < 0 || weight > maxWeight {
		return fmt.Errorf("lb: weight %d of %s: out of range; allowed: 0 to %d", weight, name.Server, maxWeight)
	}
	return b.updateServer(name, func(s *server) {
		s.runWeight = int32(weight)
		b.updateWeightLocked(s, true)
	})
}

// Drain ends new connections to a server and leaves existing ones. The event Drained tells
// when the last one ended; where within is not 0, what is left after that time is cut, as
// Halt does. How far it is Stats says. It fails with ErrNoService or ErrNoServer.
func (b *Balancer) Drain(name ServerRef, within time.Duration) error {
	return b.updateServer(name, func(s *server) { b.setStateLocked(s, StateDrain, within) })
}

// Halt ends all connections of a server, new and existing, by a reset, which clients
// get soon, and with NAT the server too. It fails with ErrNoService or ErrNoServer.
func (b *Balancer) Halt(name ServerRef) error {
	return b.updateServer(name, func(s *server) { b.setStateLocked(s, StateHalt, 0) })
}

// Activate takes Drain or Halt back. It fails with ErrNoService or ErrNoServer.
func (b *Balancer) Activate(name ServerRef) error {
	return b.updateServer(name, func(s *server) { b.setStateLocked(s, StateActive, 0) })
}

// updateServer changes what an operator says of a server.
func (b *Balancer) updateServer(name ServerRef, update func(*server)) error {
	defer b.report()
	b.mu.Lock()
	defer b.mu.Unlock()
	s, err := b.findServerLocked(name)
	if err != nil {
		return err
	}
	update(s)
	b.updateQuorumLocked(s.service)
	return nil
}

func (b *Balancer) findServerLocked(name ServerRef) (*server, error) {
	v := b.byName[name.Service]
	if v == nil {
		return nil, fmt.Errorf("lb: service %q: %w", name.Service, ErrNoService)
	}
	for _, s := range v.servers {
		if s.name == name.Server {
			return s, nil
		}
	}
	return nil, fmt.Errorf("lb: server %q of service %q: %w", name.Server, name.Service, ErrNoServer)
}

// setStateLocked gives a server one of the states.
func (b *Balancer) setStateLocked(s *server, state ServerState, within time.Duration) {
	s.state, s.drainEnd, s.drained = state, time.Time{}, false
	if state == StateDrain && within > 0 {
		s.drainEnd = b.env.Now().Add(within)
	}
	b.updateWeightLocked(s, true)
	if state == StateHalt {
		b.plane.Cut(s.dp)
	}
}

// accepts reports whether operator and agent let the server have new connections.
func (s *server) accepts() bool {
	return s.state == StateActive && (s.agent == nil || !s.agent.drain)
}
