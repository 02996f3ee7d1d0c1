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

// reusable reports whether an opening packet with the tuple of a connection starts one
// of its own, since the connection is over or its server is to get no new ones
// (is_new_conn_expected).
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

// renew ends a connection, and deals with its packet as one of no connection. As in
// ip_vs, where the timer ends it a moment later (ip_vs_conn_expire_now), its server
// still counts it when a new one is scheduled, and its template stays.
func (w *Worker) renew(x *rxPacket) Reason {
	s, m := w.plane.supersede(x.meta.id(x.conn))
	x.conn, x.meta, x.server = 0, 0, nil
	reason := w.newFlow(x)
	if s != nil {
		s.unbind(false, m.has(flagInactive))
	}
	return reason
}

// supersede ends a connection that its server is to count for a while. It spares what
// controls others, and returns nil where nothing ended.
func (p *Plane) supersede(id connID) (*Server, meta) {
	sh := p.table.shardOf(id.index)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if !p.detachLocked(sh, id) {
		return nil, 0
	}
	return p.unlinkLocked(id.index)
}
