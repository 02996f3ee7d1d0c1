package forward

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strings"
	"testing"
)

// A Reason's name is its constant's in snake_case, and a comment says what it means. The
// constants are read from the source, so that a new one needs no change here.
func TestReasonNames(t *testing.T) {
	constants := reasonConstants(t)
	if last := len(constants) - 1; last != int(NumReasons) || constants[last].name != "NumReasons" {
		t.Fatalf("%d constants before NumReasons, want %d", last, NumReasons)
	}
	for i, c := range constants[:NumReasons] {
		t.Run(c.name, func(t *testing.T) {
			if got, want := Reason(i).String(), snakeCase(c.name); got != want {
				t.Errorf("String returns %q, want %q: see Reason.String", got, want)
			}
			if c.comment == "" {
				t.Error("has no comment")
			}
		})
	}
	if got := NumReasons.String(); got != "unknown" {
		t.Errorf("a Reason that does not exist: %q", got)
	}
}

type reasonConstant struct{ name, comment string }

// reasonConstants returns the constants of type Reason in the order of their values.
func reasonConstants(t *testing.T) (list []reasonConstant) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "reason.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range file.Decls {
		block, ok := d.(*ast.GenDecl)
		if !ok || block.Tok != token.CONST {
			continue
		}
		for _, s := range block.Specs {
			v := s.(*ast.ValueSpec)
			list = append(list, reasonConstant{v.Names[0].Name, strings.TrimSpace(v.Comment.Text())})
		}
	}
	return list
}

var wordStart = regexp.MustCompile(`([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])`)

// snakeCase turns BadIPHeader into bad_ip_header.
func snakeCase(name string) string {
	return strings.ToLower(wordStart.ReplaceAllString(name, "${1}${3}_${2}${4}"))
}
