package sched

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/golb/golb/lb/lbtest/seeded"
)

// A definition picks as the scheduler's file in net/netfilter/ipvs does, by a look at
// each server. It draws the numbers that rand returns.
type definition func(list []*Server, rand func() uint64) *Server

// definitions are of the schedulers whose picks depend on nothing but the servers.
func definitions() map[string]definition {
	less := func(better func(a, b *Server) bool) definition {
		return func(list []*Server, _ func() uint64) *Server {
			var best *Server
			for _, s := range list {
				if s.Weight() > 0 && !s.Overloaded() && (best == nil || better(s, best)) {
					best = s
				}
			}
			return best
		}
	}
	delay := func(s *Server) int64 { return s.Active() + 1 }
	sed := less(func(a, b *Server) bool { return delay(a)*int64(b.Weight()) < delay(b)*int64(a.Weight()) })
	heavier := less(func(a, b *Server) bool { return a.Weight() > b.Weight() })
	return map[string]definition{
		"fo":  heavier,
		"lc":  less(func(a, b *Server) bool { return overheadOf(a) < overheadOf(b) }),
		"sed": sed,
		"wlc": less(lessLoaded),
		"nq": func(list []*Server, rand func() uint64) *Server {
			for _, s := range list {
				if s.Weight() > 0 && !s.Overloaded() && s.Active() == 0 {
					return s
				}
			}
			return sed(list, rand)
		},
		"ovf": func(list []*Server, rand func() uint64) *Server {
			full := func(s *Server) bool { return s.Active() > int64(s.Weight()) }
			return heavier(slices.DeleteFunc(slices.Clone(list), full), rand)
		},
		"twos": func(list []*Server, rand func() uint64) *Server {
			first, second := twosDraw(list, rand), twosDraw(list, rand)
			if first != nil && lessLoaded(second, first) {
				return second
			}
			return first
		},
	}
}

func overheadOf(s *Server) int64 { return s.Active()*256 + s.Inactive() }

func lessLoaded(a, b *Server) bool {
	return overheadOf(a)*int64(b.Weight()) < overheadOf(b)*int64(a.Weight())
}

// twosDraw subtracts weights down the list from a number up to their sum.
func twosDraw(list []*Server, rand func() uint64) *Server {
	sum := int64(0)
	for _, s := range list {
		if s.Eligible() {
			sum += int64(s.Weight())
		}
	}
	left := int64(rand() % uint64(sum+1))
	for _, s := range list {
		if !s.Eligible() {
			continue
		}
		if left -= int64(s.Weight()); left <= 0 {
			return s
		}
	}
	return nil
}

// drawServers makes up to 40 servers, of few different weights and counts, so that many
// are equal.
func drawServers(t *rapid.T, overloaded bool) []*Server {
	weight := rapid.OneOf(rapid.Int32Range(0, 4), rapid.SampledFrom([]int32{100, 65535}))
	count := rapid.OneOf(rapid.Int64Range(0, 3), rapid.SampledFrom([]int64{255, 256, 257, 1 << 20}))
	list := make([]*Server, rapid.IntRange(1, 40).Draw(t, "servers"))
	for i := range list {
		list[i] = newServer(serverAddr(i), 80, weight.Draw(t, "weight"))
		list[i].AddConnections(count.Draw(t, "active"), count.Draw(t, "inactive"))
		list[i].SetOverloaded(overloaded && rapid.IntRange(0, 3).Draw(t, "overloaded") == 0)
	}
	return list
}

func TestPicksAsByDefinition(t *testing.T) {
	for name, want := range definitions() {
		t.Run(name, func(t *testing.T) {
			seeded.Check(t, func(t *rapid.T) {
				// twos draws again where a server is overloaded: another test holds its chances.
				list := drawServers(t, name != "twos")
				draws := rapid.SliceOfN(rapid.Uint64(), 2, 2).Draw(t, "draws")
				rand := func() func() uint64 {
					n := -1
					return func() uint64 { n++; return draws[n] }
				}
				o := options()
				o.Rand = rand()
				s := newFixture(t, name, o)
				s.Added(list, list[0])
				if got, want := s.Pick(&Flow{}), want(list, rand()); got != want {
					t.Fatalf("got server %d, want %d", slices.Index(list, got), slices.Index(list, want))
				}
			})
		})
	}
}

// TestTwosDrawsByWeight counts which number draws which server, over all numbers there
// are, by the table and without it.
func TestTwosDrawsByWeight(t *testing.T) {
	seeded.Check(t, func(t *rapid.T) {
		list := drawServers(t, true)
		for _, s := range list {
			s.SetWeight(s.Weight() % 60000) // 5535 for 65535: fewer numbers
		}
		table := newDrawTable(list)
		want := map[*Server]uint64{}
		sum, eligible := uint64(0), uint64(0)
		for _, s := range list {
			sum += uint64(s.Weight())
			if s.Eligible() {
				want[s] = uint64(s.Weight())
				if eligible == 0 {
					want[s]++
				}
				eligible += uint64(s.Weight())
			}
		}
		if table == nil {
			if sum != 0 {
				t.Fatal("no table")
			}
			return
		}
		byTable, rejected := map[*Server]uint64{}, uint64(0)
		for n := range sum + 1 {
			draws := 0
			s := table.draw(func() uint64 { draws++; return n * uint64(draws%2) }) // the second is 0
			if draws > 1 {
				rejected++
			} else if s != nil {
				byTable[s]++
			}
		}
		without := map[*Server]uint64{}
		for n := range eligible + 1 {
			if s := table.drawEligible(func() uint64 { return n }); s != nil {
				without[s]++
			}
		}
		for i, s := range list {
			if byTable[s] != want[s] || without[s] != want[s] {
				t.Fatalf("server %d of weight %d, overloaded %v: drawn by %d numbers, without the table by %d, want %d",
					i, s.Weight(), s.Overloaded(), byTable[s], without[s], want[s])
			}
		}
		if rejected != sum-eligible {
			t.Fatalf("%d of %d numbers drawn again, want %d", rejected, sum+1, sum-eligible)
		}
	})
}

func TestTwosWhereNearlyAllWeightIsOverloaded(t *testing.T) {
	for _, tt := range []struct {
		name       string
		overloaded []int
		want       string
	}{
		{"all but 2 of 65537", []int{0}, "B"}, // 65535 modulo 3 is 0
		{"all", []int{0, 1, 2}, "-"},
	} {
		draws := 0
		x := newFixture(t, "twos", Options{Rand: func() uint64 { draws++; return 65535 }}).weights(65535, 1, 1)
		for _, i := range tt.overloaded {
			x.list[i].SetOverloaded(true)
		}
		if got := x.letters(1); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
		if draws > 20 {
			t.Errorf("%s: %d numbers drawn", tt.name, draws)
		}
	}
}
