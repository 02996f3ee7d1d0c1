package dataplane

import (
	"sync"

	"github.com/golb/golb/forward"
)

// fragments holds the verdicts on first fragments for the later ones of the datagram,
// which may arrive on any worker.
type fragments struct {
	mu    sync.Mutex
	table *forward.FragTable
}

const fragmentTimeout = 30 * TicksPerSecond // net.ipv4.ipfrag_time

func (x *fragments) start(seed uint64) {
	x.table = forward.NewFragTable(forward.FragConfig{Timeout: fragmentTimeout, Seed: seed})
}

// fragVerdict is how the fragments of a datagram are forwarded, as decided for the first:
// by a connection, as generation and number, and in which direction; or one of the others
// below.
type fragVerdict uint64

const (
	verdictNone     fragVerdict = 0
	verdictReply    fragVerdict = 1 << 60 // beside a connection: from its server
	verdictServer   fragVerdict = 1 << 61 // beside the number of a server: no connection
	verdictPing     fragVerdict = 1 << 62
	verdictRouteOut fragVerdict = 1 << 63
)

// verdictOf is that of a packet which goes to its server, or with reply to its client.
func verdictOf(x *rxPacket, reply bool) fragVerdict {
	if x.conn == 0 {
		return verdictServer | fragVerdict(x.server.ID)
	}
	v := fragVerdict(x.meta.gen())<<32 | fragVerdict(x.conn)
	if reply {
		v |= verdictReply
	}
	return v
}

// conn is the connection that a verdict names.
func (v fragVerdict) conn() connID { return connID{uint32(v), uint16(v >> 32)} }

// fragment forwards a part of a datagram. A later fragment that comes before the
// first one waits for it.
func (w *Worker) fragment(x *rxPacket) Reason {
	frags := &w.plane.frags
	if !x.snap.isVIP(x.packet.Dst) {
		switch s := x.snap.natServer(x.packet.Src); {
		case s == nil:
			return NotVIP
		case !w.isReplyPort(s):
			return NotFromServer
		}
	}
	if x.packet.Frag == forward.LaterFrag {
		frags.mu.Lock()
		v, r := frags.table.Later(x.frame, &x.packet, uint32(w.now))
		frags.mu.Unlock()
		switch r {
		case forward.None:
			return w.laterFragment(x, fragVerdict(v))
		case forward.FragmentQueued:
			return consumed
		}
		return Reason(r)
	}
	first := x.packet // as parsed, before it is rewritten
	x.forFragments = verdictNone
	reason := w.datagram(x)
	if x.forFragments == verdictNone || reason != forwarded && reason != consumed {
		return reason
	}
	frags.mu.Lock()
	r := frags.table.First(&first, uint32(w.now), uint64(x.forFragments))
	frags.mu.Unlock()
	if r != forward.None {
		return Reason(r)
	}
	if reason == forwarded {
		w.send(x.frame)
	}
	w.sendWaiting(x.snap, &first, x.forFragments)
	return consumed
}

// sendWaiting forwards the fragments that waited for the first one.
func (w *Worker) sendWaiting(snap *Snapshot, first *forward.Packet, v fragVerdict) {
	x, frags := &w.scratch, &w.plane.frags
	for {
		// For the fragment, and for the fragments that it may be cut into.
		w.reserve(3 * forward.MaxFrame)
		out := &w.waitingFragment
		*out = w.lend(forward.MaxFrame)
		frags.mu.Lock()
		ok := frags.table.Take(first, out)
		frags.mu.Unlock()
		w.trim(out)
		if !ok {
			return
		}
		x.frame, x.snap = out, snap
		reason := Reason(forward.Parse(out, &x.packet))
		if reason == forwarded {
			reason = w.laterFragment(x, v)
		}
		switch reason {
		case forwarded:
			w.send(out)
		case consumed:
		default:
			w.drops[reason].bump(1)
		}
	}
}

// laterFragment forwards a fragment that has no transport header, by the verdict on the
// first one.
func (w *Worker) laterFragment(x *rxPacket, v fragVerdict) Reason {
	x.answerFrom, x.hash = x.packet.Dst, uint64(v)
	switch v {
	case verdictPing:
		return w.ping(x)
	case verdictRouteOut:
		return w.routeOut(x)
	}
	if v&verdictServer != 0 {
		x.conn, x.meta, x.server = 0, 0, w.plane.servers.get(uint32(v))
		if x.server == nil {
			return ServerGone
		}
		w.countIn(x)
		return w.deliver(x, false)
	}
	id := v.conn()
	m := w.plane.table.conns[id.index].load()
	if !m.is(id) {
		return NoConnection
	}
	w.setConn(x, id.index, m)
	if v&verdictReply != 0 {
		w.countOut(x)
		return w.replyOut(x)
	}
	w.countIn(x)
	return w.deliver(x, false)
}
