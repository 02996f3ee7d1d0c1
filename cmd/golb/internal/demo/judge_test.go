package demo

import (
	"errors"
	"path/filepath"
	"testing"
	"time"
)

// A failover in which the kill is at 1000 ms, noticed at 1500, mended at 2500,
// noticed at 2600, over at 3600.
func failoverAt(start time.Time) moments {
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	return moments{start, at(1000), at(1500), at(2500), at(2600), at(3600)}
}

func TestJudgeBlamesOnlyFailuresOutsideTheWindow(t *testing.T) {
	start := time.Now()
	tests := []struct {
		name       string
		begin, end int // ms
		expected   bool
	}{
		{"before the kill", 10, 20, false},
		{"under way at the kill", 990, 2990, true},
		{"begun between kill and detection", 1200, 3200, true},
		{"begun just before detection", 1499, 1510, true},
		{"begun after detection", 1500, 3500, false},
		{"begun after the return", 2700, 2800, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := append(healthy(start), answer{
				start: start.Add(time.Duration(tt.begin) * time.Millisecond),
				end:   start.Add(time.Duration(tt.end) * time.Millisecond),
				err:   errors.New("timeout"),
			})
			f := newFailover(newLayout(false, false), "s3", failoverAt(start), a)
			expected, wrong := 0, 1
			if tt.expected {
				expected, wrong = 1, 0
			}
			if f.FailedRequests != expected || len(f.wrong) != wrong {
				t.Errorf("expected failures %d, want %d; wrong %v, want %d", f.FailedRequests, expected, f.wrong, wrong)
			}
		})
	}
}

// healthy are answers of a failover as it should be: ten of each server that is
// alive in each phase.
func healthy(start time.Time) []answer {
	var list []answer
	for _, ms := range []int{500, 1100, 2000, 3000} {
		for _, s := range []string{"s1", "s2", "s3"} {
			if s == "s3" && (ms == 1100 || ms == 2000) {
				continue
			}
			at := start.Add(time.Duration(ms) * time.Millisecond)
			for range 10 {
				list = append(list, answer{server: s, start: at, end: at.Add(time.Millisecond)})
			}
		}
	}
	return list
}

func TestJudgeWantsTrafficToMoveAndToReturn(t *testing.T) {
	start := time.Now()
	all := healthy(start)
	tests := []struct {
		name    string
		answers []answer
		wrong   int
	}{
		{"as it should be", all, 0},
		{"no traffic for the returned server", all[:len(all)-10], 1},
		{"the dead server answers", append(all[:len(all):len(all)],
			answer{server: "s3", start: start.Add(2 * time.Second), end: start.Add(2 * time.Second)}), 1},
		{"a request that waited for the return", append(all[:len(all):len(all)],
			answer{server: "s3", start: start.Add(2599 * time.Millisecond), end: start.Add(2610 * time.Millisecond)}), 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if f := newFailover(newLayout(false, false), "s3", failoverAt(start), tt.answers); len(f.wrong) != tt.wrong {
				t.Errorf("found wrong: %v, want %d", f.wrong, tt.wrong)
			}
		})
	}
}

// TestNftIsFoundOutsideOfPATH: an ordinary user's PATH lacks the directory that Debian has
// nft in.
func TestNftIsFoundOutsideOfPATH(t *testing.T) {
	want, err := nftPath()
	if err != nil {
		t.Skip(err)
	}
	t.Setenv("PATH", t.TempDir())
	if got, err := nftPath(); err != nil || filepath.Base(got) != "nft" {
		t.Errorf("got %q, %v; with a full PATH %s", got, err, want)
	}
}
