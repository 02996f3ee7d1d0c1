package sched

import "sync/atomic"

// dh is destination hashing (ip_vs_dh.c): the destination address selects one of
// 256 buckets, which are filled from the list, a bucket a server, round and
// round. Weights do not count, except that a bucket whose server is not eligible
// yields none. Buckets are refilled when servers come and go, not on edits.
//
// Cost of a pick: O(1).
type dh struct {
	t atomic.Pointer[buckets]
}

func newDH(Options) (Scheduler, error) { return &dh{}, nil }

// Name implements Scheduler.
func (*dh) Name() string { return "dh" }

// Added implements Scheduler.
func (d *dh) Added(list []*Server, _ *Server) { d.t.Store(dhFill(list)) }

// Removed implements Scheduler.
func (d *dh) Removed(list []*Server, _ *Server) { d.t.Store(dhFill(list)) }

// Edited implements Scheduler. Weights do not shape the table.
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

func dhFill(list []*Server) *buckets {
	if len(list) == 0 {
		return nil
	}
	t := &buckets{list: list}
	for i := range t.slot {
		t.slot[i] = uint16(i % len(list))
	}
	return t
}
