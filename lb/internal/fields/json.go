package fields

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
)

// WriteJSON is Tree in JSON, on one line.
func WriteJSON(v reflect.Value) ([]byte, []Mistake) {
	n, wrong := Tree(v)
	if len(wrong) > 0 {
		return nil, wrong
	}
	var b bytes.Buffer
	n.json(&b)
	return b.Bytes(), nil
}

func (n *Node) json(b *bytes.Buffer) {
	switch {
	case n.Kind == Map:
		b.WriteByte('{')
		for i, item := range n.Items {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(Quote(n.Keys[i]))
			b.WriteByte(':')
			item.json(b)
		}
		b.WriteByte('}')
	case n.Kind == List:
		b.WriteByte('[')
		for i, item := range n.Items {
			if i > 0 {
				b.WriteByte(',')
			}
			item.json(b)
		}
		b.WriteByte(']')
	case n.Form == Word || n.Form == Quoted:
		b.WriteString(Quote(n.Text))
	default:
		b.WriteString(n.Text)
	}
}

// ReadJSON sets v, which must be settable, from a JSON value, and finds every mistake in
// it. Fields that the value does not name stay as they are. err is of what is no JSON.
func ReadJSON(data []byte, v reflect.Value) (wrong []Mistake, err error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	r := jsonReader{dec: dec}
	r.value("", TypeOf(v.Type()), v)
	return r.wrong, r.err
}

type jsonReader struct {
	dec   *json.Decoder
	wrong []Mistake
	err   error // of the decoder; nothing goes on after it
}

func (r *jsonReader) note(m Mistake) { r.wrong = append(r.wrong, m) }

func (r *jsonReader) token() json.Token {
	if r.err != nil {
		return nil
	}
	var t json.Token
	t, r.err = r.dec.Token()
	return t
}

// more reports whether the list or mapping that is being read goes on, and takes its
// end where it does not.
func (r *jsonReader) more() bool {
	if r.err == nil && r.dec.More() {
		return true
	}
	r.token()
	return false
}

// skip takes the rest of a value of which a token has been taken.
func (r *jsonReader) skip(t json.Token) {
	for depth := 0; r.err == nil; t = r.token() {
		switch t {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return
		}
	}
}

func (r *jsonReader) value(path string, t *Type, v reflect.Value) { r.rest(path, r.token(), t, v) }

// rest is value where the value's first token has been taken.
func (r *jsonReader) rest(path string, tok json.Token, t *Type, v reflect.Value) {
	if r.err != nil {
		return
	}
	for t.Kind == Pointer && tok != nil {
		v.Set(reflect.New(t.Elem.Go))
		t, v = t.Elem, v.Elem()
	}
	switch text, form, got := scalarOf(tok); {
	case tok == nil:
		r.note(Mistake{Path: path, Problem: "no value", Allowed: Allowed(t.Go)})
	case t.Kind == Any:
		if value, ok := r.free(path, tok); ok {
			v.Set(reflect.ValueOf(value))
		}
	case got == Scalar && (t.Kind == Scalar || t.Kind == Text):
		if problem, allowed := Set(t, v, text, form); problem != "" {
			r.note(Mistake{Path: path, Value: text, Problem: problem, Allowed: allowed})
		}
	case got == Map && t.Kind == Struct:
		r.structure(path, t, v)
	case got == Map && t.Kind == Map:
		r.mapping(path, t, v)
	case got == List && t.Kind == List:
		r.list(path, t, v)
	default:
		r.note(t.Mismatch(path, got, text))
		r.skip(tok)
	}
}

// scalarOf is what a token begins, or all of it, in words.
func scalarOf(tok json.Token) (text string, form Form, got Kind) {
	switch tok := tok.(type) {
	case string:
		return tok, Quoted, Scalar
	case json.Number:
		return tok.String(), Number, Scalar
	case bool:
		return strconv.FormatBool(tok), Bool, Scalar
	case json.Delim:
		if tok == '{' {
			return "", 0, Map
		}
	}
	return "", 0, List
}

// keys calls use for each key of the mapping that is being read. use takes its value.
func (r *jsonReader) keys(path string, use func(key, at string)) {
	seen := map[string]bool{}
	for r.more() {
		key, _ := r.token().(string)
		at := Join(path, key)
		if seen[key] {
			r.note(Mistake{Path: at, Problem: "key given twice"})
			r.skip(r.token())
			continue
		}
		seen[key] = true
		use(key, at)
	}
}

func (r *jsonReader) structure(path string, t *Type, v reflect.Value) {
	given := map[int]string{}
	var more reflect.Value // a map of its own: the one that was there may be somebody else's
	r.keys(path, func(key, at string) {
		i, found := t.Find(key)
		switch {
		case found && given[i] != "":
			r.note(Mistake{Path: at, Problem: fmt.Sprintf("given twice: the same as %s", given[i])})
			r.skip(r.token())
		case found:
			given[i] = key
			f := &t.Fields[i]
			r.member(Join(path, f.Name), f, v)
		case t.Inline != nil:
			if !more.IsValid() {
				more = clone(v.Field(t.Inline.Index))
				v.Field(t.Inline.Index).Set(more)
			}
			r.field(at, t.Inline.Type, more, key)
		default:
			m, _ := t.Unknown(at)
			r.note(m)
			r.skip(r.token())
		}
	})
	if path != "" && len(given) == 0 { // a mapping that is no key's value is the zero value
		t.SetEmpty(v)
	}
}

// member reads a field of the struct v.
func (r *jsonReader) member(path string, f *Field, v reflect.Value) {
	one, tok := v.Field(f.Index), r.token()
	if f.More == nil {
		r.rest(path, tok, f.Type, one)
		return
	}
	more := v.Field(f.More.Index)
	more.SetZero()
	if tok != json.Delim('[') {
		r.rest(path, tok, f.Type, one)
		return
	}
	list := reflect.New(f.More.Type.Go).Elem()
	r.list(path, f.More.Type, list)
	if list.Len() == 0 {
		r.note(Mistake{Path: path, Problem: "an empty list", Allowed: Allowed(f.Type.Go)})
		return
	}
	one.Set(list.Index(0))
	more.Set(list.Slice(1, list.Len()))
}

func (r *jsonReader) mapping(path string, t *Type, v reflect.Value) {
	v.Set(reflect.MakeMap(v.Type()))
	r.keys(path, func(key, at string) { r.field(at, t, v, key) })
}

func clone(m reflect.Value) reflect.Value {
	c := reflect.MakeMap(m.Type())
	for _, key := range m.MapKeys() {
		c.SetMapIndex(key, m.MapIndex(key))
	}
	return c
}

// entry sets what a map has for a key.
func (r *jsonReader) field(at string, t *Type, v reflect.Value, key string) {
	value := reflect.New(t.Elem.Go).Elem()
	r.value(at, t.Elem, value)
	v.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), value)
}

func (r *jsonReader) list(path string, t *Type, v reflect.Value) {
	list := reflect.MakeSlice(v.Type(), 0, 0)
	for i := 0; r.more(); i++ {
		item := reflect.New(t.Elem.Go).Elem()
		r.value(fmt.Sprintf("%s[%d]", path, i), t.Elem, item)
		list = reflect.Append(list, item)
	}
	v.Set(list)
}

// free reads a value whose type is not known: texts, and lists and mappings of them.
func (r *jsonReader) free(path string, tok json.Token) (any, bool) {
	if tok == nil {
		if r.err == nil {
			r.note(Mistake{Path: path, Problem: "no value"})
		}
		return nil, false
	}
	text, _, got := scalarOf(tok)
	switch got {
	case Scalar:
		return text, true
	case List:
		list := []any{}
		for i := 0; r.more(); i++ {
			if value, ok := r.free(fmt.Sprintf("%s[%d]", path, i), r.token()); ok {
				list = append(list, value)
			}
		}
		return list, true
	}
	mapping := map[string]any{}
	r.keys(path, func(key, at string) {
		if value, ok := r.free(at, r.token()); ok {
			mapping[key] = value
		}
	})
	return mapping, true
}
