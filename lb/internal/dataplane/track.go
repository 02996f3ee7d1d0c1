package dataplane

import "github.com/golb/golb/forward"

// update changes a connection's state, counts and timer for a packet (set_tcp_state,
// ip_vs_conn_put). hop is the number of the client's hop, where a NAT connection needs
// it.
//
// The timer is written without a check that no other worker has just written it, and
// that the entry has not ended and been reused. Of two packets at once one sets the
// deadline, and an entry may be examined late; no entry is lost or ends twice.
func (p *Plane) update(x *rxPacket, d direction, hop uint16, now Tick) {
	e, m := &p.table.conns[x.conn], x.meta
	next := m
	for !m.unchanged(&x.packet, d) {
		next = m.next(&x.packet, d)
		if next == m {
			break
		}
		if e.swap(m, next) {
			p.onStateChange(x.conn, x.server, m, next)
			break
		}
		cur := e.load()
		if !cur.is(m.id(x.conn)) {
			return
		}
		m = cur
	}
	set := x.server.service.settings.Load()
	end := now + set.timeouts.of(x.packet.Proto, next.state())
	old := timer(e.timer.Load())
	t := newTimer(end, hop, old.packets()+1)
	if d == fromServer {
		t = newTimer(end, old.hop(), old.packets())
	}
	if !end.before(old.end()) {
		e.timer.set(uint64(t))
		return
	}
	// With a barrier, so that due is read after the write (see fileLocked).
	e.timer.Store(uint64(t))
	if end.before(Tick(p.table.cold[x.conn].due.Load())) {
		p.refile(next.id(x.conn))
	}
}

// unchanged reports whether next returns m for the packet, for the packets that are
// nearly all: TCP's on an established connection, and a client's of UDP.
func (m meta) unchanged(p *forward.Packet, d direction) bool {
	const mask, established = 0xff | flagInactive | flagAssured, meta(tcpEstablished) | flagAssured
	const ending = forward.FlagFIN | forward.FlagSYN | forward.FlagRST
	switch p.Proto {
	case forward.ProtoTCP:
		return m&mask == established && p.TCPFlags&(ending|forward.FlagACK) == forward.FlagACK &&
			(d == fromClient || !m.has(flagNoOutput))
	case forward.ProtoUDP:
		return d == fromClient && m.has(flagInactive)
	}
	return false
}

// next is the state word after a packet.
func (m meta) next(p *forward.Packet, d direction) meta {
	next := m
	if d == fromServer {
		next = next&^flagNoOutput | flagAnswered
	} else if m.has(flagNoOutput) {
		d = fromClientOnly
	}
	active, assured := false, false
	switch p.Proto {
	case forward.ProtoTCP:
		s := nextTCP(m.state(), d, p.TCPFlags)
		next, active, assured = next.withState(s), tcpActive[s], s == tcpEstablished
	case forward.ProtoSCTP:
		s := sctpTable[d][chunkEvent(p.SCTPChunk)][m.state()]
		next, active, assured = next.withState(s), s == sctpEstablished, s == sctpEstablished
	case forward.ProtoUDP:
		assured = d == fromServer
	}
	if assured {
		next |= flagAssured
	}
	if active {
		return next &^ flagInactive
	}
	return next | flagInactive
}

// onStateChange updates the counts of server and template after a change of state.
func (p *Plane) onStateChange(c uint32, s *Server, old, m meta) {
	if old.has(flagInactive) != m.has(flagInactive) {
		s.setActive(!m.has(flagInactive))
	}
	if old.state() == tcpSynRecv && m.state() != tcpSynRecv {
		p.leftSynRecv(c, s, old, m)
	}
	if t := p.table.cold[c].template.Load(); t != 0 && m.has(flagAssured) && !old.has(flagAssured) {
		e := &p.table.conns[t]
		for tm := e.load(); !tm.has(flagAssured) && !e.swap(tm, tm|flagAssured); tm = e.load() {
		}
	}
}
