package sched

import (
	"reflect"
	"runtime"
	"sync"
	"testing"
	"weak"

	"pgregory.net/rapid"

	"github.com/golb/golb/lb/lbtest/seeded"
)

func TestServerCounts(t *testing.T) {
	const most = 1<<27 - 1
	for _, tt := range []struct {
		name                       string
		adds                       [][2]int64 // active, inactive
		active, inactive, overhead int64
	}{
		{"none", nil, 0, 0, 0},
		{"new", [][2]int64{{0, 1}}, 0, 1, 1},
		{"new, active", [][2]int64{{0, 1}, {1, -1}}, 1, 0, 256},
		{"new, active, inactive", [][2]int64{{0, 1}, {1, -1}, {-1, 1}}, 0, 1, 1},
		{"over while active", [][2]int64{{0, 1}, {1, -1}, {-1, 0}}, 0, 0, 0},
		{"300 inactive", [][2]int64{{0, 300}}, 0, 300, 300},
		{"1000 active, 300 inactive", [][2]int64{{1000, 300}}, 1000, 300, 256300},
		{"inactive counted before active", [][2]int64{{0, 1}, {-1, 1}}, -1, 2, -255}, // 1 less
		{"and then active", [][2]int64{{0, 1}, {-1, 1}, {1, -1}}, 0, 1, 1},
		{"most", [][2]int64{{most, 0}}, most, 0, 256 * most},
		{"most and inactive", [][2]int64{{most, 255}}, most, 255, 256*most + 255},
		{"inactive only", [][2]int64{{0, 1<<35 - 1}}, 0, 1<<35 - 1, 1<<35 - 1},
	} {
		s := newServer("10.0.0.1", 80, 1)
		for _, add := range tt.adds {
			s.AddConnections(add[0], add[1])
		}
		got := [4]int64{s.Active(), s.Inactive(), s.Connections(), s.Overhead()}
		if want := [4]int64{tt.active, tt.inactive, tt.active + tt.inactive, tt.overhead}; got != want {
			t.Errorf("%s: active, inactive, sum and overhead %v, want %v", tt.name, got, want)
		}
	}
}

func TestServerWeightAndOverloadAreIndependent(t *testing.T) {
	seeded.Check(t, func(t *rapid.T) {
		s := newServer("10.0.0.1", 80, 0)
		var weight, last int32
		overloaded := false
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			switch rapid.IntRange(0, 2).Draw(t, "step") {
			case 0:
				weight = rapid.SampledFrom([]int32{0, 1, 2, 65535}).Draw(t, "weight")
				s.SetWeight(weight)
				if weight != 0 {
					last = weight
				}
			case 1:
				overloaded = rapid.Bool().Draw(t, "overloaded")
				s.SetOverloaded(overloaded)
			default:
				s.ResetLastWeight()
				last = 0
			}
			if s.Weight() != weight || s.LastWeight() != last || s.Overloaded() != overloaded || s.Eligible() != (weight > 0 && !overloaded) {
				t.Fatalf("weight %d, last %d, overloaded %v, eligible %v; want %d, %d, %v",
					s.Weight(), s.LastWeight(), s.Overloaded(), s.Eligible(), weight, last, overloaded)
			}
		}
	})
}

// TestServerWeightAndOverloadAtOnce has one goroutine set each.
func TestServerWeightAndOverloadAtOnce(t *testing.T) {
	s := newServer("10.0.0.1", 80, 1)
	var both sync.WaitGroup
	both.Go(func() {
		for i := range int32(10_000) {
			s.SetWeight(i)
			if got := s.Weight(); got != i {
				t.Errorf("weight %d, want %d", got, i)
				return
			}
		}
	})
	both.Go(func() {
		for i := range 10_000 {
			s.SetOverloaded(i%2 == 0)
			if got := s.Overloaded(); got != (i%2 == 0) {
				t.Errorf("overloaded %v", got)
				return
			}
		}
	})
	both.Wait()
}

// TestSlabKeepsLoadsTogether is about the time of a pick, which reads them all, and that
// of two workers that count on neighbors.
func TestSlabKeepsLoadsTogether(t *testing.T) {
	const line, block = 64, slabLines * slabPerLine
	if got := reflect.TypeFor[load]().Size() * slabPerLine; got != line {
		t.Errorf("%d loads are %d bytes, want a line of the cache", slabPerLine, got)
	}
	var slab Slab
	var servers [2 * block]Server
	lineOf := func(i int) uintptr { return reflect.ValueOf(servers[i].load).Pointer() / line }
	for i := range servers {
		slab.Init(&servers[i])
		if begin := reflect.ValueOf(servers[i-i%block].load).Pointer(); begin%line != 0 {
			t.Fatalf("server %d: its block begins %d bytes into a line", i, begin%line)
		} else if in := lineOf(i) - begin/line; in >= slabLines {
			t.Errorf("server %d: %d lines after the first of its block", i, in)
		}
		for j := i - i%slabLines; j < i; j++ {
			if lineOf(j) == lineOf(i) {
				t.Errorf("servers %d and %d are on one line", j, i)
			}
		}
	}
}

func TestSlabFreesBlocksOfServersThatAreGone(t *testing.T) {
	const block = slabLines * slabPerLine
	var slab Slab
	list := make([]*Server, 2*block)
	for i := range list {
		list[i] = new(Server)
		slab.Init(list[i])
	}
	first, second := weak.Make(list[0].load), weak.Make(list[block].load)
	slab.Init(new(Server)) // of a third block
	kept := list[2*block-1]
	clear(list)
	runtime.GC()
	if first.Value() != nil {
		t.Error("a block is there, though none of its servers is")
	}
	if second.Value() == nil {
		t.Error("a block is gone, though one of its servers is not")
	}
	runtime.KeepAlive(kept)
}

func TestSlabFromSeveralGoroutines(t *testing.T) {
	var slab Slab
	var all [4][1000]Server
	var running sync.WaitGroup
	for i := range all {
		running.Go(func() {
			for j := range all[i] {
				slab.Init(&all[i][j])
			}
		})
	}
	running.Wait()
	seen := map[*load]bool{}
	for i := range all {
		for j := range all[i] {
			seen[all[i][j].load] = true
		}
	}
	if want := len(all) * len(all[0]); len(seen) != want {
		t.Errorf("%d places for %d servers", len(seen), want)
	}
}
