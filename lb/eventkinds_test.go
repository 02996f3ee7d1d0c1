package lb

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
)

// TestEveryEventKindIsTold: a kind of event without a row in eventKinds would be neither
// logged nor sent.
func TestEveryEventKindIsTold(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "env.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if name, ok := spec.Type.(*ast.Ident); !ok || name.Name != "EventKind" {
			return true
		}
		found++
		kind, _ := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if k, ok := eventKinds[EventKind(kind)]; !ok || k.message == "" {
			t.Errorf("%s: no row in eventKinds", kind)
		}
		return true
	})
	if found != len(eventKinds) {
		t.Errorf("%d kinds in env.go, %d in eventKinds", found, len(eventKinds))
	}
}

// TestEverySubjectSaysWhatIsWrong: an alert's subject names the thing and its state, without
// a gap, and is one line.
func TestEverySubjectSaysWhatIsWrong(t *testing.T) {
	for _, e := range sampleEvents(time.Now(), "web") {
		a, ok := e.alert()
		if !ok {
			continue
		}
		if a.Server == "" || a.State == "" || a.Service == "" || strings.Contains(a.Summary, "  ") || strings.HasSuffix(a.Summary, " ") {
			t.Errorf("%s: %+v", e.Kind, a)
		}
		if strings.ContainsFunc(a.Summary, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%s: %q", e.Kind, a.Summary)
		}
	}
}
