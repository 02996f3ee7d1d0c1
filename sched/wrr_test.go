package sched

import "testing"

func TestWRRSequences(t *testing.T) {
	for _, tt := range []struct {
		weights []int32
		want    string
	}{
		{[]int32{4, 3, 2}, "AABABCABCAABABCABC"},
		{[]int32{4, 2}, "AABAAB"},
		{[]int32{5, 1, 1}, "AAAAABCAAAAABC"},
		{[]int32{0, 3}, "BBBB"},
		{[]int32{10, 20, 30}, "CBCABCCBCABC"},
		{[]int32{0, 0}, "--"},
		{nil, "--"},
	} {
		x := newFixture(t, "wrr", Options{}).weights(tt.weights...)
		// ip_vs's level depends on how the list grew, so begin at a known place.
		x.Scheduler.(*wrr).level = x.Scheduler.(*wrr).top
		if got := x.letters(len(tt.want)); got != tt.want {
			t.Errorf("weights %v: got %s, want %s", tt.weights, got, tt.want)
		}
	}
}
