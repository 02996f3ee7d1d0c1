package sched

import (
	"cmp"
	"errors"
	"math/bits"
	"sync/atomic"
)

// twos is the power of two choices (ip_vs_twos.c): two eligible servers are drawn,
// each with a probability by weight, and the one with the smaller overhead for its
// weight is picked, the first where they are equal. They may be the same.
//
// A draw is a number from 0 to the sum of the eligible servers' weights, from which
// their weights are subtracted down the list; the server after which 0 or less is left
// is drawn. So the first one has one chance more than its weight, as in ip_vs.
//
// The sums are prepared when servers or weights change. They are of all servers, as one
// may become overloaded at any time: where a server is drawn that is not eligible, the
// draw is repeated, which leaves the others their chances; and 0 draws the first
// eligible one.
//
// Cost of a pick: O(1) on average, whatever the weights; O(n) where nearly all weight
// is that of servers that are not eligible.
type twos struct {
	table atomic.Pointer[drawTable]
	rand  func() uint64
}

func newTwos(o Options) (Scheduler, error) {
	if o.Rand == nil {
		return nil, errors.New("needs Options.Rand")
	}
	return &twos{rand: o.Rand}, nil
}

// Name implements Scheduler.
func (*twos) Name() string { return "twos" }

// Added implements Scheduler.
func (t *twos) Added(servers []*Server, _ *Server) { t.table.Store(newDrawTable(servers)) }

// Removed implements Scheduler.
func (t *twos) Removed(servers []*Server, _ *Server) { t.table.Store(newDrawTable(servers)) }

// Edited implements Scheduler.
func (t *twos) Edited(servers []*Server, _ *Server) { t.table.Store(newDrawTable(servers)) }

// Pick implements Scheduler.
func (t *twos) Pick(*Flow) *Server {
	table := t.table.Load()
	if table == nil {
		return nil
	}
	first, second := table.draw(t.rand), table.draw(t.rand)
	// Servers may have become ineligible between the draws.
	if first == nil || second == nil {
		return cmp.Or(first, second)
	}
	if int64(second.Weight())*first.Overhead() > int64(first.Weight())*second.Overhead() {
		return second
	}
	return first
}

// drawTable finds the server of a number in a step or two: the numbers from 1 to the
// sum of all weights are cut into intervals of 2^shift, at most as many as servers.
type drawTable struct {
	servers []*Server
	sums    []uint64 // of the weights up to and including each server's
	first   []uint32 // index of the server of each interval's first number
	shift   int
}

// newDrawTable returns nil where no server has a weight.
func newDrawTable(servers []*Server) *drawTable {
	t := &drawTable{servers: servers, sums: make([]uint64, len(servers))}
	sum := uint64(0)
	for i, s := range servers {
		sum += uint64(max(s.Weight(), 0))
		t.sums[i] = sum
	}
	if sum == 0 {
		return nil
	}
	t.shift = bits.Len64((sum - 1) / uint64(len(servers)))
	t.first = make([]uint32, (sum-1)>>t.shift+1)
	i := 0
	for k := range t.first {
		for t.sums[i] <= uint64(k)<<t.shift {
			i++
		}
		t.first[k] = uint32(i)
	}
	return t
}

// drawTries is how often draw tries the table before it looks at all servers.
const drawTries = 8

// draw returns nil where no server is eligible.
func (t *drawTable) draw(rand func() uint64) *Server {
	sum := t.sums[len(t.sums)-1]
	for range drawTries {
		n := rand() % (sum + 1)
		if n == 0 {
			return t.firstEligible()
		}
		i := t.first[(n-1)>>t.shift]
		for t.sums[i] < n {
			i++
		}
		if s := t.servers[i]; s.Eligible() {
			return s
		}
	}
	return t.drawEligible(rand)
}

func (t *drawTable) firstEligible() *Server {
	for _, s := range t.servers {
		if s.Eligible() {
			return s
		}
	}
	return nil
}

// drawEligible draws from those servers alone that are eligible now.
func (t *drawTable) drawEligible(rand func() uint64) *Server {
	sum := int64(0)
	for _, s := range t.servers {
		sum += s.load.eligibleWeight()
	}
	left := int64(rand() % uint64(sum+1))
	var last *Server
	for _, s := range t.servers {
		w := s.load.eligibleWeight()
		if w == 0 {
			continue
		}
		last = s
		if left -= w; left <= 0 {
			break
		}
	}
	return last // the weights may have changed since they were summed
}
