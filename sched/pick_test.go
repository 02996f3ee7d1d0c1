package sched

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/golb/golb/lb/lbtest/seeded"
)

// TestPicksOnlyEligibleServers checks of every scheduler that it picks eligible servers
// only, and one where it must.
func TestPicksOnlyEligibleServers(t *testing.T) {
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) { seeded.Check(t, func(t *rapid.T) { checkEligible(t, name) }) })
	}
}

func checkEligible(t *rapid.T, name string) {
	o := Options{Now: func() int64 { return 0 }, Rand: rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0).Uint64}
	if TakesFlags(name) {
		o.Fallback = rapid.Bool().Draw(t, "fallback")
		o.Port = rapid.Bool().Draw(t, "port")
	}
	s, err := New(name, o)
	if err != nil {
		t.Fatal(err)
	}
	x := &fixture{Scheduler: s}
	cached := map[[16]byte]*Server{} // lblc's server of each destination
	for range rapid.IntRange(1, 30).Draw(t, "steps") {
		switch op := rapid.IntRange(0, 9).Draw(t, "op"); {
		case len(x.list) == 0 || op < 3:
			s := x.add(newServer(serverAddr(rapid.IntRange(0, 99).Draw(t, "address")), 80, rapid.Int32Range(0, 5).Draw(t, "weight")))
			for dst, old := range cached {
				if old.Gone() && old.Addr == s.Addr {
					cached[dst] = s // lblc.Added: a server that was removed is back
				}
			}
		case op == 3:
			x.remove(rapid.SampledFrom(x.list).Draw(t, "remove"))
		case op == 4:
			x.edit(rapid.SampledFrom(x.list).Draw(t, "edit"), rapid.Int32Range(0, 5).Draw(t, "weight"))
		default:
			s := rapid.SampledFrom(x.list).Draw(t, "load")
			s.SetOverloaded(rapid.Bool().Draw(t, "overloaded"))
			setActive(s, rapid.Int64Range(0, 8).Draw(t, "active"))
		}
		f := &Flow{SrcPort: rapid.Uint16().Draw(t, "port")}
		f.Src[15], f.Dst[15] = rapid.Byte().Draw(t, "src"), rapid.ByteRange(0, 3).Draw(t, "dst")
		got := x.Pick(f)

		candidates := slices.DeleteFunc(slices.Clone(x.list), func(s *Server) bool {
			return !s.Eligible() || name == "ovf" && s.Active() > int64(s.Weight())
		})
		switch {
		case got != nil && !slices.Contains(x.list, got):
			t.Fatal("picked a server that is gone")
		case got != nil && !slices.Contains(candidates, got):
			if name != "lblc" || got.Weight() == 0 || cached[f.Dst] != got {
				t.Fatalf("picked weight %d, overloaded %v", got.Weight(), got.Overloaded())
			}
		case got == nil && len(candidates) > 0:
			if name != "dh" && name != "sh" && name != "mh" {
				t.Fatalf("picked none of %d", len(candidates))
			}
			if o.Fallback && name == "sh" { // 30 servers of weight 5 at most: each has a bucket
				t.Fatalf("fallback found none of %d", len(candidates))
			}
		}
		if got != nil {
			cached[f.Dst] = got
		}
	}
}

// TestPickWhileServersChange lets picks, changes of the list, of weights and of
// loads run at once. What is picked must have been a server some time.
func TestPickWhileServersChange(t *testing.T) {
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			var clock atomic.Int64
			o := Options{Now: func() int64 { return clock.Add(1) }, Rand: seeded.Rand(t).Uint64, Expiration: 200}
			x := newFixture(t, name, o).weights(1, 2, 3, 4)
			all := slices.Clone(x.list)
			ctx, stop := context.WithCancel(context.Background())
			var pickers sync.WaitGroup
			for i := range 4 {
				pickers.Go(func() {
					rng := rand.New(rand.NewPCG(uint64(i), 0))
					for ctx.Err() == nil {
						f := Flow{SrcPort: uint16(rng.Uint32())}
						f.Src[15], f.Dst[15] = byte(rng.Uint32()), byte(rng.Uint32())
						s := x.Pick(&f)
						if s == nil {
							continue
						}
						if !slices.Contains(all, s) {
							t.Error("picked a server that was never added")
						}
						setActive(s, int64(rng.Uint32()%8))
						s.SetOverloaded(rng.Uint32()%8 == 0)
					}
				})
			}
			rng := rand.New(rand.NewPCG(9, 9))
			for range 300 {
				s := all[rng.IntN(len(all))]
				switch {
				case !slices.Contains(x.list, s):
					s.SetGone(false)
					x.add(s)
				case rng.IntN(2) == 0:
					x.remove(s)
				default:
					x.edit(s, rng.Int32N(5))
				}
			}
			stop()
			pickers.Wait()
		})
	}
}

// TestPickDoesNotAllocate covers hits and misses, all schedulers and flags. A
// destination new to lblc and lblcr may allocate, so theirs are known here.
func TestPickDoesNotAllocate(t *testing.T) {
	for _, name := range Names() {
		for _, flags := range []bool{false, true} {
			if flags && !TakesFlags(name) {
				continue
			}
			x := newFixture(t, name, Options{Now: func() int64 { return 0 }, Rand: seeded.Rand(t).Uint64, Fallback: flags, Port: flags})
			x.weights(5, 0, 3, 2, 7, 1)
			x.list[0].SetOverloaded(true)
			flows := make([]Flow, 64)
			for i := range flows {
				flows[i].Src[15], flows[i].Dst[15], flows[i].SrcPort = byte(i), byte(i), uint16(i)
			}
			picks := func() {
				for i := range flows {
					if s := x.Pick(&flows[i]); s != nil {
						s.AddConnections(1, 0)
					}
				}
				for _, s := range x.list {
					setActive(s, 0)
				}
			}
			picks()
			if n := testing.AllocsPerRun(20, picks); n != 0 {
				t.Errorf("%s, flags %v: %v allocations in %d picks", name, flags, n, len(flows))
			}
		}
	}
}
