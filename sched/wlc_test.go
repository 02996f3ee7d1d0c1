package sched

import "testing"

func TestWLCPicksLeastLoadForWeight(t *testing.T) {
	type load struct {
		weight           int32
		active, inactive int64
	}
	for _, tt := range []struct {
		name string
		a, b load
		want string
	}{
		{"active counts 256", load{1, 1, 0}, load{1, 0, 255}, "B"},
		{"equal: first in list", load{1, 1, 0}, load{1, 0, 256}, "A"},
		{"by weight", load{1, 1, 0}, load{3, 2, 0}, "B"},
		{"equal ratio: first in list", load{1, 1, 0}, load{3, 3, 0}, "A"},
		{"weight 0", load{0, 0, 0}, load{1, 9, 9}, "B"},
	} {
		x := newFixture(t, "wlc", Options{}).weights(tt.a.weight, tt.b.weight)
		for i, l := range []load{tt.a, tt.b} {
			x.list[i].Active.Store(l.active)
			x.list[i].Inactive.Store(l.inactive)
		}
		if got := x.letters(1); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}
