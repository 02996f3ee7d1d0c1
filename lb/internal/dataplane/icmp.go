package dataplane

import "github.com/golb/golb/forward"

// answer sends what a host would send in place of a frame that was not forwarded:
// RST, port unreachable, time exceeded, too big. The setting answer_rate bounds each kind.
func (w *Worker) answer(x *rxPacket, reason Reason) {
	switch reason {
	case NoService, NoConnection, NoServer, TTLExceeded, MTUExceeded:
	default:
		return
	}
	if !forward.MayAnswer(x.frame, &x.packet) || !w.mayAnswer(x.snap, kindOfAnswer(reason, &x.packet)) {
		return
	}
	out := w.lend(forward.MaxReply)
	if w.writeAnswer(&out, x, reason) {
		out.Port = w.in
		w.send(&out)
	}
}

// kindOfAnswer is the kind that writeAnswer writes.
func kindOfAnswer(reason Reason, p *forward.Packet) answerKind {
	switch {
	case reason == MTUExceeded:
		return answerTooBig
	case reason == TTLExceeded:
		return answerTimeExceeded
	case reason != NoServer && p.Proto == forward.ProtoTCP:
		return answerReset
	}
	return answerUnreachable
}

// writeAnswer writes the answer into out, and reports whether there is one.
func (w *Worker) writeAnswer(out *forward.Frame, x *rxPacket, reason Reason) bool {
	f, p, id := x.frame, &x.packet, w.nextID()
	switch reason {
	case TTLExceeded:
		return forward.TimeExceeded(out, f, p, x.answerFrom, id)
	case MTUExceeded:
		return forward.TooBig(out, f, p, x.answerFrom, id, x.mtu)
	case NoServer:
		return forward.PortUnreachable(out, f, p, x.answerFrom, id)
	}
	switch p.Proto {
	case forward.ProtoTCP:
		return forward.TCPReset(out, f, p, x.answerFrom)
	case forward.ProtoUDP:
		return forward.PortUnreachable(out, f, p, x.answerFrom, id)
	}
	return false
}

// ping answers an echo request to a VIP, in place.
func (w *Worker) ping(x *rxPacket) Reason {
	if !w.mayAnswer(x.snap, answerEcho) {
		return PingRateLimited
	}
	if !forward.EchoReply(x.frame, &x.packet, w.nextID()) {
		return BadPing
	}
	x.forFragments = verdictPing
	x.frame.Port = w.in
	return forwarded
}

// icmpError handles an ICMP error to a VIP or to the host; done is false where it
// concerns no connection or tunnel of golb.
func (w *Worker) icmpError(x *rxPacket) (reason Reason, done bool) {
	snap := x.snap
	switch {
	case snap.isVIP(x.packet.Dst) || len(snap.nat) > 0 && len(snap.tunnels) == 0:
		return w.related(x), true
	case len(snap.tunnels) > 0:
		reason := w.tunnelError(x)
		if reason != NotVIP && reason != Reason(forward.BadEmbedded) || len(snap.nat) == 0 {
			return reason, true
		}
		return w.related(x), true
	}
	return 0, false
}

// related forwards an ICMP error to the sender of the quoted packet: to the server if it
// quotes a packet to the client, and with NAT to the client if it quotes one to the
// server (ip_vs_core.c, ip_vs_in_icmp and ip_vs_out_icmp). The connection's timer is not
// restarted.
func (w *Worker) related(x *rxPacket) Reason {
	p, q, t := &x.packet, &w.quoted, w.plane.table
	if !forward.ChecksumOK(x.frame, p) {
		return Reason(forward.BadICMPChecksum)
	}
	if r := forward.ParseEmbedded(x.frame, p, q); r != forward.None {
		return Reason(r)
	}
	key := reverseKeyOf(q) // the quoted packet went the other way
	hash := key.hash(&t.secret)
	r, m := t.find(&key, hash, w.plane.servers.all())
	switch {
	case r != 0 && p.Dst != q.Src: // an error goes to the sender of what it quotes
		return ICMPNotBelieved
	case r != 0:
	case x.snap.isVIP(p.Dst):
		return NoConnection
	default:
		return w.fromNATServer(x)
	}
	w.setConn(x, r.conn(), m)
	if r.reply() {
		if !w.isReplyPort(x.server) {
			return NotFromServer
		}
		w.countUnreachable(p, x.conn, m, x.server)
		return w.relatedReply(x, q)
	}
	w.countIn(x)
	x.hash = hash
	if p.TTL > 1 && m.method() == NAT {
		if r := forward.NATEmbeddedRequest(x.frame, p, q, x.server.Addr, x.dport); r != forward.None {
			return Reason(r)
		}
	}
	return w.deliver(x, true)
}

// relatedReply forwards an error from the server, or a router on the way to it, to the
// client whose packet q it quotes.
func (w *Worker) relatedReply(x *rxPacket, q *forward.Packet) Reason {
	p := &x.packet
	vip, vport := w.plane.table.conns[x.conn].vipAddr()
	x.answerFrom = x.server.Source()
	hop := w.hopToClient(x)
	switch {
	case p.TTL <= 1:
		return TTLExceeded
	case hop == nil:
		return NoNeighbor
	}
	if r := forward.NATEmbeddedReply(x.frame, p, q, vip, vport); r != forward.None {
		return Reason(r)
	}
	w.countOut(x)
	return w.sendToHop(x, hop)
}
