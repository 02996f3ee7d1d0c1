package sched

import "testing"

// TestPickByConnections has the schedulers that compare loads choose among
// servers A, B, C.
func TestPickByConnections(t *testing.T) {
	type server struct {
		weight           int32
		active, inactive int64
		overloaded       bool
	}
	s := func(weight int32, active, inactive int64) server { return server{weight, active, inactive, false} }
	over := func(s server) server { s.overloaded = true; return s }
	for _, tt := range []struct {
		scheduler, name string
		servers         []server
		want            string
	}{
		{"wlc", "active counts 256", []server{s(1, 1, 0), s(1, 0, 255)}, "B"},
		{"wlc", "equal: first in list", []server{s(1, 1, 0), s(1, 0, 256)}, "A"},
		{"wlc", "by weight", []server{s(1, 1, 0), s(3, 2, 0)}, "B"},
		{"wlc", "equal ratio: first in list", []server{s(1, 1, 0), s(3, 3, 0)}, "A"},
		{"wlc", "weight 0, overloaded", []server{s(0, 0, 0), over(s(9, 0, 0)), s(1, 9, 9)}, "C"},
		{"wlc", "none", []server{s(0, 0, 0), over(s(1, 0, 0))}, "-"},

		{"wlc", "weight 0, active negative for a moment", []server{s(1, 9, 0), s(0, -1, 0), over(s(1, -1, 0))}, "A"},

		{"lc", "active counts 256", []server{s(1, 1, 0), s(1, 0, 255)}, "B"},
		{"lc", "regardless of weight", []server{s(1, 1, 0), s(100, 2, 0)}, "A"},
		{"lc", "equal: first in list", []server{s(1, 1, 0), s(9, 1, 0)}, "A"},
		{"lc", "weight 0, overloaded", []server{s(0, 0, 0), over(s(9, 0, 0)), s(1, 9, 9)}, "C"},

		{"sed", "inactive do not count", []server{s(1, 0, 999), s(1, 0, 0)}, "A"},
		{"sed", "the one to come counts", []server{s(1, 0, 0), s(3, 1, 0)}, "B"},
		{"sed", "equal delay: first in list", []server{s(1, 0, 0), s(2, 1, 0)}, "A"},
		{"sed", "weight 0, active negative for a moment", []server{s(1, 9, 0), s(0, -2, 0), over(s(1, -2, 0))}, "A"},
		{"sed", "weight 0, overloaded", []server{s(0, 0, 0), over(s(9, 0, 0)), s(1, 9, 9)}, "C"},

		{"nq", "idle before faster", []server{s(100, 1, 0), s(1, 0, 99)}, "B"},
		{"nq", "first idle", []server{s(1, 0, 0), s(100, 0, 0)}, "A"},
		{"nq", "none idle: sed", []server{s(1, 1, 0), s(4, 2, 0)}, "B"},
		{"nq", "weight 0, overloaded", []server{s(0, 0, 0), over(s(9, 0, 0)), s(1, 9, 9)}, "C"},

		{"fo", "greatest weight", []server{s(1, 0, 0), s(3, 99, 99), s(2, 0, 0)}, "B"},
		{"fo", "equal: first in list", []server{s(3, 9, 0), s(3, 0, 0)}, "A"},
		{"fo", "overloaded", []server{over(s(3, 0, 0)), s(1, 0, 0)}, "B"},
		{"fo", "none", []server{over(s(3, 0, 0)), s(0, 0, 0)}, "-"},

		{"ovf", "greatest weight", []server{s(1, 0, 0), s(3, 2, 99)}, "B"},
		{"ovf", "as many as weight: one more", []server{s(1, 0, 0), s(3, 3, 0)}, "B"},
		{"ovf", "more than weight: next", []server{s(1, 0, 0), s(3, 4, 0)}, "A"},
		{"ovf", "all full", []server{s(1, 2, 0), s(3, 4, 0)}, "-"},
		{"ovf", "weight 0, overloaded", []server{s(0, 0, 0), over(s(9, 0, 0)), s(1, 0, 0)}, "C"},
	} {
		x := newFixture(t, tt.scheduler, options())
		for _, s := range tt.servers {
			x.list = append(x.list, newServer("10.0.0.1", 80, s.weight))
			last := x.list[len(x.list)-1]
			setActive(last, s.active)
			setInactive(last, s.inactive)
			last.SetOverloaded(s.overloaded)
		}
		x.Added(x.list, x.list[0])
		if got := x.letters(1); got != tt.want {
			t.Errorf("%s, %s: got %s, want %s", tt.scheduler, tt.name, got, tt.want)
		}
	}
}

func TestTwosDrawsByWeightAndTakesTheLessLoaded(t *testing.T) {
	for _, tt := range []struct {
		name    string
		draws   []uint64 // up to the sum of weights, 6
		actives []int64
		want    string
	}{
		{"same server", []uint64{0, 1}, []int64{9, 0, 0}, "A"},
		{"first less loaded", []uint64{2, 4}, []int64{0, 1, 2}, "B"},
		{"second less loaded", []uint64{2, 4}, []int64{0, 2, 1}, "C"},
		{"equal ratio: first drawn", []uint64{4, 2}, []int64{0, 2, 3}, "C"},
		{"A's last chance", []uint64{1, 1}, []int64{0, 0, 0}, "A"},
		{"B's first chance", []uint64{2, 2}, []int64{0, 0, 0}, "B"},
		{"C, neither first nor last", []uint64{5, 5}, []int64{0, 0, 0}, "C"},
		{"C's last chance", []uint64{6, 6}, []int64{0, 0, 0}, "C"},
		{"modulo what there is to draw", []uint64{7, 14}, []int64{0, 0, 0}, "A"},
	} {
		n := 0
		x := newFixture(t, "twos", Options{Rand: func() uint64 { n++; return tt.draws[n-1] }}).weights(1, 2, 3)
		for i, a := range tt.actives {
			setActive(x.list[i], a)
		}
		if got := x.letters(1); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}
