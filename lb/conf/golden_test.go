package conf

import (
	"flag"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/internal/fields"
)

var update = flag.Bool("update", false, "rewrite the golden file")

const (
	mistakesFile = "testdata/mistakes.yaml"
	goldenFile   = "testdata/mistakes.golden"
	exampleFile  = "../../examples/golb.yaml"
)

func TestEveryKindOfMistakeIsReportedAtOnce(t *testing.T) {
	_, err := Load(mistakesFile)
	got := err.Error() + "\n"
	if *update {
		if err := os.WriteFile(goldenFile, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s\nif that is meant: go test ./lb/conf -update", diff)
	}
}

func TestEverySettingHasAMistake(t *testing.T) {
	golden, err := os.ReadFile(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	has := map[setting]bool{}
	for line := range strings.Lines(string(golden)) {
		fieldsOnPath(strings.SplitN(line, ": ", 3)[1], has)
	}
	everySetting(func(s setting, typ *fields.Type) {
		if isValue(typ) && !has[s] {
			t.Errorf("%s has no wrong value in lb/conf/%s", s, mistakesFile)
		}
	})
}

func TestEverySettingHasAnExample(t *testing.T) {
	if _, err := Load(exampleFile); err != nil {
		t.Error(err)
	}
	text, err := os.ReadFile(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	body, err := parse(exampleFile, string(text))
	if err != nil {
		t.Fatal(err)
	}
	has := map[setting]bool{}
	for path := range placesOf(body).values {
		fieldsOnPath(path, has)
	}
	everySetting(func(s setting, typ *fields.Type) {
		if !has[s] {
			t.Errorf("%s is not in examples/golb.yaml", s)
		}
	})
}

// setting is a key of a struct, wherever in a Config that is.
type setting struct {
	of  reflect.Type
	key string
}

func (s setting) String() string { return s.key + " of " + s.of.String() }

// everySetting calls use for all settings and their types.
func everySetting(use func(setting, *fields.Type)) {
	seen := map[reflect.Type]bool{}
	var walk func(*fields.Type)
	walk = func(typ *fields.Type) {
		if typ.Elem != nil {
			walk(typ.Elem)
		}
		if seen[typ.Go] {
			return
		}
		seen[typ.Go] = true
		for _, f := range typ.Fields {
			use(setting{typ.Go, f.Name}, f.Type)
			walk(f.Type)
		}
	}
	walk(fields.TypeOf(reflect.TypeFor[lb.Config]()))
}

// isValue reports whether a type is what a setting is set to, and not a group of others.
func isValue(typ *fields.Type) bool {
	for typ.Elem != nil && typ.Kind != fields.Map {
		typ = typ.Elem
	}
	return typ.Kind != fields.Struct
}

var item = regexp.MustCompile(`\[\d+\]`)

// fieldsOnPath adds the settings on the way to a path.
func fieldsOnPath(path string, has map[setting]bool) {
	typ := fields.TypeOf(reflect.TypeFor[lb.Config]())
	for key := range strings.SplitSeq(item.ReplaceAllString(path, ""), ".") {
		i, ok := typ.Find(key)
		if !ok {
			return
		}
		has[setting{typ.Go, typ.Fields[i].Name}] = true
		for typ = typ.Fields[i].Type; typ.Elem != nil; {
			typ = typ.Elem
		}
	}
}
