package dataplane

import (
	"math"

	"github.com/golb/golb/forward"
)

// When the table is full, existing connections have precedence over new ones: first
// half-open connections are looked for and dropped; where none is found, packets are
// spread by a hash of the flow, which needs no memory and sends each packet of a
// flow to the same server as long as the servers stay the same. NAT cannot do that
// and refuses new connections.

// dropTries is how many connections one packet may look at in search of a half-open one.
const dropTries = 32

// dropHalfOpen drops half-open connections, if it comes upon any.
func (p *Plane) dropHalfOpen() bool {
	found := false
	limit := p.table.used()
	for range dropTries {
		c := p.table.cursor.Add(1)%(limit-1) + 1
		m := p.table.conns[c].load()
		if m.has(flagLive) && p.table.conns[c].proto() == forward.ProtoTCP && m.state() == tcpSynRecv && !p.table.isTemplate(c) {
			p.delete(m.id(c))
			found = true
		}
	}
	return found
}

// noteFull remembers that connections may have begun that the table does not know.
func (p *Plane) noteFull(now Tick) { p.fullAt.Store(uint32(now)) }

// wasFull reports whether segments of unknown connections may belong to such.
func (p *Plane) wasFull(v *Service, now Tick) bool {
	at := Tick(p.fullAt.Load())
	return at != 0 && now.before(at+v.settings.Load().timeouts.tcp[tcpEstablished])
}

// rendezvous is the server of a flow where none is remembered: of those that may get
// connections, the one with the highest weighted hash (rendezvous hashing).
func (v *Service) rendezvous(hash uint64) *Server {
	var best *Server
	highest := math.Inf(-1)
	for _, s := range *v.servers.Load() {
		weight := s.Weight()
		if weight <= 0 || s.Overloaded() || s.path.Load().method == NAT {
			continue
		}
		h := fold(hash^uint64(s.ID)*0xa0761d6478bd642f, 0xe7037ed1a0b428db)
		// ln(u)/weight with u drawn from (0, 1] by the hash.
		score := math.Log((float64(h>>11)+1)/(1<<53)) / float64(weight)
		if score > highest {
			best, highest = s, score
		}
	}
	return best
}

// forwardStateless finds a server for a packet whose connection cannot be remembered.
func (w *Worker) forwardStateless(x *rxPacket, v *Service) Reason {
	w.plane.noteFull(w.now)
	s := v.rendezvous(x.hash)
	if s == nil {
		return TableFull
	}
	x.conn, x.meta, x.server, x.dport = 0, 0, s, s.dport(&x.packet)
	return forwarded
}

// pickupMidstream enters a connection that began while the table was full.
func (w *Worker) pickupMidstream(x *rxPacket, v *Service) Reason {
	s := v.rendezvous(x.hash)
	if s == nil {
		return NoConnection
	}
	x.dport = s.Port
	reason := w.enter(x, &x.key, x.hash, s, 0)
	if reason == TableFull {
		reason = w.forwardStateless(x, v)
	}
	if reason != forwarded {
		return reason
	}
	return w.toServer(x)
}
