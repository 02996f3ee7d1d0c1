package conf

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/internal/fields"
)

// decoder fills a Go value from a syntax tree and collects mistakes instead of
// stopping at one.
type decoder struct {
	file   string
	errs   Errors
	path   path            // of the present node
	places *places         // gets the place of each path; may be nil
	failed map[string]bool // paths whose value could not be read
	around map[string]bool // all paths that contain a failed path
}

func newDecoder(file string) *decoder {
	return &decoder{file: file, failed: map[string]bool{}, around: map[string]bool{}}
}

// placesOf finds the places of all paths in a file.
func placesOf(body ast.Node) *places {
	d, cfg := newDecoder(""), reflect.New(reflect.TypeFor[lb.Config]()).Elem()
	d.places = &places{values: map[string]position{}, keys: map[string]position{}}
	d.decode(fields.TypeOf(cfg.Type()), body, body, cfg)
	return d.places
}

// note adds a mistake.
func (d *decoder) note(at position, e lb.ConfigError) {
	d.errs = append(d.errs, Error{d.file, at.line, at.column, e})
}

// fail adds a mistake because of which the path's value cannot be read.
func (d *decoder) fail(at position, e lb.ConfigError) {
	if len(e.Value) > maxValue {
		e.Value = strings.ToValidUTF8(e.Value[:maxValue], "") + "..."
	}
	d.lack(e.Path)
	d.note(at, e)
}

// maxValue bounds what a mistake repeats of a value, in bytes.
const maxValue = 200

// problem returns a mistake about the present node.
func (d *decoder) problem(problem, allowed string) lb.ConfigError {
	return lb.ConfigError{Path: d.path.String(), Problem: problem, Allowed: allowed}
}

// lack marks a path as one whose value could not be read.
func (d *decoder) lack(path string) {
	d.failed[path] = true
	for p := path; p != "" && !d.around[p]; {
		p = parent(p)
		d.around[p] = true
	}
}

// follows reports whether a mistake at path may only be the result of another one in it, at
// it or around it.
func (d *decoder) follows(path string) bool {
	if d.around[path] {
		return true
	}
	for p := path; p != ""; p = parent(p) {
		if d.failed[p] {
			return true
		}
	}
	return d.failed[""]
}

// enter resolves a node, notes its place, and refuses an empty one; the mistake then points
// at key.
func (d *decoder) enter(key, n ast.Node, allowed func() string) (ast.Node, bool) {
	n, ok := d.resolve(n)
	if !ok {
		return nil, false
	}
	at := n
	if isNull(n) {
		at = key
		d.fail(start(key), d.problem("no value", allowed()))
	}
	if d.places != nil {
		d.places.values[d.path.String()] = start(at)
	}
	return n, !isNull(n)
}

// decode sets v, which must be settable, from n. A mistake about an empty n points at key.
func (d *decoder) decode(t *fields.Type, key, n ast.Node, v reflect.Value) {
	n, ok := d.enter(key, n, func() string { return fields.Allowed(t.Go) })
	if !ok {
		return
	}
	for t.Kind == fields.Pointer {
		v.Set(reflect.New(t.Elem.Go))
		t, v = t.Elem, v.Elem()
	}
	switch t.Kind {
	case fields.Struct:
		d.structure(t, n, v)
	case fields.Map:
		d.dictionary(t, n, v)
	case fields.List:
		d.list(t, n, v)
	case fields.Any:
		if value, ok := d.free(n); ok {
			v.Set(reflect.ValueOf(value))
		}
	default:
		d.scalar(t, n, v)
	}
}

func (d *decoder) scalar(t *fields.Type, n ast.Node, v reflect.Value) {
	text, form, ok := textOf(n)
	if !ok {
		d.mismatch(n, t.Go)
		return
	}
	if problem, allowed := fields.Set(t, v, text, form); problem != "" {
		d.fail(start(n), lb.ConfigError{Path: d.path.String(), Value: text, Problem: problem, Allowed: allowed})
	}
}

// resolve refuses anchors, aliases and tags, and removes those that it can, so that the
// value is decoded too.
func (d *decoder) resolve(n ast.Node) (ast.Node, bool) {
	for {
		problem := ""
		var inner ast.Node
		switch t := n.(type) {
		case *ast.AnchorNode:
			problem, inner = "anchor (&)", t.Value
		case *ast.TagNode:
			problem, inner = "tag (!)", t.Value
		case *ast.AliasNode:
			problem = "alias (*)"
		default:
			return n, true
		}
		d.fail(start(n), d.problem(problem, "the value itself, written out"))
		if inner == nil {
			return nil, false
		}
		n = inner
	}
}

func isNull(n ast.Node) bool {
	_, null := n.(*ast.NullNode)
	return null || n == nil
}

// pairs returns the keys and values of a mapping.
func pairs(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch m := n.(type) {
	case *ast.MappingNode:
		return m.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{m}, true
	}
	return nil, false
}

// keyName returns the name of a key.
func keyName(key ast.Node) (string, bool) {
	switch key.(type) {
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode, *ast.InfinityNode, *ast.NanNode:
		return key.GetToken().Value, true
	}
	return "", false
}

// noName adds the mistake of a key that has no name.
func (d *decoder) noName(key ast.Node) {
	if _, merge := key.(*ast.MergeKeyNode); merge {
		d.path.in("<<")
		d.note(start(key), d.problem("merge key (<<)", "the keys and values themselves, written out"))
		d.path.up()
		return
	}
	d.note(start(key), d.problem("complex key", "a plain word before a colon"))
}

// twice adds the mistake of a key with the name of an earlier one.
func (d *decoder) twice(key ast.Node, before int) {
	d.note(start(key), d.problem(fmt.Sprintf("key given twice, first on line %d", before), ""))
}

// structure decodes a mapping with known keys.
func (d *decoder) structure(t *fields.Type, n ast.Node, v reflect.Value) {
	ps, ok := pairs(n)
	if !ok {
		d.mismatch(n, t.Go)
		return
	}
	given := make([]bool, len(t.Fields))
	var others map[string]int // lines of keys that belong to no field
	for i, p := range ps {
		name, ok := keyName(p.Key)
		if !ok {
			d.noName(p.Key)
			continue
		}
		d.path.in(name)
		switch f, ok := t.Find(name); {
		case ok && given[f]:
			d.fieldTwice(t, ps[:i], p.Key, name, f)
		case ok:
			given[f] = true
			field := &t.Fields[f]
			d.path[len(d.path)-1].key = field.Name
			d.field(field, p, v)
		case others[name] > 0:
			d.twice(p.Key, others[name])
		default:
			if others == nil {
				others = map[string]int{}
			}
			others[name] = start(p.Key).line
			if t.Inline != nil {
				d.inline(name, p, v.Field(t.Inline.Index))
			} else {
				d.unknownKey(t, ps, p.Key)
			}
		}
		d.path.up()
	}
	if len(ps) == 0 {
		t.SetEmpty(v)
	}
}

// field decodes a field of the struct v.
func (d *decoder) field(f *fields.Field, p *ast.MappingValueNode, v reflect.Value) {
	s, isList := p.Value.(*ast.SequenceNode)
	if f.More == nil || !isList {
		d.decode(f.Type, p.Key, p.Value, v.Field(f.Index))
		return
	}
	if len(s.Values) == 0 {
		d.fail(start(s), d.problem("an empty list", fields.Allowed(f.Type.Go)))
		return
	}
	list := reflect.New(f.More.Type.Go).Elem()
	d.decode(f.More.Type, p.Key, s, list)
	v.Field(f.Index).Set(list.Index(0))
	v.Field(f.More.Index).Set(list.Slice(1, list.Len()))
}

// fieldTwice adds the mistake of a key for a field that an earlier key has set.
func (d *decoder) fieldTwice(t *fields.Type, before []*ast.MappingValueNode, key ast.Node, name string, f int) {
	first := ""
	for _, p := range before {
		other, ok := keyName(p.Key)
		if !ok {
			continue
		}
		if other == name {
			d.twice(key, start(p.Key).line)
			return
		}
		if i, ok := t.Find(other); ok && i == f && first == "" {
			first = other
		}
	}
	d.note(start(key), d.problem("given twice: the same as "+first, ""))
}

// unknownKey adds the mistake of a key that no field of t has.
func (d *decoder) unknownKey(t *fields.Type, all []*ast.MappingValueNode, key ast.Node) {
	m, meant := t.Unknown(d.path.String())
	if meant != "" && !has(all, t, meant) {
		d.lack(fields.Join(d.path[:len(d.path)-1].String(), meant)) // "missing" would be the same mistake again
	}
	d.note(start(key), lb.ConfigError(m))
}

// has reports whether one of the keys of a mapping belongs to a field.
func has(all []*ast.MappingValueNode, t *fields.Type, field string) bool {
	want, _ := t.Find(field)
	for _, p := range all {
		if name, ok := keyName(p.Key); ok {
			if f, ok := t.Find(name); ok && f == want {
				return true
			}
		}
	}
	return false
}

// inline adds a key that no field of the struct has to its inline map. The map's reader
// interprets the values: each is the text as written, or a list or mapping of texts.
func (d *decoder) inline(name string, p *ast.MappingValueNode, v reflect.Value) {
	if v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	if d.places != nil {
		d.places.keys[d.path.String()] = start(p.Key)
	}
	if value, ok := d.value(p.Key, p.Value); ok {
		v.SetMapIndex(reflect.ValueOf(name), reflect.ValueOf(value))
	}
}

// value decodes a value whose type is not known.
func (d *decoder) value(key, n ast.Node) (any, bool) {
	n, ok := d.enter(key, n, func() string { return "" })
	if !ok {
		return nil, false
	}
	return d.free(n)
}

func (d *decoder) free(n ast.Node) (any, bool) {
	if text, _, ok := textOf(n); ok {
		return text, true
	}
	if s, ok := n.(*ast.SequenceNode); ok {
		list := make([]any, 0, len(s.Values))
		for i, item := range s.Values {
			d.path.at(i)
			if value, ok := d.value(item, item); ok {
				list = append(list, value)
			}
			d.path.up()
		}
		return list, true
	}
	mapping := map[string]any{}
	d.entries(reflect.TypeOf(mapping), n, func(name string, p *ast.MappingValueNode) {
		if value, ok := d.value(p.Key, p.Value); ok {
			mapping[name] = value
		}
	})
	return mapping, true
}

// dictionary decodes a mapping with any keys.
func (d *decoder) dictionary(t *fields.Type, n ast.Node, v reflect.Value) {
	v.Set(reflect.MakeMap(v.Type()))
	d.entries(t.Go, n, func(name string, p *ast.MappingValueNode) {
		value := reflect.New(t.Elem.Go).Elem()
		d.decode(t.Elem, p.Key, p.Value, value)
		v.SetMapIndex(reflect.ValueOf(name).Convert(v.Type().Key()), value)
	})
}

// entries calls use for each key of a mapping that is a plain key and not a repeated one.
func (d *decoder) entries(t reflect.Type, n ast.Node, use func(name string, p *ast.MappingValueNode)) {
	ps, ok := pairs(n)
	if !ok {
		d.mismatch(n, t)
		return
	}
	lines := map[string]int{}
	for _, p := range ps {
		name, ok := keyName(p.Key)
		if !ok {
			d.noName(p.Key)
			continue
		}
		d.path.in(name)
		if lines[name] > 0 {
			d.twice(p.Key, lines[name])
		} else {
			lines[name] = start(p.Key).line
			use(name, p)
		}
		d.path.up()
	}
}

func (d *decoder) list(t *fields.Type, n ast.Node, v reflect.Value) {
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		d.mismatch(n, t.Go)
		return
	}
	v.Set(reflect.MakeSlice(t.Go, len(s.Values), len(s.Values)))
	for i, item := range s.Values {
		d.path.at(i)
		d.decode(t.Elem, item, item, v.Index(i))
		d.path.up()
	}
}
