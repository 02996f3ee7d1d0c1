package lb

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net/netip"
	"time"
)

// ServerState is what an operator wants of a server. It is not its health: see
// ServerStats.Up.
type ServerState string

// The states of a server.
const (
	Active ServerState = "active" // new connections as its weight says
	Drain  ServerState = "drain"  // no new connections; those there are go on
	Halt   ServerState = "halt"   // no connections at all: those there are have been cut
)

// SetWeight changes a server's weight at once (ipvsadm -e -w). It stays until a
// config with another weight for the server is applied; an agent scales it. 0 ends
// new connections to it, and leaves those that there are.
//
// A service with Match has protocol 0, and for VIP MarkAddr of its mark, as
// Connection has of its templates. The errors are ErrNoService and ErrNoServer, and
// one of a weight that is out of range.
func (b *Balancer) SetWeight(p Protocol, vip, server netip.AddrPort, weight int) error {
	if weight < 0 || weight > maxWeight {
		return fmt.Errorf("lb: weight %d of %s: out of range; allowed: 0 to %d", weight, server, maxWeight)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	r, err := b.findServer(p, vip, server)
	if err != nil {
		return err
	}
	r.runWeight = int32(weight)
	b.weigh(r, true)
	b.reckon(r.service)
	return nil
}

// SetState drains or halts a server, or makes it active again. A drained server
// whose last connection ended is told of by the event Drained; where within is not
// 0, what is left then is cut. Connections are cut by a reset, which the client
// gets soon, and with NAT the server too. How far it is Stats says. The server is
// named as to SetWeight.
func (b *Balancer) SetState(p Protocol, vip, server netip.AddrPort, state ServerState, within time.Duration) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	r, err := b.findServer(p, vip, server)
	if err != nil {
		return err
	}
	switch state {
	case Active, Drain:
	case Halt:
		defer b.cut(r)
	default:
		return fmt.Errorf("lb: state %q of %s: unknown; allowed: %s, %s or %s", state, server, Active, Drain, Halt)
	}
	r.state, r.drainEnd, r.drained = state, 0, false
	if state == Drain && within > 0 {
		r.drainEnd = b.tick() + ticksOf(within)
	}
	b.weigh(r, true)
	b.reckon(r.service)
	return nil
}

// findServer finds a server by what a client and a listing know. The lock is held.
func (b *Balancer) findServer(p Protocol, vip, server netip.AddrPort) (*server, error) {
	v, id := b.findService(p, vip)
	if v == nil {
		return nil, fmt.Errorf("lb: service %s: %w", id, ErrNoService)
	}
	for _, r := range v.all {
		if r.addrPort() == server {
			return r, nil
		}
	}
	return nil, fmt.Errorf("lb: server %s of service %s: %w", server, id, ErrNoServer)
}

// findService returns nil where there is none, and in words what was looked for.
func (b *Balancer) findService(p Protocol, vip netip.AddrPort) (v *service, id string) {
	s := Service{VIP: vip.Addr(), Port: vip.Port(), Protocol: p}
	if v = b.services[s.id()]; v != nil || p != 0 || !vip.Addr().Is4() {
		return v, s.id()
	}
	for _, v := range b.services {
		if v.grouped && MarkAddr(v.shown.Load()) == vip.Addr() {
			return v, v.name
		}
	}
	a := vip.Addr().As4()
	return nil, fmt.Sprintf("mark %d", binary.BigEndian.Uint32(a[:]))
}

// weigh gives a server the weight that follows from its own, its agent, its state,
// and how long it has been back. always tells the scheduler also where nothing changed.
func (b *Balancer) weigh(r *server, always bool) {
	weight := r.own()
	switch {
	case !r.open(), !r.up && !r.held && r.service.settings.Load().quiescent:
		weight = 0
	case r.rampStart != 0 && weight > 1:
		total := r.service.settings.Load().slowStart
		if passed := b.tick() - r.rampStart; passed < total {
			weight = max(1, int32(int64(weight)*int64(passed)/int64(total)))
		} else {
			r.rampStart = 0
		}
	}
	if always || weight != r.Weight() {
		r.service.setWeight(r, weight)
	}
}

// operate moves servers on that are draining, or new to their full weight.
func (b *Balancer) operate(now tick) {
	var events []Event
	b.mu.Lock()
	for _, r := range b.configured() {
		if r.rampStart != 0 {
			b.weigh(r, false)
		}
		b.suspect(r, now)
		if r.state != Drain {
			continue
		}
		reason := "no connection is left"
		late := r.drainEnd != 0 && !now.before(r.drainEnd)
		if late {
			if n := r.total(); n > 0 {
				reason = fmt.Sprintf("its time is over: what was left is cut, connections: %d", n)
			}
			b.cut(r)
		}
		if !r.drained && (late || r.total() == 0) {
			r.drained = true
			events = append(events, Event{Kind: Drained, Service: r.service.name, Server: r.name, Reason: reason})
		}
	}
	b.mu.Unlock()
	b.report()
	b.tellSevered(now)
	for _, e := range events {
		b.env.Logger.LogAttrs(context.Background(), slog.LevelInfo, string(e.Kind), e.attrs()...)
		b.emit(e)
	}
}
