package arp

import (
	"container/heap"
	"time"
)

// timer calls fire once its time has come. It is set and stopped through timers;
// the zero position says that it is not set.
type timer struct {
	at   time.Time
	fire func(now time.Time)
	pos  int // index in the heap, plus one
}

// pending reports whether t is set and has not fired.
func (t *timer) pending() bool { return t.pos != 0 }

// timers is a heap by time: any number of them for one goroutine.
type timers struct{ h timerHeap }

// set makes t fire at the given time, whether it was set before or not.
func (ts *timers) set(t *timer, at time.Time) {
	t.at = at
	if !t.pending() {
		heap.Push(&ts.h, t)
		return
	}
	heap.Fix(&ts.h, t.pos-1)
}

func (ts *timers) stop(t *timer) {
	if t.pending() {
		heap.Remove(&ts.h, t.pos-1)
	}
}

// run fires what is due, the earliest first.
func (ts *timers) run(now time.Time) {
	for len(ts.h) > 0 && !ts.h[0].at.After(now) {
		heap.Pop(&ts.h).(*timer).fire(now)
	}
}

// next returns when run is to be called; false where nothing is set.
func (ts *timers) next() (time.Time, bool) {
	if len(ts.h) == 0 {
		return time.Time{}, false
	}
	return ts.h[0].at, true
}

type timerHeap []*timer

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].pos, h[j].pos = i+1, j+1
}

func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	*h = append(*h, t)
	t.pos = len(*h)
}

func (h *timerHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	*h = old[:len(old)-1]
	t.pos = 0
	return t
}
