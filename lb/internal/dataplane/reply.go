package dataplane

import "github.com/golb/golb/forward"

// Towards clients: replies of servers of method NAT, and packets of connections that
// these servers open.

// toClient counts a server's reply, updates its connection, and sends it to the client
// (ip_vs_core.c, ip_vs_out).
func (w *Worker) toClient(x *rxPacket) Reason {
	if !w.isReplyPort(x.server) {
		return NotFromServer
	}
	w.countOut(x)
	if x.packet.Frag != forward.NotFrag {
		x.forFragments = verdictOf(x, true)
	}
	w.plane.update(x, fromServer, 0, w.now)
	return w.replyOut(x)
}

// countOut counts the packet as one from a server.
func (w *Worker) countOut(x *rxPacket) {
	count := &x.server.counters[w.id]
	count.outPackets.bump(1)
	count.outBytes.bump(uint64(x.packet.End - x.packet.L3))
}

// replyOut translates a server's packet to come from the VIP, and sends it to the client.
// Errors are answered before translation, so that they quote the packet as the server
// sent it.
func (w *Worker) replyOut(x *rxPacket) Reason {
	p := &x.packet
	hop := w.hopToClient(x)
	if p.TTL <= 1 || hop == nil || w.tooLong(x, hop) {
		x.answerFrom = x.server.Source()
		switch {
		case p.TTL <= 1:
			return TTLExceeded
		case hop == nil:
			return NoNeighbor
		}
		x.mtu = w.ifaces[hop.Port].MTU
		return MTUExceeded
	}
	if x.meta.has(flagFTP) {
		if r := w.ftpReply(x, w.ifaces[hop.Port].MTU); r != forwarded {
			return r
		}
	}
	vip, vport := w.plane.table.conns[x.conn].vipAddr()
	if r := forward.NATReply(x.frame, p, &vip, vport); r != forward.None {
		return Reason(r)
	}
	return w.sendToHop(x, hop)
}

// hopToClient is the hop that replies of x's connection go to.
func (w *Worker) hopToClient(x *rxPacket) *Hop {
	n := timer(w.plane.table.conns[x.conn].timer.Load()).hop()
	return w.plane.hopTo(n, x.packet.Dst, x.snap.settings.ReplyByRoute, w.now)
}

// tooLong reports whether a packet exceeds the MTU to a hop and must not be cut.
func (w *Worker) tooLong(x *rxPacket, hop *Hop) bool {
	p := &x.packet
	return p.NetLen(x.frame) > w.ifaces[hop.Port].MTU && (p.DF || p.Version == 6)
}

// sendToHop sends a finished packet on to a hop, as a router does.
func (w *Worker) sendToHop(x *rxPacket, hop *Hop) Reason {
	w.clampMSS(x, w.ifaces[hop.Port].MTU)
	forward.DecTTL(x.frame, &x.packet)
	forward.SetMACs(x.frame, hop.MAC, w.ifaces[hop.Port].MAC)
	return w.fragmentTo(x, x.frame, hop.Port, w.ifaces[hop.Port].MTU)
}

// isReplyPort reports whether replies of a server may come in by the worker's port. One
// that is on the link of another port has no way to this one. One that is behind a router
// may have several.
func (w *Worker) isReplyPort(s *Server) bool {
	port := s.linkPort.Load()
	return port < 0 || int(port) == w.in
}

// isSentBy reports whether a frame of no connection comes from where a server is: by a
// port that a route to it leaves by, and where it is on the link, from its MAC. Routers send with other
// MACs than they answer ARP with (HSRP, VRRP).
func (w *Worker) isSentBy(x *rxPacket, s *Server) bool {
	to := s.path.Load()
	return to.ports>>(w.in%64)&1 != 0 && (s.linkPort.Load() < 0 || forward.SrcMAC(x.frame) == to.dst)
}

// fromNATServer handles a packet that is neither to a VIP nor of a connection: servers of
// method NAT send such ones.
func (w *Worker) fromNATServer(x *rxPacket) Reason {
	s := x.snap.natServer(x.packet.Src)
	switch {
	case s == nil:
		return NotVIP
	case !w.isSentBy(x, s):
		return NotFromServer
	case w.plane.closedNAT.active.Load() != 0 && w.plane.closedNAT.has(&x.packet):
		x.answerFrom = x.packet.Dst
		return NoConnection
	}
	return w.routeOut(x)
}

// routeOut routes a packet that a server of method NAT sends of a connection of its own:
// golb is its gateway (ip_vs leaves it to the host's forwarding).
func (w *Worker) routeOut(x *rxPacket) Reason {
	p := &x.packet
	hop, _ := w.plane.nextHops.NextHop(p.Dst)
	if hop == nil {
		return NotVIP
	}
	x.forFragments = verdictRouteOut
	switch {
	case p.TTL <= 1:
		_, x.answerFrom = w.plane.nextHops.NextHop(p.Src)
		return TTLExceeded
	case w.tooLong(x, hop):
		_, x.answerFrom = w.plane.nextHops.NextHop(p.Src)
		x.mtu = w.ifaces[hop.Port].MTU
		return MTUExceeded
	}
	return w.sendToHop(x, hop)
}
