package sched

import (
	"slices"
	"sync"
)

// rr is round robin (ip_vs_rr.c): the next eligible server in the list after the
// one picked last, from the head again at its end. A server that is added does not
// change which that is; where it is removed, the one before it in the list takes its
// place. A pick that finds nothing changes nothing.
//
// Cost of a pick: O(1), plus one step for each server that is not eligible. Picks lock:
// those of one service go one at a time.
type rr struct {
	mu   sync.Mutex
	list []*Server
	last int // index of the last pick; -1: before the head
}

func newRR(Options) (Scheduler, error) { return &rr{last: -1}, nil }

// Name implements Scheduler.
func (*rr) Name() string { return "rr" }

// Added implements Scheduler.
func (r *rr) Added(list []*Server, s *Server) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.Index(list, s) <= r.last {
		r.last++
	}
	r.list = list
}

// Removed implements Scheduler.
func (r *rr) Removed(list []*Server, s *Server) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.Index(r.list, s); i >= 0 && i <= r.last {
		r.last--
	}
	r.list = list
}

// Edited implements Scheduler. Weights are read at each pick.
func (r *rr) Edited([]*Server, *Server) {}

// Pick implements Scheduler.
func (r *rr) Pick(*Flow) *Server {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := r.last
	for range r.list {
		i++
		if i == len(r.list) {
			i = 0
		}
		if s := r.list[i]; s.Eligible() {
			r.last = i
			return s
		}
	}
	return nil
}
