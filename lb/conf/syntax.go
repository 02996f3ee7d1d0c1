package conf

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"

	"github.com/golb/golb/lb"
)

// maxDepth bounds nesting. A configuration needs 8; the parser is recursive and takes
// time that grows with the square of the depth.
const maxDepth = 64

// parse returns the one document of a file as a syntax tree.
func parse(name, text string) (body ast.Node, err error) {
	fail := func(at position, problem, allowed string) error {
		return Errors{{name, at.line, at.column, lb.ConfigError{Problem: problem, Allowed: allowed}}}
	}
	// A panic of the parser, which is not ours, counts as a syntax error.
	defer func() {
		if r := recover(); r != nil {
			body, err = nil, fail(position{1, 1}, fmt.Sprintf("not YAML (the parser failed: %v)", r), "")
		}
	}()

	text = normalize(strings.TrimPrefix(text, "\ufeff"))
	if at, ok := invalidText(text); !ok {
		return nil, fail(at, "not text", "UTF-8 without control characters")
	}
	tokens := lexer.Tokenize(hideColons(text))
	showColons(tokens, text)
	if at, ok := tooDeep(tokens); ok {
		return nil, fail(at, "nested too deep", fmt.Sprintf("%d levels", maxDepth))
	}
	file, err := parseTokens(tokens, longList)
	if err != nil || !isMapping(file) {
		if other := otherFormat(text); other != "" {
			return nil, fail(position{1, 1}, "a config of "+other, "golb's own, in YAML, as examples/golb.yaml")
		}
	}
	if err != nil {
		at, problem := syntaxError(err)
		return nil, fail(at, problem, "")
	}
	var docs []ast.Node
	for _, d := range file.Docs {
		if _, directive := d.Body.(*ast.DirectiveNode); d.Body != nil && !directive {
			docs = append(docs, d.Body)
		}
	}
	switch len(docs) {
	case 0:
		return nil, fail(position{1, 1}, "empty file", "interfaces and services")
	case 1:
		return docs[0], nil
	}
	return nil, fail(start(docs[1]), "a second document", "one document a file")
}

// otherFormats are how the configs of other balancers begin a line.
var otherFormats = []struct {
	name string
	line *regexp.Regexp
}{
	{"ldirectord", regexp.MustCompile(`(?m)^virtual6?\s*=`)},
	{"keepalived", regexp.MustCompile(`(?m)^(virtual_server|vrrp_instance|global_defs)\b`)},
	{"HAProxy", regexp.MustCompile(`(?m)^(frontend|backend|listen|defaults)\b`)},
	{"ipvsadm", regexp.MustCompile(`(?m)^-A -[tuf] `)},
}

// otherFormat names the balancer whose config a text looks like; "" is none.
func otherFormat(text string) string {
	for _, f := range otherFormats {
		if f.line.MatchString(text) {
			return f.name
		}
	}
	return ""
}

// isMapping reports whether a file begins with keys and values, as a config does.
func isMapping(file *ast.File) bool {
	for _, d := range file.Docs {
		switch d.Body.(type) {
		case *ast.MappingNode, *ast.MappingValueNode:
			return true
		}
	}
	return false
}

// normalize ends lines with a bare LF, without blanks before it: the lexer counts
// columns wrong after trailing blanks, and lines wrong where CRLFs are in a block.
func normalize(text string) string {
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)
	var b strings.Builder
	b.Grow(len(text))
	for line := range strings.Lines(text) {
		trimmed := strings.TrimRight(line, " \t\n")
		b.WriteString(trimmed)
		if strings.HasSuffix(line, "\n") {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// syntaxError gives the parser's message and place.
func syntaxError(err error) (position, string) {
	var y yaml.Error
	if !errors.As(err, &y) {
		return position{1, 1}, err.Error()
	}
	problem := "not YAML: " + strings.ToLower(y.GetMessage())
	if strings.Contains(problem, "mapping value is not allowed") {
		problem += " (a value with a colon before a space or at its end needs quotes)"
	}
	if strings.Contains(problem, "'\t'") {
		problem = "not YAML: a tab; lines are indented with spaces"
	}
	at := position{1, 1}
	if t := y.GetToken(); t != nil && t.Position != nil {
		at = position{max(t.Position.Line, 1), max(t.Position.Column, 1)}
	}
	return at, problem
}

// invalidText finds the first byte that YAML's character set lacks (YAML 1.2 §5.1).
func invalidText(text string) (at position, ok bool) {
	at = position{1, 1}
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && n == 1, r < ' ' && r != '\t' && r != '\n', r == 0x7f:
			return at, false
		case r == '\n':
			at = position{at.line + 1, 0}
		}
		at.column++
		i += n
	}
	return at, true
}

// tooDeep finds where brackets, or markers in a row on one line, nest deeper than
// maxDepth. Block structure needs ever more indentation and bounds itself.
func tooDeep(tokens token.Tokens) (position, bool) {
	brackets, markers, line := 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != line {
			line, markers = t.Position.Line, 0
		}
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			brackets++
		case token.MappingEndType, token.SequenceEndType:
			brackets--
		case token.SequenceEntryType, token.MappingKeyType, token.TagType, token.AnchorType:
			markers++
		}
		if brackets > maxDepth || markers > maxDepth {
			return position{t.Position.Line, t.Position.Column}, true
		}
	}
	return position{}, false
}
