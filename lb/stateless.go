package lb

import (
	"math"

	"github.com/golb/golb/forward"
)

// When the table is full, new connections give way to those that there are: first
// half-open ones are looked for, to be dropped; where none is found, packets are
// spread by a hash of the flow, which needs no memory and sends each packet of a
// flow to the same server as long as the servers stay the same. NAT cannot do that
// and refuses new connections.

// reclaimTries is how many connections one packet may look at in search of a
// half-open one.
const reclaimTries = 32

// reclaim drops half-open connections, if it comes upon any.
func (x *plane) reclaim() bool {
	found := false
	limit := x.table.used()
	for range reclaimTries {
		c := x.table.cursor.Add(1)%(limit-1) + 1
		m := x.table.conns[c].load()
		if m.has(flagLive) && Protocol(x.table.conns[c].ports.Load()>>8) == TCP && m.state() == tcpSynRecv && !x.table.isTemplate(c) {
			x.kill(c, m)
			found = true
		}
	}
	return found
}

// noteFull remembers that connections may have begun that the table does not know.
func (x *plane) noteFull(now tick) { x.fullAt.Store(uint32(now)) }

// wasFull reports whether segments of unknown connections may belong to such.
func (x *plane) wasFull(v *service, now tick) bool {
	at := tick(x.fullAt.Load())
	return at != 0 && now.before(at+v.settings.Load().timeouts.tcp[tcpEstablished])
}

// byHash is the server of a flow where none is remembered: of those that may get
// connections, the one with the highest weighted hash (rendezvous hashing).
func (w *worker) byHash(v *service) *server {
	var best *server
	highest := math.Inf(-1)
	for _, s := range *v.now.Load() {
		weight := s.Weight()
		if weight <= 0 || s.Overloaded() || s.path.Load().method == NAT {
			continue
		}
		h := fold(w.flowHash^uint64(s.ID)*0xa0761d6478bd642f, 0xe7037ed1a0b428db)
		// ln(u)/weight with u drawn from (0, 1] by the hash.
		score := math.Log((float64(h>>11)+1)/(1<<53)) / float64(weight)
		if score > highest {
			best, highest = s, score
		}
	}
	return best
}

// withoutTable sends a packet on although its connection cannot be remembered.
func (w *worker) withoutTable(v *service) (target, Reason) {
	w.noteFull(w.now)
	s := w.byHash(v)
	if s == nil {
		return target{}, TableFull
	}
	dport := s.Port
	if dport == 0 {
		dport = w.packet.DstPort
	}
	return target{server: s, dport: dport}, forwarded
}

// adopt takes up a connection that began while the table was full.
func (w *worker) adopt(snap *snapshot, f *forward.Frame, v *service, key *words, hash uint64) Reason {
	s := w.byHash(v)
	if s == nil {
		return NoConnection
	}
	to, reason := w.enter(snap, key, hash, s, s.Port, 0)
	if reason == TableFull {
		to, reason = w.withoutTable(v)
	}
	if reason != forwarded {
		return reason
	}
	return w.transmit(snap, f, to)
}
