package sched

// twos is the power of two choices (ip_vs_twos.c): two eligible servers are drawn,
// each with a probability by weight, and the one with the smaller load for its
// weight is picked, the first where they are equal. They may be the same.
//
// A draw is a number from 0 to the sum of the weights, from which the weights are
// subtracted down the list; the server at which it is 0 or less is drawn. As in
// ip_vs the first server so gets one chance more than its weight.
//
// Cost of a pick: O(n), two passes.
type twos struct {
	servers
	rand func() uint64
}

// Name implements Scheduler.
func (*twos) Name() string { return "twos" }

// Pick implements Scheduler.
func (t *twos) Pick(*Flow) *Server {
	list := t.load()
	var sum uint64
	for _, s := range list {
		if s.eligible() {
			sum += uint64(s.Weight.Load())
		}
	}
	if sum == 0 {
		return nil
	}
	left1, left2 := int64(t.rand()%(sum+1)), int64(t.rand()%(sum+1))
	var first, second *Server
	var w1, w2 int64
	for _, s := range list {
		w := int64(s.Weight.Load())
		if w <= 0 || s.Overloaded.Load() {
			continue
		}
		left1 -= w
		left2 -= w
		if left1 <= 0 && first == nil {
			first, w1 = s, w
		}
		if left2 <= 0 && second == nil {
			second, w2 = s, w
		}
		if first != nil && second != nil {
			break
		}
	}
	// Weights may sink between the passes; then a draw can run off the list.
	if first == nil || second != nil && w2*overhead(first) > w1*overhead(second) {
		return second
	}
	return first
}
