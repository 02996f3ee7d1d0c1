package dataplane

import "github.com/golb/golb/forward"

// The lowest path MTUs that are learned (net.ipv4.route.min_pmtu; RFC 8200 §5).
const (
	minPathMTU4 = 552
	minPathMTU6 = 1280
)

// pathMTUTimeout is how long a learned path MTU is kept before the route's is used again
// (RFC 1191 §6.3).
const pathMTUTimeout = 600 * TicksPerSecond

// tunnelError handles an ICMP error about a packet that golb encapsulated: it learns the
// path MTU to the server, and relays the error to the client whose packet was inside (RFC
// 2003 §4, RFC 2473 §8; ip_vs_core.c, ip_vs_in_icmp).
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
	parsed := forward.ParseTunneled(f, q, &inner)
	overhead := inner.L3 - q.L3
	mtu := forward.MTU(f, p)
	if mtu != 0 {
		mtu = w.learnMTU(q, mtu)
	}
	if parsed != forward.None {
		return Reason(parsed)
	}
	w.countUnreachableInside(p, &inner)
	if mtu != 0 && inner.Version == 4 && !inner.DF || !x.snap.isVIP(inner.Dst) || !w.takeAnswerToken(x.snap) {
		return NotVIP
	}
	hop, _ := w.plane.nextHops.NextHop(inner.Src)
	if hop == nil {
		return NoNeighbor
	}
	out := w.lend(forward.MaxReply)
	built := false
	if mtu != 0 {
		built = forward.TooBig(&out, f, &inner, inner.Dst, w.nextID(), mtu-overhead)
	} else if inner.Version == p.Version {
		built = forward.RelayICMPError(&out, f, &inner, inner.Dst, w.nextID(), p.ICMPType, p.ICMPCode)
	}
	if !built {
		return NotVIP
	}
	forward.SetMACs(&out, hop.MAC, w.ifaces[hop.Port].MAC)
	out.Port = hop.Port
	w.send(&out)
	return consumed
}

// learnMTU lowers the path MTU to the server that q was sent to, and returns it, not below
// the lowest that is learned.
func (w *Worker) learnMTU(q *forward.Packet, mtu int) int {
	if q.Version == 4 {
		mtu = max(mtu, minPathMTU4)
	} else {
		mtu = max(mtu, minPathMTU6)
	}
	for _, s := range w.plane.servers.all() {
		if s != nil && s.Addr == q.Dst && mtu < s.path.Load().mtu {
			s.editPath(func(to *path) { to.mtu = mtu })
			w.plane.mtuLearned.Store(uint32(w.now))
		}
	}
	return mtu
}
