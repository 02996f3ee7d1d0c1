package seeded

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// failVar makes TestSubject fail, and tell what it drew.
const failVar = "SEEDED_TEST_FAIL"

// TestSubject is run by the other tests, in a process of its own.
func TestSubject(t *testing.T) {
	t.Run("it's a (case)", func(t *testing.T) {
		t.Logf("number %d", Rand(t).Uint64())
		Check(t, func(rt *rapid.T) {
			if n := rapid.Uint64().Draw(rt, "n"); os.Getenv(failVar) != "" {
				rt.Fatalf("drew %d", n)
			}
		})
	})
}

// run is what TestSubject prints in a process of its own, where it fails. seed is what
// RAPID_SEED says there; "" leaves it unset.
func run(t *testing.T, seed string, args ...string) string {
	t.Helper()
	cmd := exec.Command(os.Args[0], append([]string{"-test.run=^TestSubject$", "-rapid.shrinktime=0"}, args...)...)
	cmd.Env = append(os.Environ(), failVar+"=1", "RAPID_SEED="+seed)
	cmd.Env = slices.DeleteFunc(cmd.Env, func(v string) bool {
		return strings.HasPrefix(v, "RAPID_") && (seed == "" || v != "RAPID_SEED="+seed)
	})
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatalf("did not fail:\n%s", out)
	}
	return string(out)
}

// drawn are the random numbers in what TestSubject printed.
func drawn(out string) string {
	return strings.Join(regexp.MustCompile(`(number|drew) \d+`).FindAllString(out, -1), " ")
}

func TestSeedOfARun(t *testing.T) {
	usual := drawn(run(t, "1"))
	for name, c := range map[string]struct {
		env  string
		args []string
		want string // what the command that repeats it ends with
		same bool   // as with seed 1
	}{
		"environment":  {env: "77", want: "-rapid.seed=77"},
		"command line": {env: "77", args: []string{"-rapid.seed=78"}, want: "-rapid.seed=78"},
		"steps": {
			env: "1", args: []string{"-rapid.checks=200", "-rapid.steps=40"},
			want: "-rapid.seed=1 -rapid.checks=200 -rapid.steps=40", same: true,
		},
	} {
		out := run(t, c.env, c.args...)
		const repeat = `to repeat: go test ./lb/lbtest/seeded -run '^TestSubject$/^it.s_a_\(case\)$' `
		if !strings.Contains(out, repeat+c.want+"\n") {
			t.Errorf("%s: want %s%s, in\n%s", name, repeat, c.want, out)
		}
		if got := drawn(out); (got == usual) != c.same {
			t.Errorf("%s: drew %s, with seed 1 %s", name, got, usual)
		}
	}
}

func TestSeedIsFixedUnlessOneIsGiven(t *testing.T) {
	first, second := run(t, ""), run(t, "")
	if drawn(first) == "" || drawn(first) != drawn(second) {
		t.Errorf("drew %q, and then %q", drawn(first), drawn(second))
	}
	if !strings.Contains(first, "-rapid.seed=1\n") {
		t.Errorf("want seed 1, in\n%s", first)
	}
}

func TestSeedZeroDrawsOne(t *testing.T) {
	seeds := map[string]bool{}
	for range 2 {
		out := run(t, "0")
		m := regexp.MustCompile(`to repeat: .* -rapid.seed=(\d+)`).FindStringSubmatch(out)
		if m == nil || m[1] == "0" {
			t.Fatalf("want a seed, in\n%s", out)
		}
		seeds[m[1]] = true
		if again := run(t, m[1]); drawn(again) != drawn(out) {
			t.Errorf("seed %s drew %s, and then %s", m[1], drawn(out), drawn(again))
		}
	}
	if len(seeds) != 2 {
		t.Errorf("seed %v both times", seeds)
	}
}

func TestFailureLeavesNoFile(t *testing.T) {
	run(t, "1")
	if _, err := os.Stat("testdata"); !os.IsNotExist(err) {
		t.Errorf("testdata: %v", err)
	}
}

func TestChosenSeedIsNeverZero(t *testing.T) {
	if s := chosen("0", true, func() uint64 { return 0 }); s != "1" {
		t.Errorf("seed %s, which rapid takes for none", s)
	}
	if s := chosen("0", false, func() uint64 { return 5 }); s != "1" {
		t.Errorf("seed %s without one given", s)
	}
}
