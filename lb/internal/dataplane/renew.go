package dataplane

import "github.com/golb/golb/forward"

// isOpening reports whether the packet opens a connection.
func isOpening(p *forward.Packet) bool {
	switch p.Proto {
	case forward.ProtoTCP:
		return p.TCPFlags&forward.FlagSYN != 0
	case forward.ProtoSCTP:
		return p.SCTPChunk == sctpInitChunk
	}
	return false
}

// renewOrForward handles a packet that opens a connection which exists, or whose
// server is gone: it begins a new connection, or goes to the server of the old one
// (ip_vs_in).
func (w *Worker) renewOrForward(x *rxPacket) Reason {
	if isOpening(&x.packet) {
		if w.reusable(x) {
			return w.renew(x)
		}
		w.countRepeatedSYN(x)
	}
	if x.server.gone.Load() {
		if !x.snap.settings.ExpireNodestConn {
			return ServerGone
		}
		return w.renew(x)
	}
	x.dport = w.plane.table.conns[x.conn].dport()
	return w.toServer(x)
}

// reusable reports whether an opening packet of a connection begins a new one with the
// same tuple, since the old one is over or its server gets no new connections
// (ip_vs_core.c, is_new_conn_expected).
func (w *Worker) reusable(x *rxPacket) bool {
	set, m := &x.snap.settings, x.meta
	if set.ExpireNodestConn && x.server.Weight() == 0 {
		return true
	}
	if set.ConnReuseMode == 0 || w.plane.table.cold[x.conn].template.Load() != 0 {
		return false
	}
	switch x.packet.Proto {
	case forward.ProtoTCP:
		return m.state() == tcpTimeWait || m.state() == tcpClose ||
			set.ConnReuseMode&2 != 0 && m.state() == tcpFinWait && m.has(flagNoOutput)
	case forward.ProtoSCTP:
		return m.state() == sctpClosed
	}
	return false
}

// renew ends a connection, and schedules its packet as a new flow. As in ip_vs, where
// the old connection's timer ends it a moment later (ip_vs_conn_expire_now), schedulers
// still see it counted at its server, and its template stays.
func (w *Worker) renew(x *rxPacket) Reason {
	s, m := w.plane.endKeepingCount(x.meta.id(x.conn))
	x.conn, x.meta, x.server = 0, 0, nil
	reason := w.newFlow(x)
	if s != nil {
		s.unbind(false, m.has(flagInactive))
	}
	return reason
}

// endKeepingCount ends a connection, which stays counted at its server until the caller
// uncounts it. It returns nil where the connection has ended or controls others.
func (p *Plane) endKeepingCount(id connID) (*Server, meta) {
	sh := p.table.shardOf(id.index)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if !p.detachLocked(sh, id) {
		return nil, 0
	}
	return p.unlinkLocked(id.index)
}
