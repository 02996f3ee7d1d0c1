package sched

import (
	"math/bits"
	"sync/atomic"
)

// mh is Maglev hashing (ip_vs_mh.c; Eisenbud et al., NSDI 2016, section 3.4): the
// client's address, with flag port also its port, is hashed into a table of 4093
// slots. The table is filled in rounds over the list: each server has its own
// permutation of the slots, made of its address and port, and claims in each
// round its next free ones, as many as its turns, which grow with its weight. So
// any director with the same servers in the same order has the same table, and a
// change of servers moves few clients.
//
// The weight that counts is the last one that was not 0: a server that is drained
// keeps its slots, so that no other's clients move. A server added with weight 0
// has none yet. The table is rebuilt on every change. Of more than 4093 servers,
// the oldest 4093 have slots.
//
// Where the slot's server is not eligible there is none; with flag fallback the
// client is hashed again with an offset until an eligible one is met, at most
// 4093 times.
//
// Cost of a pick: O(1); with fallback and an ineligible server, a look for any
// eligible one, then one hash a try. A change costs a rebuild, O(n + 4093 log 4093).
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
func (m *mh) Added(list []*Server, _ *Server) { m.t.Store(mhFill(list)) }

// Removed implements Scheduler.
func (m *mh) Removed(list []*Server, _ *Server) { m.t.Store(mhFill(list)) }

// Edited implements Scheduler.
func (m *mh) Edited(list []*Server, _ *Server) { m.t.Store(mhFill(list)) }

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

// mhClaim is a server's way through the table while it is filled.
type mhClaim struct {
	pos, skip uint32
	turns     int32
}

// mhFill returns the table for list, nil if no server has slots.
func mhFill(list []*Server) *mhTable {
	list = list[max(0, len(list)-mhSize):]
	claims := mhClaims(list)
	if claims == nil {
		return nil
	}
	t := &mhTable{list: list}
	var taken [mhSize]bool
	for free := mhSize; ; {
		for i := range claims {
			c := &claims[i]
			for range c.turns {
				for taken[c.pos] {
					if c.pos += c.skip; c.pos >= mhSize {
						c.pos -= mhSize
					}
				}
				taken[c.pos] = true
				t.slot[c.pos] = uint16(i)
				if free--; free == 0 {
					return t
				}
			}
		}
	}
}

// mhClaims returns where each server of list begins and how many slots it gets in
// a round, nil if none gets any.
func mhClaims(list []*Server) []mhClaim {
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
	claims := make([]mhClaim, len(list))
	for i, s := range list {
		id := fold(&s.Addr) + uint32(s.Port)
		claims[i].pos = siphash13(id, mhKey1) % mhSize
		claims[i].skip = siphash13(id, mhKey2)%(mhSize-1) + 1
		if w := s.LastWeight(); w > 0 {
			claims[i].turns = max(1, w/divisor>>shift)
		}
	}
	return claims
}
