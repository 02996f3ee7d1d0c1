package sched

import "sync/atomic"

// sh is source hashing (ip_vs_sh.c): the client's address, with flag port also
// its port, selects one of 256 buckets. They are assigned to the servers in turn, from
// the head of the list again at its end, to each as many in a row as its weight, and
// one to a server of weight 0. They are assigned anew with every change.
//
// Where the bucket's server is not eligible none is picked. With flag fallback the
// buckets from twice the client's bucket number on are tried in turn: ip_vs hashes
// again with an offset, which comes to the same.
//
// Cost of a pick: O(1); with fallback and a server that is not eligible up to 256
// buckets, after O(n) to see whether any server is eligible.
type sh struct {
	t              atomic.Pointer[buckets]
	fallback, port bool
}

func newSH(o Options) (Scheduler, error) { return &sh{fallback: o.Fallback, port: o.Port}, nil }

// Name implements Scheduler.
func (*sh) Name() string { return "sh" }

// Added implements Scheduler.
func (h *sh) Added(list []*Server, _ *Server) { h.t.Store(assignByWeight(list)) }

// Removed implements Scheduler.
func (h *sh) Removed(list []*Server, _ *Server) { h.t.Store(assignByWeight(list)) }

// Edited implements Scheduler.
func (h *sh) Edited(list []*Server, _ *Server) { h.t.Store(assignByWeight(list)) }

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

func assignByWeight(list []*Server) *buckets {
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
