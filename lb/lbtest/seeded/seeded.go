// Package seeded runs random tests the same way each time.
//
// Tests call [Check] instead of rapid.Check, and take other random numbers from [Rand].
// Both start at seed 1, unless the flag -rapid.seed or the environment variable RAPID_SEED
// gives another one; seed 0 draws one. A test that fails prints the command that repeats it:
//
//	go test ./lb -run '^TestWheelAgainstAList$' -rapid.seed=1
//
// For new seeds in every package, of which some do not have the flag:
//
//	RAPID_SEED=0 go test -count=1 ./...
package seeded

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// fixed is the seed of a run that names none.
const fixed = 1

// Check is rapid.Check with the seed of this run, and without rapid's failure files: a
// failing seed becomes a test, not a file in the tree.
func Check(t *testing.T, prop func(*rapid.T)) {
	t.Helper()
	seed()
	tellHowToRepeat(t)
	rapid.Check(t, prop)
}

// Rand returns random numbers with the seed of this run. Goroutines may share it; what
// each of them gets then depends on their order.
func Rand(t testing.TB) *rand.Rand {
	t.Helper()
	tellHowToRepeat(t)
	return rand.New(&source{src: rand.NewPCG(seed(), 0)})
}

// source is one for several goroutines.
type source struct {
	mu  sync.Mutex
	src rand.Source
}

func (s *source) Uint64() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.src.Uint64()
}

// seed is the seed of this run. The first call sets rapid's flags, which only reads them
// from then on.
var seed = sync.OnceValue(func() uint64 {
	given := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
	s := chosen(value("rapid.seed"), given["rapid.seed"] || os.Getenv("RAPID_SEED") != "", rand.Uint64)
	set("rapid.seed", s)
	if !given["rapid.nofailfile"] {
		set("rapid.nofailfile", "true")
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		panic(err) // the flag was parsed as such a number
	}
	return n
})

// chosen is the seed of a run for which flag or environment say seed, if given.
func chosen(seed string, given bool, draw func() uint64) string {
	switch {
	case !given:
		return strconv.Itoa(fixed)
	case seed == "0":
		return strconv.FormatUint(max(draw(), 1), 10)
	}
	return seed
}

func value(name string) string { return flag.Lookup(name).Value.String() }

func set(name, value string) {
	if err := flag.Set(name, value); err != nil {
		panic(err) // rapid has these flags
	}
}

// tellHowToRepeat has t print the command that repeats it, should it fail.
func tellHowToRepeat(t testing.TB) {
	s := seed()
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("to repeat: " + command(directory(), t.Name(), s))
		}
	})
}

// command repeats a test of the package in dir, which is relative to the module's root.
func command(dir, test string, seed uint64) string {
	parts := strings.Split(test, "/")
	for i, p := range parts {
		parts[i] = "^" + strings.ReplaceAll(regexp.QuoteMeta(p), "'", ".") + "$" // in a shell's single quotes
	}
	c := fmt.Sprintf("go test ./%s -run '%s' -rapid.seed=%d", dir, strings.Join(parts, "/"), seed)
	for _, f := range []struct{ name, usual string }{{"rapid.checks", "100"}, {"rapid.steps", "30"}} {
		if v := value(f.name); v != f.usual {
			c += " -" + f.name + "=" + v
		}
	}
	return c
}

// directory is the package under test as go test names it, "..." where that is not known:
// a test's working directory is its package's.
func directory() string {
	dir, err := os.Getwd()
	for root := dir; err == nil && root != filepath.Dir(root); root = filepath.Dir(root) {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			return filepath.ToSlash(strings.TrimPrefix(strings.TrimPrefix(dir, root), "/"))
		}
	}
	return "..."
}
