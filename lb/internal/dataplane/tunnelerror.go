package dataplane

import "github.com/golb/golb/forward"

// The lowest path MTUs that are believed: every host takes IPv4 packets of 576 bytes (RFC
// 791 §3.1), and every IPv6 link passes 1280 (RFC 8200 §5).
const (
	minPathMTU4 = 576
	minPathMTU6 = 1280
)

// pathMTUTimeout is how long learned path MTUs are kept before the routes' are used again
// (RFC 1191 §6.3).
const pathMTUTimeout = 600 * TicksPerSecond

// tunnelError handles an ICMP error about a packet that golb encapsulated: it learns the
// path MTU to the server, and relays the error to the client whose packet was inside (RFC
// 2003 §4, RFC 2473 §8; ip_vs_core.c, ip_vs_in_icmp). It believes only what quotes a
// packet that golb may have sent.
func (w *Worker) tunnelError(x *rxPacket) Reason {
	f, p, q := x.frame, &x.packet, &w.quoted
	if !forward.ChecksumOK(f, p) {
		return Reason(forward.BadICMPChecksum)
	}
	if r := forward.ParseEmbedded(f, p, q); r != forward.None {
		return Reason(r)
	}
	if _, ok := x.snap.tunnels[q.Dst]; !ok {
		return NotVIP
	}
	var inner forward.Packet
	if r := forward.ParseTunneled(f, q, &inner); r != forward.None {
		return Reason(r)
	}
	mtu := forward.MTU(f, p)
	s := w.tunnelServer(x, q, &inner)
	if s == nil || p.Dst != q.Src || mtu != 0 && !believable(mtu, f, q) {
		return ICMPNotBelieved
	}
	if mtu != 0 {
		w.learnMTU(s.Addr, mtu)
	}
	w.countUnreachableInside(p, &inner)
	kind := answerUnreachable
	if mtu != 0 {
		kind = answerTooBig
	}
	if mtu != 0 && inner.Version == 4 && !inner.DF || !w.mayAnswer(x.snap, kind) {
		return NotVIP
	}
	return w.relayInside(x, &inner, mtu, inner.L3-q.L3)
}

// relayInside sends the client whose packet was inside a tunnel's what x says of that:
// that it is too big, where mtu is not 0. overhead is the tunnel's in bytes.
func (w *Worker) relayInside(x *rxPacket, inner *forward.Packet, mtu, overhead int) Reason {
	f, p := x.frame, &x.packet
	hop, _ := w.plane.nextHops.NextHop(inner.Src)
	if hop == nil {
		return NoNeighbor
	}
	out := w.lend(forward.MaxReply)
	built := false
	if mtu != 0 {
		built = forward.TooBig(&out, f, inner, inner.Dst, w.nextID(), mtu-overhead)
	} else if inner.Version == p.Version {
		built = forward.RelayICMPError(&out, f, inner, inner.Dst, w.nextID(), p.ICMPType, p.ICMPCode)
	}
	if !built {
		return NotVIP
	}
	forward.SetMACs(&out, hop.MAC, w.ifaces[hop.Port].MAC)
	out.Port = hop.Port
	w.send(&out)
	return consumed
}

// tunnelServer is the server that golb may have sent the quoted tunnel packet q to, nil
// where it has sent none like it: the connection of the packet inside is to that server,
// or golb keeps none.
func (w *Worker) tunnelServer(x *rxPacket, q, inner *forward.Packet) *Server {
	key, t := keyOf(inner), w.plane.table
	if r, m := t.find(&key, key.hash(&t.secret), w.plane.servers.all()); r != 0 {
		s := w.plane.servers.get(m.server())
		if r.reply() || s.Addr != q.Dst || m.method() != TUN || s.path.Load().encap.Local != q.Src {
			return nil
		}
		return s
	}
	v := x.snap.match(inner.Proto, inner.Dst, inner.DstPort)
	if v == nil || !v.settings.Load().onePacket && !w.plane.wasFull(v, w.now) {
		return nil
	}
	for _, s := range *v.servers.Load() {
		if to := s.path.Load(); s.Addr == q.Dst && to.method == TUN && to.encap.Local == q.Src {
			return s
		}
	}
	return nil
}

// believable reports whether some link may have had this MTU, and the packet that q
// quotes exceeded it.
func believable(mtu int, f *forward.Frame, q *forward.Packet) bool {
	least := minPathMTU4
	if q.Version == 6 {
		least = minPathMTU6
	}
	return mtu >= least && mtu < forward.QuotedLen(f, q)
}

// learnMTU lowers the path MTU to a server's address.
func (w *Worker) learnMTU(addr forward.Addr, mtu int) {
	for _, s := range w.plane.servers.all() {
		if s != nil && s.Addr == addr && mtu < s.path.Load().mtu {
			s.editPath(func(to *path) { to.mtu = mtu })
			w.plane.mtuLearned.CompareAndSwap(0, uint32(w.now)) // later ones do not prolong the first
		}
	}
}
