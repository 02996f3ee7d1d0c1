package sched

import "sync/atomic"

// sh is source hashing (ip_vs_sh.c): the client's address, with flag port also
// its port, selects one of 256 buckets. They are filled from the list round and
// round, each server taking as many buckets in a row as its weight; weight 0
// takes one. The table is rebuilt on every change.
//
// Where the bucket's server is not eligible there is none; with flag fallback
// the buckets from twice the client's bucket number on are tried in turn, which
// is where ip_vs's rehashing leads.
//
// Cost of a pick: O(1); with fallback and an ineligible server at most 256
// buckets, and a look for any eligible server first.
type sh struct {
	t              atomic.Pointer[buckets]
	fallback, port bool
}

func newSH(o Options) (Scheduler, error) { return &sh{fallback: o.Fallback, port: o.Port}, nil }

// Name implements Scheduler.
func (*sh) Name() string { return "sh" }

// Added implements Scheduler.
func (h *sh) Added(list []*Server, _ *Server) { h.t.Store(shFill(list)) }

// Removed implements Scheduler.
func (h *sh) Removed(list []*Server, _ *Server) { h.t.Store(shFill(list)) }

// Edited implements Scheduler.
func (h *sh) Edited(list []*Server, _ *Server) { h.t.Store(shFill(list)) }

// Pick implements Scheduler. It uses f.Src and f.SrcPort.
func (h *sh) Pick(f *Flow) *Server {
	t := h.t.Load()
	if t == nil {
		return nil
	}
	key := fold(&f.Src)
	if h.port {
		key += uint32(f.SrcPort)
	}
	home := hash32(key)
	if s := t.at(home); s.Eligible() {
		return s
	}
	if !h.fallback || !anyEligible(t.list) {
		return nil
	}
	for i := range len(t.slot) {
		if s := t.at(2*home + uint8(i)); s.Eligible() {
			return s
		}
	}
	return nil
}

func shFill(list []*Server) *buckets {
	if len(list) == 0 {
		return nil
	}
	t := &buckets{list: list}
	next, taken := 0, int32(0)
	for i := range t.slot {
		t.slot[i] = uint16(next)
		if taken++; taken >= list[next].Weight() {
			next, taken = (next+1)%len(list), 0
		}
	}
	return t
}
