package sched

import (
	"math/bits"
	"sync/atomic"
)

// mh is Maglev hashing (ip_vs_mh.c; Eisenbud et al., NSDI 2016, section 3.4): the
// client's address, with flag port also its port, is hashed into a table of 4093
// slots. The table is populated in rounds over the list: each server has its own
// permutation of the slots, made from its address and port, and takes in each
// round its next free ones, as many as its turns, which grow with its weight. So
// any director with the same servers in the same order has the same table, and a
// change of servers moves few clients.
//
// The weight that counts is the last one that was not 0: a server of weight 0 keeps
// its slots, so that clients of the others stay where they are. A server that was added
// with weight 0 has none yet. The table is populated anew with every change. Of more
// than 4093 servers, the oldest 4093 have slots.
//
// Where the slot's server is not eligible none is picked. With flag fallback the client
// is hashed again with an offset until the slot's server is eligible, at most 4093
// times.
//
// Cost of a pick: O(1); with fallback and a server that is not eligible one hash for
// each try, after O(n) to see whether any server is eligible. A change costs
// O(n + 4093 log 4093).
type mh struct {
	t              atomic.Pointer[mhTable]
	fallback, port bool
}

func newMH(o Options) (Scheduler, error) { return &mh{fallback: o.Fallback, port: o.Port}, nil }

const (
	mhSize  = 4093
	mhIndex = 12 // IP_VS_MH_TAB_INDEX of that size
	mhKey1  = 2654435761
	mhKey2  = 2654446892
)

type mhTable struct {
	list []*Server
	slot [mhSize]uint16
}

// Name implements Scheduler.
func (*mh) Name() string { return "mh" }

// Added implements Scheduler.
func (m *mh) Added(list []*Server, _ *Server) { m.t.Store(mhPopulate(list)) }

// Removed implements Scheduler.
func (m *mh) Removed(list []*Server, _ *Server) { m.t.Store(mhPopulate(list)) }

// Edited implements Scheduler.
func (m *mh) Edited(list []*Server, _ *Server) { m.t.Store(mhPopulate(list)) }

// Pick implements Scheduler. It uses f.Src and f.SrcPort.
func (m *mh) Pick(f *Flow) *Server {
	t := m.t.Load()
	if t == nil {
		return nil
	}
	client := fold(&f.Src)
	if m.port {
		client += uint32(f.SrcPort)
	}
	home := siphash13(client, mhKey1) % mhSize
	if s := t.at(home); s.Eligible() {
		return s
	}
	if !m.fallback || !anyEligible(t.list) {
		return nil
	}
	for i := range uint32(mhSize) {
		offset := (i + home) % mhSize
		if s := t.at(siphash13(client+offset, mhKey1) % mhSize); s.Eligible() {
			return s
		}
	}
	return nil
}

func (t *mhTable) at(slot uint32) *Server { return t.list[t.slot[slot]] }

// mhSetup is what a server brings to the rounds (ip_vs_mh_dest_setup): the slot that
// its permutation has come to, the step to the next, and its slots in a round.
type mhSetup struct {
	slot, skip uint32
	turns      int32
}

// mhPopulate returns the table for list, nil if no server has slots.
func mhPopulate(list []*Server) *mhTable {
	list = list[max(0, len(list)-mhSize):]
	setups := mhSetups(list)
	if setups == nil {
		return nil
	}
	t := &mhTable{list: list}
	var taken [mhSize]bool
	for free := mhSize; ; {
		for i := range setups {
			d := &setups[i]
			for range d.turns {
				for taken[d.slot] {
					if d.slot += d.skip; d.slot >= mhSize {
						d.slot -= mhSize
					}
				}
				taken[d.slot] = true
				t.slot[d.slot] = uint16(i)
				if free--; free == 0 {
					return t
				}
			}
		}
	}
}

// mhSetups returns what each server of list brings, nil if none gets any slots.
func mhSetups(list []*Server) []mhSetup {
	var heaviest, divisor int32
	for _, s := range list {
		w := s.LastWeight()
		heaviest = max(heaviest, w)
		divisor = gcd(divisor, w)
	}
	if heaviest == 0 {
		return nil
	}
	shift := max(0, bits.Len32(uint32(heaviest/divisor))-mhIndex/2)
	setups := make([]mhSetup, len(list))
	for i, s := range list {
		id := fold(&s.Addr) + uint32(s.Port)
		setups[i].slot = siphash13(id, mhKey1) % mhSize
		setups[i].skip = siphash13(id, mhKey2)%(mhSize-1) + 1
		if w := s.LastWeight(); w > 0 {
			setups[i].turns = max(1, w/divisor>>shift)
		}
	}
	return setups
}
