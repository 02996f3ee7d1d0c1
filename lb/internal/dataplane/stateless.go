package dataplane

import (
	"math"

	"github.com/golb/golb/forward"
)

// When the table is full, established connections have precedence over new ones: first
// half-open connections are dropped. Where none is found, a hash of the flow chooses the
// server, without state: each packet of a flow goes to the same server as long as the
// servers stay the same. NAT needs state, and new connections are dropped.

// dropTries is how many connections one packet may look at in search of a half-open one.
const dropTries = 32

// dropHalfOpen ends the half-open ones of the next dropTries connections, and reports
// whether there was one.
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

// noteFull records that connections may have begun that are not in the table.
func (p *Plane) noteFull(now Tick) { p.fullAt.Store(uint32(now)) }

// wasFull reports whether a connection that is not in the table may have begun while it
// was full.
func (p *Plane) wasFull(v *Service, now Tick) bool {
	at := Tick(p.fullAt.Load())
	return at != 0 && now.before(at+v.settings.Load().timeouts.tcp[tcpEstablished])
}

// rendezvous is the server of a flow without a connection: of the eligible servers the
// one with the highest weighted hash (rendezvous hashing). It is nil where there is none.
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

// forwardStateless finds a server for a packet whose connection has no room in the table.
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
