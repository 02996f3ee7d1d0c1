package lb

import "github.com/golb/golb/forward"

// The least path MTUs that an ICMP error is believed (net.ipv4.route.min_pmtu; RFC
// 8200 §5).
const (
	minPathMTU4 = 552
	minPathMTU6 = 1280
)

// pathMTUTimeout is how long a path MTU that was learnt is kept, until the path is
// tried anew with the link's own (RFC 1191 §6.3).
const pathMTUTimeout = 600 * ticksPerSecond

// tunnelError deals with an ICMP error about a packet that golb sent into a tunnel:
// it learns the path MTU to the server, and tells the client whose packet was
// inside (RFC 2003 §4, RFC 2473 §8; ip_vs_in_icmp).
func (w *worker) tunnelError(snap *snapshot, f *forward.Frame) Reason {
	p, q := w.packet, &w.quoted
	if !forward.ChecksumOK(f, p) {
		return Reason(forward.BadICMPChecksum)
	}
	if r := forward.ParseEmbedded(f, p, q); r != forward.None {
		return Reason(r)
	}
	if _, ok := snap.tunnels[q.Dst]; !ok {
		return NotVIP
	}
	var inner forward.Packet
	parsed := forward.ParseTunneled(f, q, &inner)
	overhead := inner.L3 - q.L3
	mtu := forward.MTU(f, p)
	if mtu != 0 {
		mtu = w.learnMTU(snap, q, mtu)
	}
	if parsed != forward.None {
		return Reason(parsed)
	}
	w.unreachableInside(&inner)
	if mtu != 0 && inner.Version == 4 && !inner.DF || !snap.isVIP(inner.Dst) || !w.mayAnswer(snap) {
		return NotVIP
	}
	back := w.router.lookup(inner.Src)
	if back == nil {
		return NoNeighbour
	}
	out := w.lend(forward.MaxReply)
	told := false
	if mtu != 0 {
		told = forward.TooBig(&out, f, &inner, inner.Dst, w.nextID(), mtu-overhead)
	} else if inner.Version == p.Version {
		told = forward.RelayICMPError(&out, f, &inner, inner.Dst, w.nextID(), p.ICMPType, p.ICMPCode)
	}
	if !told {
		return NotVIP
	}
	forward.SetMACs(&out, back.mac, w.macs[back.port])
	out.Port = back.port
	w.send(&out)
	return resent
}

// learnMTU notes the MTU of the path to the server that q was sent to, and returns
// what is believed of it.
func (w *worker) learnMTU(snap *snapshot, q *forward.Packet, mtu int) int {
	if q.Version == 4 {
		mtu = max(mtu, minPathMTU4)
	} else {
		mtu = max(mtu, minPathMTU6)
	}
	for _, s := range w.servers.all() {
		if s != nil && s.Addr == q.Dst && mtu < s.path.Load().mtu {
			s.editPath(func(to *path) { to.mtu = mtu })
			w.mtuLearnt.Store(uint32(w.now))
		}
	}
	return mtu
}
