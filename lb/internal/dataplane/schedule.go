package dataplane

import (
	"github.com/golb/golb/forward"
	"github.com/golb/golb/sched"
)

// newTimeout is how long a connection has until its first packet sets its state's
// own timeout.
const newTimeout = 3 * TicksPerSecond

// schedule finds a server for the first packet of a connection, and enters the
// connection (ip_vs_core.c, ip_vs_schedule).
func (w *Worker) schedule(x *rxPacket, v *Service) Reason {
	p := &x.packet
	if p.SrcPort == ftpDataPort {
		return NoService // a server's FTP data connection: it was expected, or is none
	}
	set := v.settings.Load()
	if w.exceedsRate(x, v, set) {
		return RateLimited
	}
	if w.plane.hooks.Admit != nil && !w.plane.hooks.Admit(w.flowOf(x)) {
		return NotAdmitted
	}
	if v.port != ftpPort || p.DstPort == ftpPort { // FTP data connections go to the control connection's server
		switch v.Gate() {
		case GateClosed:
			if set.persistence == 0 { // else a quiescent server may keep the client
				return NoServer
			}
		case GateWaiting:
			return Unchecked
		}
	}
	if set.persistence != 0 {
		reason := w.schedulePersistent(x, v, set)
		if reason == TableFull {
			reason = w.forwardStateless(x, v)
		}
		return reason
	}
	if !v.grouped && v.port != p.DstPort {
		if v.port == ftpPort {
			return NoService // it takes other ports only with persistence
		}
		return NoServer
	}
	s := w.pick(x, v)
	if s == nil {
		return NoServer
	}
	reason := w.enterFor(x, set, s)
	if reason == TableFull {
		return w.forwardStateless(x, v)
	}
	return reason
}

// enterFor makes the connection of a packet to a server, without persistence.
func (w *Worker) enterFor(x *rxPacket, set *serviceSettings, s *Server) Reason {
	x.server, x.dport = s, s.dport(&x.packet)
	if set.onePacket {
		return w.scheduleOnePacket(x)
	}
	return w.enter(x, &x.key, x.hash, s, 0)
}

// dport is the port that a packet goes to at the server.
func (s *Server) dport(p *forward.Packet) uint16 {
	if s.Port != 0 {
		return s.Port
	}
	return p.DstPort
}

// scheduleOnePacket counts a packet of a one-packet service as a connection that begins
// and ends with it (IP_VS_CONN_F_ONE_PACKET).
func (w *Worker) scheduleOnePacket(x *rxPacket) Reason {
	s := x.server
	if s.upper.Load() != 0 {
		s.count(false)
		s.bind()
		s.unbind(false, true)
	}
	s.counters[w.id].conns.bump(1)
	x.conn, x.meta = 0, 0
	return forwarded
}

// flowOf is a packet as schedulers and hooks see it. It is valid until the next call.
func (w *Worker) flowOf(x *rxPacket) *sched.Flow {
	p := &x.packet
	w.flow = sched.Flow{Src: p.Src, Dst: p.Dst, SrcPort: p.SrcPort, DstPort: p.DstPort, Proto: p.Proto, Hash: uint32(x.hash)}
	return &w.flow
}

func (w *Worker) pick(x *rxPacket, v *Service) *Server {
	s := v.scheduler().Pick(w.flowOf(x))
	if s == nil {
		return nil
	}
	return w.plane.servers.get(s.ID)
}

// enter makes the connection of a packet to x.dport of a server, controlled by a
// template or control connection, 0 for none. Where another worker has just entered the
// same tuple, x gets that connection.
func (w *Worker) enter(x *rxPacket, key *flowKey, hash uint64, s *Server, template uint32) Reason {
	return w.enterInto(x, key, hash, s, template, roomFor(s.path.Load().method))
}

// enterInto is enter, where r may be given up for it.
func (w *Worker) enterInto(x *rxPacket, key *flowKey, hash uint64, s *Server, template uint32, r room) Reason {
	t, method := w.plane.table, s.path.Load().method
	flags := flagInactive | meta(method)<<methodShift
	if method != NAT {
		flags |= flagNoOutput
	} else if key.dstPort() == ftpPort && key.proto() == forward.ProtoTCP {
		flags |= flagFTP
	}
	s.count(false)
	c, m, created := w.insert(&newConn{
		key: *key, hash: hash, server: s, dport: x.dport, meta: flags,
		template: template, timeout: newTimeout, replies: method == NAT,
	}, r)
	if !created {
		s.uncount(false)
		if template != 0 {
			t.cold[template].controls.Add(-1)
		}
	}
	if c == 0 {
		return TableFull
	}
	if created {
		s.bind()
		s.counters[w.id].conns.bump(1)
		if w.plane.hooks.OnConnection != nil {
			w.plane.notifyConnection(ConnBegan, c, m)
		}
	}
	w.setConn(x, c, m)
	return forwarded
}

// setConn makes c the connection of a packet.
func (w *Worker) setConn(x *rxPacket, c uint32, m meta) {
	x.conn, x.meta, x.server, x.dport = c, m, w.plane.servers.get(m.server()), w.plane.table.conns[c].dport()
}
