package dataplane

import (
	"testing"
	"time"
)

func TestSlowBudgetsFillToo(t *testing.T) {
	r := newTestPlane(t, 16, 0)
	for _, rate := range []int{1, 5, 1000} {
		snap := NewSnapshot(Settings{AnswerRate: rate})
		r.w.answers = answerBudgets{}
		r.w.now = r.tick()
		for r.w.mayAnswer(snap, answerReset) {
		}
		got := 0
		for range 10 * TicksPerSecond { // asked in each tick
			r.now = r.now.Add(time.Second / TicksPerSecond)
			r.w.now = r.tick()
			for r.w.mayAnswer(snap, answerReset) {
				got++
			}
		}
		if got != 10*rate {
			t.Errorf("%d answers in 10 s at %d a second", got, rate)
		}
	}
}

// TestPathMTUsAreForgottenHoweverOftenOthersAreLearned: each one learned must not prolong
// those before.
func TestPathMTUsAreForgottenHoweverOftenOthersAreLearned(t *testing.T) {
	r := newTestPlane(t, 16, 0)
	addr, mtu := r.servers.all()[1].Addr, 1400
	for minute := range 10 {
		r.w.now = r.tick()
		r.w.learnMTU(addr, mtu-minute)
		if r.PathMTUsExpired() {
			t.Fatalf("forgotten after %d minutes", minute)
		}
		r.now = r.now.Add(time.Minute)
	}
	if !r.PathMTUsExpired() {
		t.Error("not forgotten after 10 minutes")
	}
	if r.PathMTUsExpired() {
		t.Error("forgotten twice")
	}
}
