package dataplane

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/golb/golb/lb/lbtest/seeded"
)

// wheelTable is a table of which only the timers are used.
func wheelTable(n int) *table { return &table{cold: make([]connCold, n+1)} }

func TestWheelCallsEachAtItsTickWhateverTheDistance(t *testing.T) {
	const start = 1<<32 - 1000 // so that ticks wrap on the way
	distances := []Tick{1, 2, 15, 255, 256, 257, 511, 65535, 65536, 65537, 1 << 20, wheelSpan - 1}
	tab := wheelTable(len(distances))
	var w wheel
	w.start(start)
	for i, d := range distances {
		w.file(tab, uint32(i+1), start+d)
	}
	for i, d := range distances {
		var got []uint32
		due := func(c uint32) { w.unfile(tab, c); got = append(got, c) }
		w.advance(tab, start+d-1, 100, due)
		if len(got) != 0 {
			t.Fatalf("distance %d: %v came before its Tick", d, got)
		}
		w.advance(tab, start+d, 100, due)
		if len(got) != 1 || got[0] != uint32(i+1) {
			t.Fatalf("distance %d: at its Tick came %v, want [%d]", d, got, i+1)
		}
	}
}

// TestWheelFilesAnewWhileCoarseSlotsEmpty is for ticks at which coarse slots are
// emptied into finer ones: what is filed then must not land in a slot that has
// just been emptied, to be found there a turn later.
func TestWheelFilesAnewWhileCoarseSlotsEmpty(t *testing.T) {
	for _, at := range []Tick{wheelSlots, 2 * wheelSlots, wheelSlots * wheelSlots} {
		for _, d := range []Tick{1, wheelSlots - 1, wheelSlots, wheelSlots*wheelSlots - 1, wheelSlots * wheelSlots} {
			tab := wheelTable(1)
			var w wheel
			w.start(0)
			w.file(tab, 1, at)
			var called []Tick
			for now := Tick(1); now <= at+d; now++ {
				w.advance(tab, now, 100, func(c uint32) {
					w.unfile(tab, c)
					called = append(called, now)
					if now == at {
						w.file(tab, c, at+d)
					}
				})
			}
			if len(called) != 2 || called[1] != at+d {
				t.Errorf("filed at %d, and there for %d: called at %d", at, at+d, called)
			}
		}
	}
}

func TestWheelKeepsToItsBudget(t *testing.T) {
	tab := wheelTable(10)
	var w wheel
	w.start(0)
	for c := uint32(1); c <= 10; c++ {
		w.file(tab, c, 5)
	}
	n := 0
	due := func(c uint32) { w.unfile(tab, c); n++ }
	if left := w.advance(tab, 9, 4, due); left != 0 || n != 4 {
		t.Fatalf("first turn: %d called, %d left of the budget; want 4, 0", n, left)
	}
	if left := w.advance(tab, 9, 100, due); left != 94 || n != 10 {
		t.Fatalf("second turn: %d called in all, %d left; want 10, 94", n, left)
	}
}

// TestWheelTakesCascadesOutOfItsBudget: 11 connections come down from a coarse slot and
// ten of them are called, which is 21 looked at. The eleventh is left, and advance says so.
func TestWheelTakesCascadesOutOfItsBudget(t *testing.T) {
	const n, at, budget = 11, wheelSlots + 44, 21
	tab := wheelTable(n)
	var w wheel
	w.start(0)
	for c := uint32(1); c <= n; c++ {
		w.file(tab, c, at)
	}
	called := 0
	due := func(c uint32) { w.unfile(tab, c); called++ }
	if left := w.advance(tab, at, budget, due); left != 0 || called != budget-n {
		t.Fatalf("first turn: %d called, %d left of the budget; want %d, 0", called, left, budget-n)
	}
	if left := w.advance(tab, at, budget, due); left != budget-1 || called != n {
		t.Fatalf("second turn: %d called in all, %d left of the budget; want %d, %d", called, left, n, budget-1)
	}
}

// TestWheelAgainstAList compares the wheel with a plain list of ticks under random
// filing, unfiling and passing of time, with random budgets.
func TestWheelAgainstAList(t *testing.T) {
	seeded.Check(t, func(rt *rapid.T) {
		const n = 20
		tab := wheelTable(n)
		var w wheel
		now := Tick(rapid.Uint32().Draw(rt, "start"))
		w.start(now)
		filed := map[uint32]Tick{}
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			c := rapid.Uint32Range(1, n).Draw(rt, "conn")
			_, in := filed[c]
			switch {
			case !in:
				filed[c] = now + Tick(rapid.Uint32Range(1, 200_000).Draw(rt, "in"))
				w.file(tab, c, filed[c])
			case rapid.Bool().Draw(rt, "unfile"):
				delete(filed, c)
				w.unfile(tab, c)
			default:
				now += Tick(rapid.Uint32Range(0, 100_000).Draw(rt, "wait"))
				budget := rapid.IntRange(1, n+1).Draw(rt, "budget")
				got := map[uint32]bool{}
				due := func(c uint32) { w.unfile(tab, c); got[c] = true }
				// Each connection is looked at once a level at most: twice to come down, once to be called.
				turns := wheelLevels*n/budget + 1
				for w.advance(tab, now, budget, due) == 0 {
					if turns--; turns == 0 {
						rt.Fatalf("at %d: not done, with a budget of %d a turn", now, budget)
					}
				}
				for c, at := range filed {
					if due := !now.before(at); due != got[c] {
						rt.Fatalf("at %d: connection %d filed at %d: called %v", now, c, at, got[c])
					}
					if got[c] {
						delete(filed, c)
					}
				}
			}
		}
	})
}

// TestWheelWorksInSmallPieces is for the time that a worker may have to wait: also
// when a slot of a thousand connections comes down from a coarse wheel.
func TestWheelWorksInSmallPieces(t *testing.T) {
	const n, at, budget = 1000, 5*wheelSlots + 7, 10
	tab := wheelTable(n)
	var w wheel
	w.start(0)
	for c := uint32(1); c <= n; c++ {
		w.file(tab, c, at)
	}
	count, pieces := 0, 0
	due := func(c uint32) { w.unfile(tab, c); count++ }
	for left := 0; left == 0; pieces++ {
		fine := len(tab.filedAt(0))
		left = w.advance(tab, at, budget, due)
		if moved := len(tab.filedAt(0)) - fine; moved > budget {
			t.Fatalf("%d connections moved at once, with a budget of %d", moved, budget)
		}
	}
	if count != n || pieces < 2*n/budget {
		t.Errorf("%d of %d came, in %d pieces", count, n, pieces)
	}
}

// filedAt are the connections that are, or were last, in a slot of a level.
func (t *table) filedAt(level uint32) (list []int) {
	for c := 1; c < len(t.cold); c++ {
		if t.cold[c].filed>>wheelBits == level {
			list = append(list, c)
		}
	}
	return list
}
