package sched

import "sync"

// wrr is weighted round robin (ip_vs_wrr.c), interleaved by level. A cursor goes
// through the list and picks each server that is not overloaded and whose weight
// is at least the current level. At the end of the list the level falls by the
// greatest common divisor of the weights; below 1 it starts again at the top
// level, which is the greatest weight less the divisor plus 1. So weights 4, 3, 2
// pick AABABCABC, and 5, 1, 1 AAAAABC: shares are exact over a cycle of
// sum(weights)/divisor picks, but a heavy server's picks come in a row.
//
// A change of servers or weights puts the cursor before the head of the list. The
// level stays, but for at most the new top and rounded down to a level that there is:
// it depends on the order of changes.
//
// Cost of a pick: O(log n) whatever the weights, by a tree of weights that finds the
// next server of at least the level; plus one step for each overloaded server passed.
// Where all servers of at least the level are overloaded, O(n) finds the next level
// that has others. Picks lock: those of one service go one at a time.
type wrr struct {
	mu   sync.Mutex
	list []*Server
	tree maxTree // weights when list last changed

	last  int   // index of the last pick; -1: before the head (cl in ip_vs)
	level int32 // cw in ip_vs; 1 + k*step, or 0 where top is
	top   int32 // mw in ip_vs; 0: no server has a weight
	step  int32 // di in ip_vs
}

func newWRR(Options) (Scheduler, error) {
	return &wrr{last: -1, step: 1, tree: newMaxTree(nil)}, nil
}

// Name implements Scheduler.
func (*wrr) Name() string { return "wrr" }

// Added implements Scheduler.
func (w *wrr) Added(list []*Server, _ *Server) { w.changed(list) }

// Removed implements Scheduler.
func (w *wrr) Removed(list []*Server, _ *Server) { w.changed(list) }

// Edited implements Scheduler.
func (w *wrr) Edited(list []*Server, _ *Server) { w.changed(list) }

func (w *wrr) changed(list []*Server) {
	weights := make([]int32, len(list))
	var top, step int32
	for i, s := range list {
		weights[i] = max(s.Weight(), 0)
		top = max(top, weights[i])
		step = gcd(step, weights[i])
	}
	step = max(step, 1)
	tree := newMaxTree(weights)

	w.mu.Lock()
	defer w.mu.Unlock()
	w.list, w.tree, w.last = list, tree, -1
	w.step, w.top = step, top-(step-1)
	switch {
	case w.level > w.top || w.level == 0:
		w.level = w.top
	case step > 1:
		w.level = w.level/step*step + 1
	}
}

// Pick implements Scheduler.
func (w *wrr) Pick(*Flow) *Server {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.top == 0 {
		return nil
	}
	start, lowest := w.last, w.level <= w.step
	if s := w.next(start + 1); s != nil {
		return s
	}
	w.level -= w.step
	if w.level <= 0 {
		w.level = w.top
	}
	for {
		if s := w.next(0); s != nil {
			return s
		}
		heaviest := w.heaviest()
		if heaviest == 0 {
			break
		}
		w.level = min(w.level, heaviest-w.step+1)
	}
	// Where ip_vs's search ends if all servers are overloaded: on the server it
	// began with if that was on the lowest level, else at the start of a cycle.
	if start >= 0 && lowest {
		w.last, w.level = start, 1
	} else {
		w.last, w.level = -1, w.top
	}
	return nil
}

// next picks the first eligible server from index i on of at least the level, or
// returns nil and moves nothing.
func (w *wrr) next(i int) *Server {
	for {
		i = w.tree.next(i, w.level)
		if i < 0 {
			return nil
		}
		if s := w.list[i]; s.Eligible() {
			w.last = i
			return s
		}
		i++
	}
}

// heaviest returns the greatest weight of an eligible server, 0 if there is none.
func (w *wrr) heaviest() int32 {
	var top int32
	for i, s := range w.list {
		if weight := w.tree.at(i); weight > top && s.Eligible() {
			top = weight
		}
	}
	return top
}

// gcd returns the greatest common divisor; 0 divides nothing.
func gcd(a, b int32) int32 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// maxTree holds n numbers, none negative, and finds the next that is not below a
// bound in O(log n). Node 1 is the root, node i is the maximum of 2i and 2i+1,
// leaves start at size.
type maxTree struct {
	size int // a power of two, at least n
	node []int32
}

func newMaxTree(v []int32) maxTree {
	size := 1
	for size < len(v) {
		size *= 2
	}
	node := make([]int32, 2*size)
	copy(node[size:], v)
	for i := size - 1; i > 0; i-- {
		node[i] = max(node[2*i], node[2*i+1])
	}
	return maxTree{size, node}
}

func (t *maxTree) at(i int) int32 { return t.node[t.size+i] }

// next returns the first index from i on whose number is at least bound, which
// must be positive, or -1.
func (t *maxTree) next(i int, bound int32) int {
	if i >= t.size {
		return -1
	}
	n := t.size + i
	for t.node[n] < bound {
		for n&1 == 1 {
			n /= 2
		}
		if n == 0 {
			return -1
		}
		n++
	}
	for n < t.size {
		n *= 2
		if t.node[n] < bound {
			n++
		}
	}
	return n - t.size
}
