package lb

import "github.com/golb/golb/forward"

// related carries an ICMP error to the end of the connection that the quoted
// packet belongs to: to the server what is about packets to the client, and through
// NAT the other way too (ip_vs_in_icmp, ip_vs_out_icmp). The connection's timer
// does not run anew.
func (w *worker) related(snap *snapshot, f *forward.Frame) Reason {
	p, q := w.packet, &w.quoted
	if !forward.ChecksumOK(f, p) {
		return Reason(forward.BadICMPChecksum)
	}
	if r := forward.ParseEmbedded(f, p, q); r != forward.None {
		return Reason(r)
	}
	// The packet that drew the error went the other way.
	t := tuple{src: q.Dst, dst: q.Src, srcPort: q.DstPort, dstPort: q.SrcPort, proto: Protocol(q.Proto)}
	key := t.words()
	r, m := w.table.findLocked(&key, key.hash(w.table.seed), w.servers.all())
	switch {
	case r != 0:
	case snap.isVIP(p.Dst):
		return NoConnection
	case snap.isNATServer(p.Src):
		return w.pass(snap, f)
	default:
		return NotVIP
	}
	to := w.targetOf(snap, r.conn(), m)
	if r.reply() {
		w.unreachable(r.conn(), m, to.server)
		return w.relatedReply(snap, f, r.conn(), to.server)
	}
	w.countIn(to.server)
	w.flowHash = key.hash(w.table.seed)
	if p.TTL > 1 && to.meta.method() == NAT {
		if r := forward.NATEmbeddedRequest(f, p, q, to.server.Addr, to.dport); r != forward.None {
			return Reason(r)
		}
	}
	return w.deliver(snap, f, to, true)
}

// relatedReply carries an error about a client's packet, from the server or a
// router on the way to it, to the client.
func (w *worker) relatedReply(snap *snapshot, f *forward.Frame, c uint32, s *server) Reason {
	p, q := w.packet, &w.quoted
	key := w.table.key(c)
	vip := addrOf(key[2], key[3])
	w.answerAs = s.path.Load().source
	back := w.wayBack(snap, c)
	switch {
	case p.TTL <= 1:
		return TTLExceeded
	case back == nil:
		return NoNeighbour
	}
	if r := forward.NATEmbeddedReply(f, p, q, vip, uint16(key[4]>>32)); r != forward.None {
		return Reason(r)
	}
	w.countOut(s)
	return w.route(snap, f, back)
}
