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
	} else if t.packets() == provingPackets && next.has(flagNoOutput) {
		p.setProven(next.id(x.conn))
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

// provingPackets is how many packets of a client prove its connection where its server's are
// not seen: more than a handshake takes.
const provingPackets = 4

// setProven marks a connection, and the template that controls it.
func (p *Plane) setProven(id connID) {
	if p.table.conns[id.index].mark(id, flagProven) {
		p.markTemplate(id.index, flagProven)
	}
}

// mark sets flags of connection id, and reports whether it exists.
func (c *conn) mark(id connID, flags meta) bool {
	for m := c.load(); ; m = c.load() {
		if !m.is(id) || c.swap(m, m|flags) {
			return m.is(id)
		}
	}
}

// markTemplate sets flags of the template that controls c, if one does.
func (p *Plane) markTemplate(c uint32, flags meta) {
	if t := p.table.cold[c].template.Load(); t != 0 {
		e := &p.table.conns[t]
		for m := e.load(); m&flags != flags && !e.swap(m, m|flags); m = e.load() {
		}
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
			(d == fromClient || m.has(flagProven))
	case forward.ProtoUDP:
		return d == fromClient && m.has(flagInactive) && m&(flagAnswered|flagProven) != flagAnswered
	}
	return false
}

// next is the state word after a packet.
//
// It proves that the client is at its address where a server goes on with an established
// connection, since only a client that got the server's sequence number or cookie
// establishes one, and where a client of UDP sends again after an answer.
func (m meta) next(p *forward.Packet, d direction) meta {
	next := m
	if d == fromServer {
		next = next&^flagNoOutput | flagAnswered
	} else if m.has(flagNoOutput) {
		d = fromClientOnly
	}
	active, assured, proven := false, false, false
	switch p.Proto {
	case forward.ProtoTCP:
		s := nextTCP(m.state(), d, p.TCPFlags)
		next, active, assured = next.withState(s), tcpActive[s], s == tcpEstablished
		proven = assured && d == fromServer && p.TCPFlags&(forward.FlagSYN|forward.FlagACK) == forward.FlagACK
	case forward.ProtoSCTP:
		s := sctpTable[d][chunkEvent(p.SCTPChunk)][m.state()]
		next, active, assured = next.withState(s), s == sctpEstablished, s == sctpEstablished
		proven = assured && d == fromServer
	case forward.ProtoUDP:
		assured, proven = d == fromServer, d == fromClient && m.has(flagAnswered)
	}
	if proven {
		next |= flagProven
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
	if gained := m &^ old & (flagAssured | flagProven); gained != 0 {
		p.markTemplate(c, gained)
	}
}
