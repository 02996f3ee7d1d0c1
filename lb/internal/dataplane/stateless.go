package dataplane

import "math"

// Where a full table has nothing to give up for a new connection (see giveup.go), a hash of
// the flow chooses the server, without state: each packet of a flow goes to the same server
// as long as the servers stay the same. NAT needs state, and new connections are dropped.

// noteFull records that connections may have begun that are not in the table.
func (p *Plane) noteFull(now Tick) { p.fullAt.Store(uint32(now)) }

// noteShort records that a new connection found the table full.
func (p *Plane) noteShort(now Tick) {
	if Tick(p.shortAt.Load()) != now {
		p.shortAt.Store(uint32(now))
	}
}

// wasFull reports whether a connection that is not in the table may have begun while it
// was full.
func (p *Plane) wasFull(v *Service, now Tick) bool {
	at := Tick(p.fullAt.Load())
	return at != 0 && now.before(at+v.settings.Load().timeouts.tcp[tcpEstablished])
}

// rendezvousKey is the secret of rendezvous hashing.
type rendezvousKey [2]uint64

// rendezvous is the server of a flow without a connection: of the eligible servers the
// one with the highest weighted hash (rendezvous hashing). It is nil where there is none.
func (v *Service) rendezvous(hash uint64, key *rendezvousKey) *Server {
	var best *Server
	highest := math.Inf(-1)
	for _, s := range *v.servers.Load() {
		weight := s.Weight()
		if weight <= 0 || s.Overloaded() || s.path.Load().method == NAT {
			continue
		}
		h := fold(hash^key[0], uint64(s.ID)*0xa0761d6478bd642f^key[1])
		// ln(u)/weight with u drawn from (0, 1] by the hash.
		score := math.Log((float64(h>>11)+1)/(1<<53)) / float64(weight)
		if score > highest {
			best, highest = s, score
		}
	}
	return best
}

// statelessServer is the server of a packet without a connection. With persistence it is the
// same for all connections of a client: that of its template, where it has one.
func (w *Worker) statelessServer(x *rxPacket, v *Service) *Server {
	set, hash := v.settings.Load(), x.hash
	if set.persistence != 0 {
		if tuple, ok := w.templateTuple(x, v, set); ok {
			key := tuple.key()
			hash = key.hash(&w.plane.table.secret)
			if c, m := w.template(x, &key, hash); c != 0 && m.method() != NAT {
				return w.plane.servers.get(m.server())
			}
		}
	}
	return v.rendezvous(hash, &w.plane.rendezvousKey)
}

// forwardStateless finds a server for a packet whose connection has no room in the table.
func (w *Worker) forwardStateless(x *rxPacket, v *Service) Reason {
	s := w.statelessServer(x, v)
	if s == nil {
		return TableFull
	}
	w.plane.noteFull(w.now)
	w.stateless.bump(1)
	x.conn, x.meta, x.server, x.dport = 0, 0, s, s.dport(&x.packet)
	return forwarded
}

// pickupMidstream enters a connection that began while the table was full, if there is room
// now.
func (w *Worker) pickupMidstream(x *rxPacket, v *Service) Reason {
	s := w.statelessServer(x, v)
	if s == nil {
		return NoConnection
	}
	x.dport = s.dport(&x.packet)
	reason := w.enterInto(x, &x.key, x.hash, s, 0, freeRoom)
	if reason == TableFull {
		reason = w.forwardStateless(x, v)
	}
	if reason != forwarded {
		return reason
	}
	return w.toServer(x)
}
