package seeded

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// unseeded says why test files may take random numbers from elsewhere.
var unseeded = map[string]string{
	"daemon_linux_test.go": "ports to try, apart from those of tests that run beside it",
	"race_test.go":         "for several goroutines at once, whose order no seed repeats",
	"race_calls_test.go":   "for several goroutines at once, whose order no seed repeats",
}

// TestRandomTestsAreSeeded holds all test files of the module to this package: only it
// runs rapid's checks, only within a function Test (.ci/run looks for these), and random
// numbers come from a source with a seed. Benchmarks may take any.
func TestRandomTestsAreSeeded(t *testing.T) {
	const root = "../../.."
	files := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		switch {
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && name != ".", name == "benchmarks":
			return fs.SkipDir
		case !strings.HasSuffix(name, "_test.go") || strings.Contains(name, "bench") || unseeded[d.Name()] != "":
			return nil
		}
		files++
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, problem := range mistakes(file) {
			t.Errorf("%s: %s", name, problem)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 100 {
		t.Errorf("found %d test files: not all of the module's", files)
	}
}

// withSeed are the names of math/rand and math/rand/v2 that need a seed, or a source that
// does.
var withSeed = regexp.MustCompile(`^(New|NewPCG|NewChaCha8|NewSource|NewZipf|Rand|Source|PCG|ChaCha8|Zipf)$`)

// mistakes are the uses of random numbers in a test file that no seed repeats.
func mistakes(file *ast.File) (list []string) {
	names := importNames(file)
	for _, d := range file.Decls {
		f, _ := d.(*ast.FuncDecl)
		test := f != nil && f.Recv == nil && regexp.MustCompile(`^Test[^a-z]`).MatchString(f.Name.Name)
		ast.Inspect(d, func(n ast.Node) bool {
			s, _ := n.(*ast.SelectorExpr)
			if s == nil {
				return true
			}
			x, _ := s.X.(*ast.Ident)
			if x == nil {
				return true
			}
			switch from := names[x.Name]; {
			case from == "pgregory.net/rapid" && (s.Sel.Name == "Check" || s.Sel.Name == "MakeCheck"):
				list = append(list, fmt.Sprintf("rapid.%s has a new seed each time: take seeded.Check", s.Sel.Name))
			case strings.HasPrefix(from, "math/rand") && !withSeed.MatchString(s.Sel.Name):
				list = append(list, fmt.Sprintf("rand.%s has a new seed each time: take seeded.Rand", s.Sel.Name))
			case from == "github.com/golb/golb/lb/lbtest/seeded" && !test:
				list = append(list, fmt.Sprintf("seeded.%s outside a function Test, where .ci/run does not see it", s.Sel.Name))
			}
			return true
		})
	}
	return list
}

// importNames are the import paths of a file by the names that it uses for them.
func importNames(file *ast.File) map[string]string {
	names := map[string]string{}
	for _, i := range file.Imports {
		path := strings.Trim(i.Path.Value, `"`)
		name := filepath.Base(strings.TrimSuffix(path, "/v2"))
		if i.Name != nil {
			name = i.Name.Name
		}
		names[name] = path
	}
	return names
}

func TestMistakesAreFound(t *testing.T) {
	const imports = `package p
import ("math/rand/v2"; r "pgregory.net/rapid"; "github.com/golb/golb/lb/lbtest/seeded"; "testing")
`
	for source, want := range map[string]string{
		`func TestX(t *testing.T) { r.Check(t, nil) }`:                        "rapid.Check",
		`func TestX(t *testing.T) { t.Run("", r.MakeCheck(nil)) }`:            "rapid.MakeCheck",
		`var x = rand.Uint64`:                                                 "rand.Uint64",
		`func f() int { return rand.N(7) }`:                                   "rand.N",
		`func f(t *testing.T) { seeded.Check(t, nil) }`:                       "seeded.Check",
		`func Testing(t *testing.T) { seeded.Check(t, nil) }`:                 "seeded.Check",
		`func TestX(t *testing.T) { seeded.Check(t, nil); seeded.Rand(t) }`:   "",
		`func TestX(t *testing.T) { r.Int() }; var x = rand.NewPCG(1, 2)`:     "",
		`func TestX(t *testing.T) { var x *rand.Rand = rand.New(nil); _ = x}`: "",
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "p.go", imports+source, 0)
		if err != nil {
			t.Fatal(err)
		}
		got := mistakes(file)
		if want == "" && len(got) > 0 || want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], want+" ")) {
			t.Errorf("%s: %q, want %q", source, got, want)
		}
	}
}
