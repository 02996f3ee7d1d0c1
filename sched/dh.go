package sched

import "sync/atomic"

// dh is destination hashing (ip_vs_dh.c): the destination address selects one of
// 256 buckets. They are assigned to the servers in turn, one each, from the head of
// the list again at its end. Weights do not count, but where a bucket's server is not
// eligible none is picked. Buckets are assigned anew when servers come and go, not when
// weights change.
//
// Cost of a pick: O(1).
type dh struct {
	t atomic.Pointer[buckets]
}

func newDH(Options) (Scheduler, error) { return &dh{}, nil }

// Name implements Scheduler.
func (*dh) Name() string { return "dh" }

// Added implements Scheduler.
func (d *dh) Added(list []*Server, _ *Server) { d.t.Store(assignInTurn(list)) }

// Removed implements Scheduler.
func (d *dh) Removed(list []*Server, _ *Server) { d.t.Store(assignInTurn(list)) }

// Edited implements Scheduler. Weights do not count.
func (*dh) Edited([]*Server, *Server) {}

// Pick implements Scheduler. It uses f.Dst.
func (d *dh) Pick(f *Flow) *Server {
	t := d.t.Load()
	if t == nil {
		return nil
	}
	if s := t.at(hash32(fold(&f.Dst))); s.Eligible() {
		return s
	}
	return nil
}

func assignInTurn(list []*Server) *buckets {
	if len(list) == 0 {
		return nil
	}
	t := &buckets{list: list}
	for i := range t.slot {
		t.slot[i] = uint16(i % len(list))
	}
	return t
}
