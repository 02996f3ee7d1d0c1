package lb

import (
	"sync"

	"github.com/golb/golb/forward"
)

// fragments lets the later fragments of a datagram follow its first one, on
// whatever worker they arrive.
type fragments struct {
	mu    sync.Mutex
	table *forward.FragTable
}

const fragmentTimeout = 30 * ticksPerSecond // net.ipv4.ipfrag_time

func (x *fragments) start(seed uint64) {
	x.table = forward.NewFragTable(forward.FragConfig{Timeout: fragmentTimeout, Seed: seed})
}

// decision is what becomes of a datagram, as its first fragment found out: a
// connection, by number and generation, and which way; or one of the others below.
type decision uint64

const (
	decidedNothing decision = 0
	decidedReply   decision = 1 << 60 // beside a connection: from its server
	decidedServer  decision = 1 << 61 // beside the number of a server: no connection
	decidedPing    decision = 1 << 62
	decidedPass    decision = 1 << 63
)

func decide(to target, reply bool) decision {
	if to.conn == 0 {
		return decidedServer | decision(to.server.ID)
	}
	d := decision(to.meta>>metaGen)<<32 | decision(to.conn)
	if reply {
		d |= decidedReply
	}
	return d
}

// fragment forwards a part of a datagram. A later fragment that comes before the
// first one waits for it.
func (w *worker) fragment(snap *snapshot, f *forward.Frame, s *arrival) Reason {
	p := w.packet
	if !snap.isVIP(p.Dst) && !snap.isNATServer(p.Src) {
		return NotVIP
	}
	if p.Frag == forward.LaterFrag {
		w.frags.mu.Lock()
		d, r := w.frags.table.Later(f, p, uint32(w.now))
		w.frags.mu.Unlock()
		switch r {
		case forward.None:
			return w.later(snap, f, decision(d))
		case forward.FragmentQueued:
			return resent
		}
		return Reason(r)
	}
	parsed := *p
	w.decided = decidedNothing
	reason := w.whole(snap, f, s)
	if w.decided == decidedNothing || reason != forwarded && reason != resent {
		return reason
	}
	w.frags.mu.Lock()
	r := w.frags.table.First(&parsed, uint32(w.now), uint64(w.decided))
	w.frags.mu.Unlock()
	if r != forward.None {
		return Reason(r)
	}
	if reason == forwarded {
		w.send(f)
	}
	w.followers(snap, &parsed, w.decided)
	return resent
}

// followers forwards the fragments that waited for the first one, p.
func (w *worker) followers(snap *snapshot, p *forward.Packet, d decision) {
	for {
		// Room for the fragment, and for what it may be cut into in turn.
		w.reserve(3 * forward.MaxFrame)
		out := &w.follower
		*out = w.lend(forward.MaxFrame)
		w.frags.mu.Lock()
		ok := w.frags.table.Take(p, out)
		w.frags.mu.Unlock()
		w.trim(out)
		if !ok {
			return
		}
		reason := Reason(forward.Parse(out, w.packet))
		if reason == forwarded {
			reason = w.later(snap, out, d)
		}
		switch reason {
		case forwarded:
			w.send(out)
		case resent:
		default:
			w.drops[reason].bump(1)
		}
	}
}

// later forwards a fragment that has no transport header, as was decided for the
// first one.
func (w *worker) later(snap *snapshot, f *forward.Frame, d decision) Reason {
	w.answerAs = w.packet.Dst
	w.flowHash = uint64(d)
	switch d {
	case decidedPing:
		return w.ping(snap, f)
	case decidedPass:
		return w.pass(snap, f)
	}
	if d&decidedServer != 0 {
		s := w.servers.get(uint32(d))
		if s == nil {
			return ServerGone
		}
		w.countIn(s)
		return w.deliver(snap, f, target{server: s}, false)
	}
	c := uint32(d)
	m := w.table.conns[c].load()
	if !m.has(flagLive) || m>>metaGen != meta(d>>32)&0xffff {
		return NoConnection
	}
	to := w.targetOf(snap, c, m)
	if d&decidedReply != 0 {
		w.countOut(to.server)
		return w.replyOut(snap, f, c, m, to.server)
	}
	w.countIn(to.server)
	return w.deliver(snap, f, to, false)
}
