package sched

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/golb/golb/lb/lbtest/seeded"
)

// naiveWRR is wrr by its definition: every level, every server.
type naiveWRR struct {
	list        []*Server
	last        int
	cw, top, di int32
}

func (n *naiveWRR) change(list []*Server) {
	n.list, n.last, n.top, n.di = list, -1, 0, 0
	for _, s := range list {
		n.top = max(n.top, s.Weight())
		n.di = gcd(n.di, s.Weight())
	}
	n.di = max(n.di, 1)
	n.top -= n.di - 1
	if n.cw > n.top || n.cw == 0 {
		n.cw = n.top
	} else if n.di > 1 {
		n.cw = n.cw/n.di*n.di + 1
	}
}

func (n *naiveWRR) pick() *Server {
	if n.top == 0 {
		return nil
	}
	begin, stop, turned, onLowest := n.last, -1, false, false
	for {
		for n.last+1 < len(n.list) {
			n.last++
			if s := n.list[n.last]; !s.Overloaded() && s.Weight() >= n.cw {
				return s
			}
			if n.last == stop {
				return nil // back where it began, every weight from 1 on seen
			}
		}
		n.last = -1
		if n.cw -= n.di; n.cw <= 0 {
			n.cw = n.top
			if onLowest || begin < 0 {
				return nil // the lowest level was seen from the head on
			}
			turned = true
		}
		if onLowest = n.cw <= n.di; onLowest && turned {
			stop = begin
		}
	}
}

// naiveRR is rr with the last server itself for a position.
type naiveRR struct {
	list []*Server
	last *Server // nil: before the head
}

func (n *naiveRR) remove(list []*Server, s *Server) {
	if n.last == s {
		n.last = nil
		if i := slices.Index(n.list, s); i > 0 {
			n.last = n.list[i-1]
		}
	}
	n.list = list
}

func (n *naiveRR) pick() *Server {
	i := slices.Index(n.list, n.last) + 1 // 0 for nil
	for _, s := range slices.Concat(n.list[i:], n.list[:i]) {
		if s.Weight() > 0 && !s.Overloaded() {
			n.last = s
			return s
		}
	}
	return nil
}

// TestRoundRobinsAsByDefinition drives rr and wrr and their definitions through
// the same changes of servers, weights and overload, and picks all along.
func TestRoundRobinsAsByDefinition(t *testing.T) {
	seeded.Check(t, func(t *rapid.T) {
		w, r := newFixture(t, "wrr", Options{}).Scheduler.(*wrr), newFixture(t, "rr", Options{}).Scheduler.(*rr)
		nw, nr := &naiveWRR{di: 1, last: -1}, &naiveRR{}
		var list []*Server
		weight := rapid.OneOf(rapid.Int32Range(0, 4), rapid.SampledFrom([]int32{6, 10, 20, 30, 100, 1000}))
		server := func(t *rapid.T) *Server {
			if len(list) == 0 {
				t.Skip("no servers")
			}
			return list[rapid.IntRange(0, len(list)-1).Draw(t, "server")]
		}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				s := newServer("10.0.0.1", 80, weight.Draw(t, "weight"))
				s.SetOverloaded(rapid.IntRange(0, 3).Draw(t, "overloaded") == 0)
				list = slices.Concat([]*Server{s}, list)
				w.Added(list, s)
				r.Added(list, s)
				nw.change(list)
				nr.list = list
			},
			"remove": func(t *rapid.T) {
				s := server(t)
				i := slices.Index(list, s)
				list = slices.Concat(list[:i], list[i+1:])
				w.Removed(list, s)
				r.Removed(list, s)
				nw.change(list)
				nr.remove(list, s)
			},
			"edit": func(t *rapid.T) {
				s := server(t)
				s.SetWeight(weight.Draw(t, "weight"))
				w.Edited(list, s)
				r.Edited(list, s)
				nw.change(list)
			},
			"overload": func(t *rapid.T) {
				s := server(t)
				s.SetOverloaded(!s.Overloaded())
			},
			"pick": func(t *rapid.T) {
				for range rapid.IntRange(1, 20).Draw(t, "times") {
					if got, want := w.Pick(nil), nw.pick(); got != want {
						t.Fatalf("wrr: got %d, want %d", slices.Index(list, got), slices.Index(list, want))
					}
					if got, want := r.Pick(nil), nr.pick(); got != want {
						t.Fatalf("rr: got %d, want %d", slices.Index(list, got), slices.Index(list, want))
					}
				}
			},
			"": func(t *rapid.T) {
				if w.last != nw.last || w.level != nw.cw {
					t.Fatalf("wrr: at %d, level %d; want %d, %d", w.last, w.level, nw.last, nw.cw)
				}
			},
		})
	})
}

func TestWRRSharesAreExactOverACycle(t *testing.T) {
	seeded.Check(t, func(t *rapid.T) {
		w := newFixture(t, "wrr", Options{})
		var list []*Server
		var sum, divisor int32
		for _, weight := range rapid.SliceOfN(rapid.Int32Range(0, 50), 1, 20).Draw(t, "weights") {
			s := newServer("10.0.0.1", 80, weight)
			list = slices.Concat([]*Server{s}, list)
			w.Added(list, s)
			sum += weight
			divisor = gcd(divisor, weight)
		}
		if sum == 0 {
			t.Skip("no weight")
		}
		for range rapid.IntRange(0, 100).Draw(t, "before") {
			w.Pick(nil)
		}
		count := map[*Server]int32{}
		for range sum / divisor {
			count[w.Pick(nil)]++
		}
		for i, s := range list {
			if want := s.Weight() / divisor; count[s] != want {
				t.Fatalf("server %d: %d picks of %d, want %d", i, count[s], sum/divisor, want)
			}
		}
	})
}

func TestWRRWithOverloadedGiantPicksTheRest(t *testing.T) {
	x := newFixture(t, "wrr", Options{}).weights(65535, 1, 2)
	x.list[0].SetOverloaded(true)
	if got, want := x.letters(6), "BCCBCC"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
