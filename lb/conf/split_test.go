package conf

import (
	"fmt"
	"strings"
	"testing"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/google/go-cmp/cmp"
)

// described is a file by all that the decoder looks at.
func described(file *ast.File, err error) string {
	if err != nil {
		at, problem := syntaxError(err)
		return fmt.Sprint(at, problem)
	}
	var b strings.Builder
	for _, doc := range file.Docs {
		d := newDecoder("f")
		d.places = &places{values: map[string]position{}, keys: map[string]position{}}
		value, _ := d.value(doc.Body, doc.Body)
		fmt.Fprintf(&b, "%#v\n%v\n%v\n", value, d.places.values, d.errs)
	}
	return b.String()
}

// inPieces reports whether parsing a text by pieces and whole is the same.
func inPieces(t *testing.T, text string) {
	t.Helper()
	text = normalize(text)
	if tokens := lexer.Tokenize(text); len(tokens) > 0 {
		if _, deep := tooDeep(tokens); !deep {
			got := described(parseTokens(tokens, 2))
			want := described(parser.Parse(lexer.Tokenize(text), 0, parser.AllowDuplicateMapKey()))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s\nof %q", diff, text)
			}
		}
	}
}

var listFiles = []string{
	"a: 1\nb:\n- c: 1\n  d: [x, {y: z}]\n- c: 2\n\n- - e\n  - f\n-\n- g:\n- h\ni: 3\n",
	"b:\n  - c: |\n      - x\n    d: >-\n      y\n  # comment\n  - c: \"a\n\n      - b\"\n  - {c: [\n  - d, e]}\n  - f:\n      - g\n",
	"a:\n- b\n- c\n- d\ne:\n- f\n- g\n",
	"a:\n   - b: 1\n  c: 2\n   - d\n",
	"a:\n- b\n- c\n d\n- e: f\n   g: h\n",
	"--- # x\na:\n- b\n- c: &x y\n- *x\n- !t z\n- <<: *x\n...\n---\n- e\n",
	"a:\n- b\n- ? c\n  : d\n- \"e\":f\n- g: h: i\n",
	"a:\n-\n-", "a:\n- b:\n  -\n- c\n",
	"a:\n- b\n- c\n:", "a:\n- b\n- c\n: d\n",
	"a:\n- !\n- b\n", "---\na:\n- b\n- c\nd: e\n",
	"a: &x\n- b\n- c\n", "a: {b: [\n- c\n- d\n]}\n", "- a:\n  - b\n  - c\n- d\n", "a:\n- b\n- c\n]\n", "a:\n- b\n- [c\nd: e\n",
}

func TestPiecesAreTheWhole(t *testing.T) {
	for _, text := range listFiles {
		inPieces(t, text)
	}
	inPieces(t, "a:\n"+strings.Repeat("- b: {c: [1, 2]}\n  d:\n    - e\n", 100)+"f: g\n")
}

func TestLongListsAreParsedInPieces(t *testing.T) {
	tokens := lexer.Tokenize("x: y\nservices:\n" + strings.Repeat("  - vip: 192.0.2.1\n    servers:\n      - address: 10.0.0.1\n      - {address: 10.0.0.2}\n", longList) + "alerts: {}\n")
	dashes, end := itemsOf(tokens, longList)
	if len(dashes) != longList || tokens[end].Value != "alerts" {
		t.Fatalf("got %d items up to %d of %d", len(dashes), end, len(tokens))
	}
	if _, ok := parsePieces(tokens, dashes, end); !ok {
		t.Error("not parsed in pieces")
	}
}

func FuzzPieces(f *testing.F) {
	for _, text := range listFiles {
		f.Add(text)
	}
	f.Fuzz(inPieces)
}
