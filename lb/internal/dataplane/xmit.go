package dataplane

import "github.com/golb/golb/forward"

// Towards servers (ip_vs_core.c, ip_vs_in; ip_vs_xmit.c).

// toServer counts a client's packet, updates its connection, and sends it to its server.
// x has its connection, or for a packet without one just the server, and dport.
func (w *Worker) toServer(x *rxPacket) Reason {
	w.countIn(x)
	if x.packet.Frag != forward.NotFrag {
		x.forFragments = verdictOf(x, false)
	}
	if x.conn != 0 {
		hop := uint16(0)
		if x.meta.has(flagReply) {
			hop = w.hopCache.number(&w.plane.hops, x.frame, w.in, w.now)
		}
		w.plane.update(x, fromClient, hop, w.now)
	}
	return w.deliver(x, false)
}

// countIn counts the packet as one to a server.
func (w *Worker) countIn(x *rxPacket) {
	count := &x.server.counters[w.id]
	count.inPackets.bump(1)
	count.inBytes.bump(uint64(x.packet.End - x.packet.L3))
}

// method is the connection's method, or without a connection the server's.
func (x *rxPacket) method(to *path) Method {
	if x.conn == 0 {
		return to.method
	}
	return x.meta.method()
}

// deliver rewrites a frame for its server, by its connection's method (ip_vs_xmit.c).
// relayed says that it is an ICMP error, which is never answered by another.
func (w *Worker) deliver(x *rxPacket, relayed bool) Reason {
	p, f, to := &x.packet, x.frame, x.server.path.Load()
	method := x.method(to)
	x.answerFrom = p.Dst
	switch {
	case p.TTL <= 1:
		return TTLExceeded
	case to.dst.IsZero():
		return NoNeighbor
	case p.HopByHop && method != TUN:
		return HopByHop
	}
	mtu := to.mtu
	if method == TUN {
		mtu = to.innerMTU
	}
	fits := p.NetLen(f) <= mtu
	if !relayed && !fits && x.mustNotFragment(method) {
		forward.DecTTL(f, p) // the answer quotes what would have been sent
		x.mtu = mtu
		return MTUExceeded
	}
	switch method {
	case NAT:
		return w.nat(x, to, relayed)
	case TUN:
		return w.tunnel(x, to, mtu)
	}
	forward.DSR(f, p, to.dst, to.src)
	if fits {
		f.Port = to.port
		return forwarded
	}
	return w.fragmentTo(x, f, to.port, to.mtu)
}

// mustNotFragment reports whether a packet that is too long is answered with an ICMP
// error: IPv6, and IPv4 with Don't Fragment unless PMTUDisc is off for a tunnel. Not so a
// TCP super-packet into a tunnel: it is segmented to fit.
func (x *rxPacket) mustNotFragment(method Method) bool {
	p := &x.packet
	if method == TUN && p.Proto == forward.ProtoTCP && x.frame.Offload.GSO != forward.GSONone {
		return false
	}
	return p.Version == 6 || p.DF && (method != TUN || x.snap.settings.PMTUDisc)
}

// nat translates a client's packet and sends it to the server. An ICMP error in relayed
// has been translated before.
func (w *Worker) nat(x *rxPacket, to *path, relayed bool) Reason {
	p, f := &x.packet, x.frame
	if !relayed {
		if x.meta.has(flagFTP) {
			w.ftpCommand(x)
		}
		if r := forward.NATRequest(f, p, (*forward.Addr)(&x.server.Addr), x.dport); r != forward.None {
			return Reason(r)
		}
		w.clampMSS(x, to.mtu)
	}
	forward.DecTTL(f, p)
	forward.SetMACs(f, to.dst, to.src)
	return w.fragmentTo(x, f, to.port, to.mtu)
}

// tunnel encapsulates a packet, at most mtu bytes long, and sends it on. Super-packets are
// segmented first.
func (w *Worker) tunnel(x *rxPacket, to *path, mtu int) Reason {
	p, f := &x.packet, x.frame
	w.clampMSS(x, mtu)
	forward.DecTTL(f, p)
	srcPort := uint16(x.hash) | 0xc000 // in the range that RFC 6335 §6 leaves to senders
	if f.Offload.GSO == forward.GSONone {
		if r := forward.Encapsulate(f, p, &to.encap, w.nextID(), srcPort); r != forward.None {
			return Reason(r)
		}
		forward.SetMACs(f, to.dst, to.src)
		return w.fragmentTo(x, f, to.port, to.mtu)
	}
	if r := w.segments.Start(f, p, min(int(f.Offload.GSOSize), mtu-(p.Payload-p.L3))); r != forward.None {
		return Reason(r)
	}
	for {
		out := w.nextSegment(p)
		if out == nil {
			return consumed
		}
		if r := forward.Encapsulate(out, p, &to.encap, w.nextID(), srcPort); r != forward.None {
			return Reason(r)
		}
		forward.SetMACs(out, to.dst, to.src)
		if w.fragmentTo(x, out, to.port, to.mtu) == forwarded {
			w.send(out)
		}
	}
}

// fragmentTo chooses the port of a finished frame, which x.packet describes, and cuts it
// where it is still too long.
func (w *Worker) fragmentTo(x *rxPacket, f *forward.Frame, port, mtu int) Reason {
	p := &x.packet
	f.Port = port
	if p.NetLen(f) <= mtu {
		return forwarded
	}
	if f.Offload.GSO != forward.GSONone {
		return w.segmentTo(x, f, port, mtu)
	}
	if r := w.fragments.Start(f, p, mtu, uint32(w.nextID())); r != forward.None {
		return Reason(r)
	}
	for {
		out := w.lend(w.fragments.FrameLen())
		if !w.fragments.Next(&out, p) {
			return consumed
		}
		w.send(&out)
	}
}

// segmentTo sends a finished super-packet, which may be cut but whose segments are too long,
// as packets of at most mtu bytes: TCP in shorter segments, UDP in fragments of its
// datagrams.
func (w *Worker) segmentTo(x *rxPacket, f *forward.Frame, port, mtu int) Reason {
	p := &x.packet
	if r := w.segments.Start(f, p, mtu-(p.Payload-p.L3)); r != forward.None {
		return Reason(r)
	}
	for {
		out := w.nextSegment(p)
		if out == nil {
			return consumed
		}
		if w.fragmentTo(x, out, port, mtu) == forwarded {
			w.send(out)
		}
	}
}

// nextSegment returns the next packet of the super-packet that w.segments splits, and
// describes it in p; nil after the last.
func (w *Worker) nextSegment(p *forward.Packet) *forward.Frame {
	size := w.segments.FrameLen()
	w.reserve(3 * (forward.Headroom + size)) // also for the fragments that it may be cut into
	out := &w.segment
	*out = w.lend(size)
	if !w.segments.Next(out, p) {
		return nil
	}
	return out
}

// clampMSS lowers the segment size that a SYN offers to what fits in mtu bytes, where
// the settings say so.
func (w *Worker) clampMSS(x *rxPacket, mtu int) {
	if x.snap.settings.ClampMSS {
		lowerMSS(x, mtu)
	}
}

func lowerMSS(x *rxPacket, mtu int) {
	const tcpHeader, header4, header6 = 20, 20, 40
	mss := mtu - tcpHeader - header4
	if x.packet.Version == 6 {
		mss = mtu - tcpHeader - header6
	}
	forward.ClampMSS(x.frame, &x.packet, uint16(max(mss, 0)))
}

// nextID is an IPv4 identification (RFC 6864). Workers start at different numbers and
// step by their count, so that no two use the same number at a time.
func (w *Worker) nextID() uint16 {
	w.ipID += w.idStep
	return w.ipID
}
