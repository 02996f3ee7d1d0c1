package dataplane

import (
	"sync/atomic"

	"github.com/golb/golb/forward"
)

// failureCounts counts the connections of a server that failed, and those that were
// established.
type failureCounts struct {
	established atomic.Uint64 // that were half open before
	unanswered  atomic.Uint64 // the client repeated its SYN
	refused     atomic.Uint64 // reset in answer to the SYN
	unreachable atomic.Uint64 // an ICMP error in answer to the SYN, or to a datagram
}

// FailureCounts are connections of a server since its start.
type FailureCounts struct {
	Established uint64 // that were half open before
	Unanswered  uint64 // the client repeated its SYN; with NAT only where the server did not answer it
	Refused     uint64 // the server reset it in answer to the SYN; seen with NAT
	Unreachable uint64 // an ICMP unreachable came back; seen with NAT and TUN
}

func (c *failureCounts) read() FailureCounts {
	return FailureCounts{c.established.Load(), c.unanswered.Load(), c.refused.Load(), c.unreachable.Load()}
}

// countRepeatedSYN counts the second SYN of a connection that its server has not answered.
func (w *Worker) countRepeatedSYN(x *rxPacket) {
	if x.packet.Proto == forward.ProtoTCP && x.meta.state() == tcpSynRecv && !x.meta.has(flagAnswered) &&
		timer(w.plane.table.conns[x.conn].timer.Load()).packets() == 1 {
		x.server.failed.unanswered.Add(1)
	}
}

// leftSynRecv counts how a connection left SYN_RECV.
func (p *Plane) leftSynRecv(c uint32, s *Server, old, m meta) {
	if p.table.conns[c].proto() != forward.ProtoTCP {
		return
	}
	switch m.state() {
	case tcpEstablished:
		s.failed.established.Add(1)
	case tcpClose:
		if m.has(flagAnswered) && !old.has(flagAnswered) { // with a reset: a client's does not end it
			s.failed.refused.Add(1)
		}
	}
}

// countUnreachable counts the ICMP error icmp in answer to a client's packet of
// connection c.
func (w *Worker) countUnreachable(icmp *forward.Packet, c uint32, m meta, s *Server) {
	switch icmp.Version {
	case 4:
		const unreachable, fragmentationNeeded = 3, 4
		if icmp.ICMPType != unreachable || icmp.ICMPCode == fragmentationNeeded {
			return
		}
	default:
		const unreachable = 1
		if icmp.ICMPType != unreachable {
			return
		}
	}
	switch w.plane.table.conns[c].proto() {
	case forward.ProtoUDP:
	case forward.ProtoTCP:
		if m.state() != tcpSynRecv {
			return
		}
	default:
		return
	}
	s.failed.unreachable.Add(1)
}

// countUnreachableInside is countUnreachable for the packet that was inside a tunnel's.
func (w *Worker) countUnreachableInside(icmp, inner *forward.Packet) {
	k, t := keyOf(inner), w.plane.table
	if r, m := t.find(&k, k.hash(&t.secret), w.plane.servers.all()); r != 0 && !r.reply() {
		w.countUnreachable(icmp, r.conn(), m, w.plane.servers.get(m.server()))
	}
}
