package fields

import (
	"encoding"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Node is a value as files have it: what every format can write.
type Node struct {
	Form  Form   // of a scalar
	Text  string // of a scalar
	Kind  Kind   // Scalar, Map or List
	Keys  []string
	Items []*Node // of List; of Map, one for each of Keys
}

// Tree makes the Node of a value: of structs the fields that differ from their zero
// values, in the struct's order; of maps all keys in theirs. Empty lists and maps are
// not nil ones, and written. The mistakes are what no file could hold so that reading
// it gave the same value.
func Tree(v reflect.Value) (*Node, []Mistake) {
	var w writer
	return w.node("", TypeOf(v.Type()), v), w.wrong
}

type writer struct{ wrong []Mistake }

func (w *writer) fail(path string, value any, problem string) *Node {
	w.wrong = append(w.wrong, Mistake{Path: path, Value: fmt.Sprint(value), Problem: problem})
	return &Node{}
}

func (w *writer) node(path string, t *Type, v reflect.Value) *Node {
	switch t.Kind {
	case Pointer:
		if v.IsNil() {
			return w.fail(path, "", "no value")
		}
		return w.node(path, t.Elem, v.Elem())
	case Struct:
		return w.structure(path, t, v)
	case Map:
		return w.mapping(path, v, func(at string, item reflect.Value) *Node { return w.node(at, t.Elem, item) })
	case List:
		return w.list(path, v, func(at string, item reflect.Value) *Node { return w.node(at, t.Elem, item) })
	case Any:
		return w.free(path, v)
	case Text:
		return w.text(path, v)
	}
	return w.scalar(path, v)
}

func (w *writer) structure(path string, t *Type, v reflect.Value) *Node {
	n := &Node{Kind: Map}
	for _, f := range t.Fields {
		at, field := Join(path, f.Name), v.Field(f.Index)
		switch {
		case f.More != nil && !v.Field(f.More.Index).IsNil():
			n.Keys = append(n.Keys, f.Name)
			n.Items = append(n.Items, w.oneAndMore(at, f.Type, field, v.Field(f.More.Index)))
		case !field.IsZero():
			n.Keys = append(n.Keys, f.Name)
			n.Items = append(n.Items, w.node(at, f.Type, field))
		}
	}
	if t.Inline == nil {
		return n
	}
	more := w.node(path, t.Inline.Type, v.Field(t.Inline.Index))
	for i, key := range more.Keys {
		if _, taken := t.Find(key); taken {
			w.fail(Join(path, key), "", "a key of golb's own, which has a field")
		}
		n.Keys, n.Items = append(n.Keys, key), append(n.Items, more.Items[i])
	}
	return n
}

// oneAndMore is a list of one and more, see Field.More.
func (w *writer) oneAndMore(path string, t *Type, one, more reflect.Value) *Node {
	n := &Node{Kind: List, Items: []*Node{w.node(path+"[0]", t, one)}}
	for i := range more.Len() {
		n.Items = append(n.Items, w.node(fmt.Sprintf("%s[%d]", path, i+1), t, more.Index(i)))
	}
	return n
}

func (w *writer) mapping(path string, v reflect.Value, item func(string, reflect.Value) *Node) *Node {
	n := &Node{Kind: Map}
	byName := map[string]reflect.Value{}
	for _, key := range v.MapKeys() {
		byName[key.String()] = v.MapIndex(key)
	}
	n.Keys = slices.Sorted(maps.Keys(byName))
	for _, key := range n.Keys {
		if !utf8.ValidString(key) {
			w.fail(Join(path, key), "", "a key that is not UTF-8")
		}
		n.Items = append(n.Items, item(Join(path, key), byName[key]))
	}
	return n
}

func (w *writer) list(path string, v reflect.Value, item func(string, reflect.Value) *Node) *Node {
	n := &Node{Kind: List}
	for i := range v.Len() {
		n.Items = append(n.Items, item(fmt.Sprintf("%s[%d]", path, i), v.Index(i)))
	}
	return n
}

// text is a value that reads and writes itself. What it would not read is no value.
func (w *writer) text(path string, v reflect.Value) *Node {
	fail := func(problem string) *Node {
		w.wrong = append(w.wrong, Mistake{Path: path, Problem: problem, Allowed: Allowed(v.Type())})
		return &Node{}
	}
	m, ok := v.Interface().(encoding.TextMarshaler)
	if !ok {
		return fail(fmt.Sprintf("a %s, which has no text", v.Type()))
	}
	b, err := m.MarshalText()
	if err != nil {
		return fail(err.Error())
	}
	if len(b) == 0 {
		return fail("no value")
	}
	if err := reflect.New(v.Type()).Interface().(encoding.TextUnmarshaler).UnmarshalText(b); err != nil {
		return fail(fmt.Sprintf("%s: %s", b, problemOf(err, v)))
	}
	return &Node{Form: Word, Text: string(b)}
}

func (w *writer) scalar(path string, v reflect.Value) *Node {
	switch {
	case v.Type() == durationType:
		return &Node{Form: Word, Text: Duration(time.Duration(v.Int()))}
	case v.Kind() == reflect.String:
		if !utf8.ValidString(v.String()) {
			return w.fail(path, strconv.Quote(v.String()), "not UTF-8")
		}
		return &Node{Form: Quoted, Text: v.String()}
	case v.Kind() == reflect.Bool:
		return &Node{Form: Bool, Text: strconv.FormatBool(v.Bool())}
	case v.CanInt(), v.CanUint():
		return &Node{Form: Number, Text: fmt.Sprint(v)}
	}
	return w.fail(path, "", fmt.Sprintf("a %s cannot be set in a file", v.Type()))
}

// free is a value of any type. What a file's reader gets for a number or boolean is its
// text, which for keys of any type means the same.
func (w *writer) free(path string, v reflect.Value) *Node {
	for v.Kind() == reflect.Interface && !v.IsNil() {
		v = v.Elem()
	}
	if !v.IsValid() || v.Kind() == reflect.Interface {
		return w.fail(path, "", "no value")
	}
	if _, ok := v.Interface().(fmt.Stringer); ok {
		return &Node{Form: Quoted, Text: fmt.Sprint(v)}
	}
	switch v.Kind() {
	case reflect.Slice:
		return w.list(path, v, w.free)
	case reflect.Map:
		if v.Type().Key().Kind() == reflect.String {
			return w.mapping(path, v, w.free)
		}
	case reflect.Float32, reflect.Float64:
		if f := v.Float(); !math.IsInf(f, 0) && !math.IsNaN(f) {
			return &Node{Form: Number, Text: fmt.Sprint(v)}
		}
	default:
		return w.scalar(path, v)
	}
	return w.fail(path, v, fmt.Sprintf("a %s cannot be set in a file", v.Type()))
}

// Duration is time.Duration's text without what is 0 at its end: 5m, where that has 5m0s.
func Duration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// Quote puts a text in quotes so that JSON and YAML alike read it, on one line.
func Quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r == 0xfeff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
