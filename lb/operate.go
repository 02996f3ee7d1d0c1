package lb

import (
	"fmt"
	"time"
)

// ServerState is the state of a server that an operator sets. Its health is another thing:
// see ServerStats.Up.
type ServerState string

// The states of a server.
const (
	StateActive ServerState = "active" // new connections, in proportion to its weight
	StateDrain  ServerState = "drain"  // no new connections; existing ones go on
	StateHalt   ServerState = "halt"   // no connections at all: existing ones are cut
)

// SetWeight changes a server's weight at once (ipvsadm -e -w). It stays until a config is
// applied in which the server's weight has changed; an agent scales it. With 0 the server
// gets no new connections; existing ones go on.
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

// Drain gives a server no new connections; existing ones go on. If within is not 0, those
// that are left after that time are cut, as by Halt. EventDrained follows when none is
// left; Stats counts them meanwhile. It fails with ErrNoService or ErrNoServer.
func (b *Balancer) Drain(name ServerRef, within time.Duration) error {
	return b.updateServer(name, func(s *server) { b.setStateLocked(s, StateDrain, within) })
}

// Halt gives a server no new connections and cuts existing ones: clients, and with NAT the
// server, get a reset within moments. It fails with ErrNoService or ErrNoServer.
func (b *Balancer) Halt(name ServerRef) error {
	return b.updateServer(name, func(s *server) { b.setStateLocked(s, StateHalt, 0) })
}

// Activate undoes Drain or Halt. It fails with ErrNoService or ErrNoServer.
func (b *Balancer) Activate(name ServerRef) error {
	return b.updateServer(name, func(s *server) { b.setStateLocked(s, StateActive, 0) })
}

// updateServer applies an operator's change to a server.
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

// accepts reports whether the server may get new connections, by its operator and agent.
func (s *server) accepts() bool {
	return s.state == StateActive && (s.agent == nil || !s.agent.drain)
}
