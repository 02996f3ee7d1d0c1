package conf

import (
	"bytes"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/internal/fields"
)

// Marshal writes a Config as YAML that Parse reads back as an equal Config: all fields that
// differ from their zero values, in the order of lb.Config, durations as 5s. The Config need
// not be valid. Marshal fails with lb.ConfigErrors for values that YAML cannot hold, such as
// text that is not UTF-8. Numbers and booleans among a check's parameters come back as
// strings, which mean the same.
//
// For JSON with the same keys use encoding/json: json.Marshal(cfg), or any part of it. Parse
// reads that too.
func Marshal(cfg lb.Config) ([]byte, error) {
	n, wrong := fields.Tree(reflect.ValueOf(cfg))
	if len(wrong) > 0 {
		errs := make(lb.ConfigErrors, len(wrong))
		for i, m := range wrong {
			errs[i] = lb.ConfigError(m)
		}
		return nil, errs
	}
	var w yamlWriter
	if len(n.Items) == 0 {
		w.b.WriteString("{}\n")
	}
	w.mapping(n, 0)
	return w.b.Bytes(), nil
}

// yamlWriter writes blocks, except that lists of scalars are flow collections. It quotes text
// that any version of YAML could read as something else.
type yamlWriter struct{ b bytes.Buffer }

// mapping writes keys and values; the first key goes to the present line.
func (w *yamlWriter) mapping(n *fields.Node, indent int) {
	for i, item := range n.Items {
		if i > 0 {
			w.indent(indent)
		}
		w.b.WriteString(scalar(fields.Quoted, n.Keys[i]))
		w.b.WriteByte(':')
		if !w.flowOrList(item, indent+2) {
			w.b.WriteByte('\n')
			w.indent(indent + 2)
			w.mapping(item, indent+2)
		}
	}
}

func (w *yamlWriter) list(n *fields.Node, indent int) {
	for _, item := range n.Items {
		w.indent(indent)
		w.b.WriteByte('-')
		if !w.flowOrList(item, indent+2) {
			w.b.WriteByte(' ')
			w.mapping(item, indent+2)
		}
	}
}

// flowOrList writes a value, unless it is a mapping that does not fit on the present line.
func (w *yamlWriter) flowOrList(n *fields.Node, indent int) bool {
	switch {
	case isFlow(n):
		w.b.WriteByte(' ')
		w.flow(n)
		w.b.WriteByte('\n')
	case n.Kind == fields.List:
		w.b.WriteByte('\n')
		w.list(n, indent)
	default:
		return false
	}
	return true
}

func (w *yamlWriter) indent(n int) { w.b.WriteString(strings.Repeat(" ", n)) }

// isFlow reports whether a value is written on its key's line.
func isFlow(n *fields.Node) bool {
	return n.Kind == fields.Scalar || len(n.Items) == 0 ||
		n.Kind == fields.List && !slices.ContainsFunc(n.Items, func(item *fields.Node) bool { return item.Kind != fields.Scalar })
}

func (w *yamlWriter) flow(n *fields.Node) {
	switch n.Kind {
	case fields.Map:
		w.b.WriteString("{}")
	case fields.List:
		w.b.WriteByte('[')
		for i, item := range n.Items {
			if i > 0 {
				w.b.WriteString(", ")
			}
			w.flow(item)
		}
		w.b.WriteByte(']')
	default:
		w.b.WriteString(scalar(n.Form, n.Text))
	}
}

// plainText matches text that every reader of YAML takes for text without quotes, except for
// the words of notText. plainWord matches an address, a duration, a name and their like.
var (
	plainText = regexp.MustCompile(`^[A-Za-z_/][A-Za-z0-9_./@+-]*$`)
	plainWord = regexp.MustCompile(`^[A-Za-z0-9]+([A-Za-z0-9./%-]|:+[A-Za-z0-9])*$`)
	notText   = regexp.MustCompile(`(?i)^(true|false|yes|no|on|off|y|n|null)$`)
)

func scalar(form fields.Form, text string) string {
	switch {
	case form == fields.Number || form == fields.Bool,
		form == fields.Word && plainWord.MatchString(text),
		form == fields.Quoted && plainText.MatchString(text) && !notText.MatchString(text):
		return text
	}
	return fields.Quote(text)
}
