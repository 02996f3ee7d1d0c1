package lb

import (
	"go/ast"
	"go/parser"
	"go/token"
	"testing"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb/internal/dataplane"
)

// TestEveryReasonHasANameAndIsPublic: each reason of the data plane has a name of its own, and
// one by which an embedder knows it.
func TestEveryReasonHasANameAndIsPublic(t *testing.T) {
	public := map[string]bool{}
	f, err := parser.ParseFile(token.NewFileSet(), "reason.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			public[s.Sel.Name] = true
		}
		return true
	})
	declared, err := parser.ParseFile(token.NewFileSet(), "internal/dataplane/reason.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(declared, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok {
			for _, name := range v.Names {
				if name.IsExported() && name.Name != "NumReasons" && !public[name.Name] {
					t.Errorf("lb/reason.go lacks %s", name.Name)
				}
			}
		}
		return true
	})
	names := map[string]Reason{}
	for r := Reason(forward.None); r < dataplane.NumReasons; r++ {
		name := r.String()
		if other, dup := names[name]; dup || name == "" || name == "unknown" {
			t.Errorf("reason %d is called %q, as %d is: a name of its own in lb/internal/dataplane/reason.go", r, name, other)
		}
		names[name] = r
		var back Reason
		if err := back.UnmarshalText([]byte(name)); err != nil || back != r {
			t.Errorf("%s: read back as %d, %v", name, back, err)
		}
	}
}
