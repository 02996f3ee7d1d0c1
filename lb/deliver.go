package lb

import "github.com/golb/golb/forward"

// deliver rewrites a frame by its connection's method and readies it for the
// server (ip_vs_xmit.c). relayed says that it is an ICMP error on its way, which no
// other error answers.
func (w *worker) deliver(snap *snapshot, f *forward.Frame, dst target, relayed bool) Reason {
	p, to := w.packet, dst.server.path.Load()
	method := dst.method(to)
	w.answerAs = p.Dst
	switch {
	case p.TTL <= 1:
		return TTLExceeded
	case to.dst.IsZero():
		return NoNeighbour
	case p.HopByHop && method != TUN:
		return HopByHop
	}
	room := to.mtu
	if method == TUN {
		room = to.room
	}
	fits := p.NetLen(f) <= room
	if !relayed && !fits && w.refuses(snap, f, method) {
		forward.DecTTL(f, p) // the answer quotes what would have been sent
		w.mtu = room
		return MTUExceeded
	}
	switch method {
	case NAT:
		return w.nat(snap, f, dst, to, relayed)
	case TUN:
		return w.tunnel(snap, f, to, room)
	}
	forward.DSR(f, p, to.dst, to.src)
	if fits {
		f.Port = to.port
		return forwarded
	}
	return w.emit(f, to.port, to.mtu)
}

// refuses reports whether a packet that is too long must be answered: IPv6, and
// IPv4 with Don't Fragment, unless a tunnel is to ignore that. Super-packets of TCP
// can be cut to what a tunnel takes.
func (w *worker) refuses(snap *snapshot, f *forward.Frame, method Method) bool {
	p := w.packet
	if method == TUN && p.Proto == forward.ProtoTCP && f.Offload.GSO != forward.GSONone {
		return false
	}
	return p.Version == 6 || p.DF && (method != TUN || snap.settings.pmtuDisc)
}

// nat sends a request on to a server of method NAT. What an ICMP error quotes has
// been translated before, and its header with it.
func (w *worker) nat(snap *snapshot, f *forward.Frame, dst target, to *path, relayed bool) Reason {
	p := w.packet
	if !relayed {
		if dst.meta.has(flagFTP) {
			w.ftpCommand(f, dst)
		}
		if r := forward.NATRequest(f, p, (*forward.Addr)(&dst.server.Addr), dst.dport); r != forward.None {
			return Reason(r)
		}
		w.clamp(snap, f, to.mtu)
	}
	forward.DecTTL(f, p)
	forward.SetMACs(f, to.dst, to.src)
	return w.emit(f, to.port, to.mtu)
}

// tunnel sends a packet on inside others. Super-packets are cut first.
func (w *worker) tunnel(snap *snapshot, f *forward.Frame, to *path, room int) Reason {
	p := w.packet
	w.clamp(snap, f, room)
	forward.DecTTL(f, p)
	srcPort := uint16(w.flowHash) | 0xc000 // in the range that RFC 6335 §6 leaves to senders
	if f.Offload.GSO == forward.GSONone {
		if r := forward.Encapsulate(f, p, &to.wrap, w.nextID(), srcPort); r != forward.None {
			return Reason(r)
		}
		forward.SetMACs(f, to.dst, to.src)
		return w.emit(f, to.port, to.mtu)
	}
	if r := w.segments.Start(f, p, min(int(f.Offload.GSOSize), room-(p.Payload-p.L3))); r != forward.None {
		return Reason(r)
	}
	for {
		out := &w.segment
		*out = w.lend(w.segments.FrameLen())
		if !w.segments.Next(out, p) {
			return resent
		}
		if r := forward.Encapsulate(out, p, &to.wrap, w.nextID(), srcPort); r != forward.None {
			return Reason(r)
		}
		forward.SetMACs(out, to.dst, to.src)
		if w.emit(out, to.port, to.mtu) == forwarded {
			w.send(out)
		}
	}
}

// emit chooses the port of a finished frame, and cuts it where it is still too
// long; w.packet describes it.
func (w *worker) emit(f *forward.Frame, port, mtu int) Reason {
	p := w.packet
	f.Port = port
	if p.NetLen(f) <= mtu {
		return forwarded
	}
	if r := w.fragments.Start(f, p, mtu, uint32(w.nextID())); r != forward.None {
		return Reason(r)
	}
	for {
		out := w.lend(w.fragments.FrameLen())
		if !w.fragments.Next(&out, p) {
			return resent
		}
		w.send(&out)
	}
}

// clamp lowers the segment size that a SYN offers to what fits in mtu bytes, where
// the settings say so.
func (w *worker) clamp(snap *snapshot, f *forward.Frame, mtu int) {
	if snap.settings.clampMSS {
		w.lowerMSS(f, mtu)
	}
}

func (w *worker) lowerMSS(f *forward.Frame, mtu int) {
	const tcpHeader, header4, header6 = 20, 20, 40
	mss := mtu - tcpHeader - header4
	if w.packet.Version == 6 {
		mss = mtu - tcpHeader - header6
	}
	forward.ClampMSS(f, w.packet, uint16(max(mss, 0)))
}

// nextID is an IPv4 identification that no other worker uses at the time (RFC 6864).
func (w *worker) nextID() uint16 {
	w.ipID += w.idStep
	return w.ipID
}

// answerNAT sends a server's reply on to the client (ip_vs_out).
func (w *worker) answerNAT(snap *snapshot, f *forward.Frame, c uint32, m meta, s *server) Reason {
	w.countOut(s)
	if w.packet.Frag != forward.NotFrag {
		w.decided = decide(target{conn: c, meta: m}, true)
	}
	w.touch(c, m, s, w.packet, fromServer, 0, w.now)
	return w.replyOut(snap, f, c, m, s)
}

// replyOut makes a server's packet one of the VIP's, on its way to the client. What
// stands against that is told to the server about the packet as it sent it.
func (w *worker) replyOut(snap *snapshot, f *forward.Frame, c uint32, m meta, s *server) Reason {
	p := w.packet
	v := w.wayBack(snap, c)
	if p.TTL <= 1 || v == nil || w.exceeds(f, v) {
		w.answerAs = s.path.Load().source
		switch {
		case p.TTL <= 1:
			return TTLExceeded
		case v == nil:
			return NoNeighbour
		}
		return MTUExceeded
	}
	if m.has(flagFTP) {
		if r := w.ftpReply(snap, f, c, m, w.mtus[v.port]); r != forwarded {
			return r
		}
	}
	e := &w.table.conns[c]
	var vip forward.Addr
	putAddr(&vip, e.vip[0].Load(), e.vip[1].Load())
	if r := forward.NATReply(f, p, &vip, uint16(e.ports.Load()>>32)); r != forward.None {
		return Reason(r)
	}
	return w.route(snap, f, v)
}

// wayBack is the way that the client's packets came by, or the host's route to the
// client.
func (w *worker) wayBack(snap *snapshot, c uint32) *via {
	v := w.vias.get(timer(w.table.conns[c].timer.Load()).via())
	if v == nil || snap.settings.replyByRoute {
		return w.router.lookup(w.packet.Dst)
	}
	return v
}

// exceeds reports whether a packet is too long for the way by v, and must not be cut.
func (w *worker) exceeds(f *forward.Frame, v *via) bool {
	p := w.packet
	w.mtu = w.mtus[v.port]
	return p.NetLen(f) > w.mtu && (p.DF || p.Version == 6)
}

// route is the end of forwarding as a router does it.
func (w *worker) route(snap *snapshot, f *forward.Frame, v *via) Reason {
	w.clamp(snap, f, w.mtus[v.port])
	forward.DecTTL(f, w.packet)
	forward.SetMACs(f, v.mac, w.macs[v.port])
	return w.emit(f, v.port, w.mtus[v.port])
}

// pass routes a packet that a server of method NAT sends on its own account: it has
// golb as its gateway (ip_vs leaves it to the host's forwarding).
func (w *worker) pass(snap *snapshot, f *forward.Frame) Reason {
	p := w.packet
	v := w.router.lookup(p.Dst)
	if v == nil {
		return NotVIP
	}
	w.decided = decidedPass
	w.answerAs = w.router.source(p.Src)
	switch {
	case p.TTL <= 1:
		return TTLExceeded
	case w.exceeds(f, v):
		return MTUExceeded
	}
	return w.route(snap, f, v)
}
