package dataplane

import "github.com/golb/golb/forward"

// arenaSize is a worker's memory in bytes for frames that it makes itself: some hundred
// segments, or thousands of answers.
const arenaSize = 1 << 19

// lend returns an empty frame for at most size bytes, with headroom, valid until the next
// flush. It flushes where the arena is full.
func (w *Worker) lend(size int) forward.Frame {
	need := forward.Headroom + size
	w.reserve(need)
	buf := w.arena[w.arenaUsed : w.arenaUsed+need : w.arenaUsed+need]
	w.arenaUsed += need
	return forward.Frame{Buf: buf, Head: forward.Headroom, Tail: forward.Headroom}
}

// reserve makes sure that frames of so many bytes in all, headroom included, can be lent
// without a flush between.
func (w *Worker) reserve(bytes int) {
	if w.arenaUsed+bytes > len(w.arena) {
		w.flush()
	}
}

// trim gives back what the frame that was lent last does not use.
func (w *Worker) trim(f *forward.Frame) {
	w.arenaUsed -= len(f.Buf) - f.Tail
	f.Buf = f.Buf[:f.Tail:f.Tail]
}
