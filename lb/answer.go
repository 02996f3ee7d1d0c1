package lb

import "github.com/golb/golb/forward"

// answer sends what a host would send in place of a frame that was not forwarded:
// RST, port unreachable, time exceeded, too big. What golb sends of its own accord
// is bounded by the setting answer_rate.
func (w *worker) answer(snap *snapshot, f *forward.Frame, reason Reason) {
	switch reason {
	case NoService, NoConnection, NoServer, TTLExceeded, MTUExceeded:
	default:
		return
	}
	if !forward.MayAnswer(f, w.packet) || !w.mayAnswer(snap) {
		return
	}
	out := w.lend(forward.MaxReply)
	if w.reply(&out, f, reason) {
		out.Port = w.in
		w.send(&out)
	}
}

// reply writes the answer into out, and reports whether there is one.
func (w *worker) reply(out, f *forward.Frame, reason Reason) bool {
	p, id := w.packet, w.nextID()
	switch reason {
	case TTLExceeded:
		return forward.TimeExceeded(out, f, p, w.answerAs, id)
	case MTUExceeded:
		return forward.TooBig(out, f, p, w.answerAs, id, w.mtu)
	case NoServer:
		return forward.PortUnreachable(out, f, p, w.answerAs, id)
	}
	switch Protocol(p.Proto) {
	case TCP:
		return forward.TCPReset(out, f, p, w.answerAs)
	case UDP:
		return forward.PortUnreachable(out, f, p, w.answerAs, id)
	}
	return false
}

// ping answers an echo request to a VIP, in place.
func (w *worker) ping(snap *snapshot, f *forward.Frame) Reason {
	if !w.mayAnswer(snap) || !forward.EchoReply(f, w.packet, w.nextID()) {
		return RateLimited
	}
	w.decided = decidedPing
	f.Port = w.in
	return forwarded
}

// mayAnswer draws from the worker's bucket of answers: it holds a second's worth.
func (w *worker) mayAnswer(snap *snapshot) bool {
	rate := int64(snap.settings.answerRate)
	if since := int64(w.now - w.refilled); since > 0 {
		w.answers = min(rate, w.answers+rate*since/ticksPerSecond)
		w.refilled = w.now
	}
	if w.answers <= 0 {
		return false
	}
	w.answers--
	return true
}

// arenaSize is what a worker has for frames that it makes itself: some hundred
// segments, or thousands of answers.
const arenaSize = 1 << 19

// lend returns a frame of at most size bytes with headroom, good until the batch
// is sent.
func (w *worker) lend(size int) forward.Frame {
	need := forward.Headroom + size
	w.reserve(need)
	buf := w.arena[w.arenaUsed : w.arenaUsed+need : w.arenaUsed+need]
	w.arenaUsed += need
	return forward.Frame{Buf: buf, Head: forward.Headroom, Tail: forward.Headroom}
}

// reserve makes sure that lending so many bytes, room for headers included, reuses
// nothing that was lent since.
func (w *worker) reserve(bytes int) {
	if w.arenaUsed+bytes > len(w.arena) {
		w.flush()
	}
}

// trim gives back what the frame that was lent last does not use.
func (w *worker) trim(f *forward.Frame) {
	w.arenaUsed -= len(f.Buf) - f.Tail
	f.Buf = f.Buf[:f.Tail:f.Tail]
}
