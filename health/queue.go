package health

import (
	"container/heap"
	"time"
)

// queue is a heap of targets by time, the earliest first, for container/heap.
type queue []*target

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *queue) Push(x any) {
	t := x.(*target)
	t.index = len(*q)
	*q = append(*q, t)
}

func (q *queue) Pop() any {
	last := len(*q) - 1
	t := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	t.index = -1
	return t
}

// put queues t at a time, or moves it there.
func (q *queue) put(t *target, at time.Time) {
	t.at = at
	if t.index >= 0 {
		heap.Fix(q, t.index)
		return
	}
	heap.Push(q, t)
}

// remove takes t from the queue where it is in it.
func (q *queue) remove(t *target) {
	if t.index >= 0 {
		heap.Remove(q, t.index)
	}
}
