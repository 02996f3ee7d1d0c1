package dataplane

import "github.com/golb/golb/forward"

// txQueue is the frames that a worker is about to send through one port, in order. While
// they are neighbors in the received batch, frames is a slice of it; otherwise frames is a
// slice of copies.
type txQueue struct {
	frames  []forward.Frame
	copies  []forward.Frame // memory for copies
	inPlace bool            // frames is a slice of the batch,
	next    int             // which frame next of the batch would extend
}

func newTxQueue() txQueue { return txQueue{copies: make([]forward.Frame, 0, batchSize)} }

// queueReceived queues frame i of the batch for its port.
func (w *Worker) queueReceived(frames []forward.Frame, i int) {
	f := &frames[i]
	q := &w.out[f.Port]
	switch {
	case len(q.frames) == 0:
		q.frames, q.inPlace, q.next = frames[i:i+1], true, i+1
	case q.inPlace && q.next == i:
		q.frames = q.frames[:len(q.frames)+1]
		q.next++
	default:
		w.send(f)
	}
}

// send queues a frame for its port.
func (w *Worker) send(f *forward.Frame) {
	q := &w.out[f.Port]
	if q.inPlace {
		q.frames, q.inPlace = append(q.copies[:0], q.frames...), false
	}
	q.frames = append(q.frames, *f)
}

// flush sends the queued frames. Frames that lend returned are invalid afterwards.
func (w *Worker) flush() {
	for i := range w.out {
		q := &w.out[i]
		if len(q.frames) == 0 {
			continue
		}
		// The port counts frames that it could not send.
		_, _ = w.ports[i].Send(w.merge(i, q.frames))
		if !q.inPlace {
			q.copies = q.frames
		}
		q.frames, q.inPlace = q.copies[:0], false
	}
	w.arenaUsed = 0
}
