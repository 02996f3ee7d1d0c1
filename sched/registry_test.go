package sched

import (
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"
)

func options() Options {
	return Options{Now: func() int64 { return 0 }, Rand: func() uint64 { return 1 }}
}

func TestNewKnowsEveryName(t *testing.T) {
	if !slices.IsSorted(Names()) {
		t.Errorf("not sorted: %v", Names())
	}
	for _, name := range Names() {
		s, err := New(name, options())
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if s.Name() != name {
			t.Errorf("%s: calls itself %s", name, s.Name())
		} else if got := s.Pick(clientFlow("192.0.2.1", 1)); got != nil {
			t.Errorf("%s: picks %v of no servers", name, got)
		}
	}
}

func TestNewSaysWhatIsWrong(t *testing.T) {
	for _, tt := range []struct {
		name string
		o    Options
		want []string
	}{
		{"wlcc", Options{}, append([]string{`"wlcc"`}, Names()...)},
		{"wlcc", Options{Port: true}, []string{`"wlcc"`, "unknown"}},
		{"wlc", Options{Port: true}, []string{`"wlc"`, "flags", "mh and sh"}},
		{"rr", Options{Fallback: true}, []string{`"rr"`, "flags", "mh and sh"}},
		{"lblc", Options{}, []string{`"lblc"`, "Options.Now"}},
		{"lblcr", Options{}, []string{`"lblcr"`, "Options.Now"}},
		{"lblcr", Options{Now: options().Now, Expiration: -1}, []string{`"lblcr"`, "expiration -1"}},
		{"twos", Options{}, []string{`"twos"`, "Options.Rand"}},
	} {
		s, err := New(tt.name, tt.o)
		if err == nil {
			t.Errorf("%s: no error, got %v", tt.name, s)
			continue
		}
		for _, w := range tt.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q does not say %s", tt.name, err, w)
			}
		}
	}
}

// TestPackageDocNamesEveryScheduler looks at the list in the package's doc.
func TestPackageDocNamesEveryScheduler(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "sched.go", nil, parser.ParseComments|parser.PackageClauseOnly)
	if err != nil {
		t.Fatal(err)
	}
	var named []string
	for line := range strings.Lines(file.Doc.Text()) {
		if listed, ok := strings.CutPrefix(line, "\t"); ok {
			names, _, _ := strings.Cut(listed, "  ")
			named = append(named, strings.Split(names, ", ")...)
		}
	}
	for _, name := range Names() {
		if !slices.Contains(named, name) {
			t.Errorf("%s: not in the list of the package's doc in sched.go", name)
		}
	}
	if len(named) != len(Names()) {
		t.Errorf("the package's doc lists %v, which are not %v", named, Names())
	}
}
