package conf

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/golb/golb/lb"
)

// decoder fills a Go value from a syntax tree, notes where each path stands, and
// collects mistakes instead of stopping at one.
type decoder struct {
	file   string
	errs   Errors
	index  index
	keyAt  index           // where the keys stand of what is inline
	failed map[string]bool // paths without the value that the file meant
	around map[string]bool // all that contain a failed path
}

func newDecoder(file string) *decoder {
	return &decoder{file: file, index: index{}, keyAt: index{}, failed: map[string]bool{}, around: map[string]bool{}}
}

// note collects a mistake.
func (d *decoder) note(at position, e lb.ConfigError) {
	d.errs = append(d.errs, Error{d.file, at.line, at.column, e})
}

// fail collects a mistake that leaves the path without its value.
func (d *decoder) fail(at position, e lb.ConfigError) {
	d.lack(e.Path)
	d.note(at, e)
}

// lack marks a path as without the value that the file meant.
func (d *decoder) lack(path string) {
	d.failed[path] = true
	for p := path; p != "" && !d.around[p]; {
		p = parent(p)
		d.around[p] = true
	}
}

// follows says whether a mistake at path may be no more than the result of one
// already collected: in it, at it or around it.
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

var durationType = reflect.TypeFor[time.Duration]()

// decode sets v, which must be settable, from n. key is the node to point at where
// n is nothing.
func (d *decoder) decode(path string, key, n ast.Node, v reflect.Value) {
	n, ok := d.resolve(path, n)
	if !ok {
		return
	}
	d.index[path] = start(n)
	if isNull(n) {
		d.index[path] = start(key)
		d.fail(start(key), lb.ConfigError{Path: path, Problem: "no value", Allowed: allowed(v.Type())})
		return
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		d.decode(path, key, n, v.Elem())
		return
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		d.text(path, n, v, u)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(path, n, v)
	case reflect.Map:
		d.dictionary(path, n, v)
	case reflect.Slice:
		d.list(path, n, v)
	default:
		d.scalar(path, n, v)
	}
}

// resolve refuses what only abbreviates or types other nodes, and takes off what
// can be taken off so that the rest is looked at as well.
func (d *decoder) resolve(path string, n ast.Node) (ast.Node, bool) {
	for {
		e := lb.ConfigError{Path: path}
		var inner ast.Node
		switch t := n.(type) {
		case *ast.AnchorNode:
			e.Problem, inner = "anchor (&)", t.Value
		case *ast.TagNode:
			e.Problem, inner = "tag (!)", t.Value
		case *ast.AliasNode:
			e.Problem = "alias (*)"
		default:
			return n, true
		}
		e.Allowed = "the value itself, written out"
		d.fail(start(n), e)
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

// keys calls use for each key of a mapping, without those that are given again or
// are no plain keys.
func (d *decoder) keys(path string, n ast.Node, v reflect.Value, use func(name string, p *ast.MappingValueNode)) {
	ps, ok := pairs(n)
	if !ok {
		d.wrongType(path, n, v.Type())
		return
	}
	first := map[string]position{}
	for _, p := range ps {
		name, ok := d.keyName(path, p.Key)
		if !ok {
			continue
		}
		at := start(p.Key)
		if before, dup := first[name]; dup {
			d.note(at, lb.ConfigError{Path: join(path, name), Problem: fmt.Sprintf("key given twice, first on line %d", before.line)})
			continue
		}
		first[name] = at
		use(name, p)
	}
}

func (d *decoder) keyName(path string, key ast.Node) (string, bool) {
	switch key.(type) {
	case *ast.MergeKeyNode:
		d.note(start(key), lb.ConfigError{Path: join(path, "<<"), Problem: "merge key (<<)", Allowed: "the keys and values themselves, written out"})
		return "", false
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode, *ast.InfinityNode, *ast.NanNode:
		return key.GetToken().Value, true
	}
	d.note(start(key), lb.ConfigError{Path: path, Problem: "complex key", Allowed: "a plain word before a colon"})
	return "", false
}

func (d *decoder) structure(path string, n ast.Node, v reflect.Value) {
	f := fieldsOf(v.Type())
	given := map[string]bool{}
	if ps, ok := pairs(n); ok {
		for _, p := range ps {
			given[f.canonical(p.Key.GetToken().Value)] = true
		}
	}
	first := map[string]string{}
	d.keys(path, n, v, func(name string, p *ast.MappingValueNode) {
		to, known := f.names[f.canonical(name)]
		switch {
		case known && first[f.canonical(name)] != "":
			d.note(start(p.Key), lb.ConfigError{Path: join(path, name), Problem: fmt.Sprintf("given twice: the same as %s", first[f.canonical(name)])})
		case known:
			first[f.canonical(name)] = name
			d.decode(join(path, f.canonical(name)), p.Key, p.Value, v.Field(to))
		case f.inline >= 0:
			d.inline(join(path, name), name, p, v.Field(f.inline))
		default:
			e := lb.ConfigError{Path: join(path, name), Problem: "unknown key", Allowed: strings.Join(f.list, ", ")}
			if meant, ok := suggest(&e); ok && !given[meant] {
				d.lack(join(path, meant)) // that it is missing is this mistake again
			}
			d.note(start(p.Key), e)
		}
	})
}

// suggest adds to an unknown key which one it was meant to be, if any is close.
func suggest(e *lb.ConfigError) (string, bool) {
	meant, ok := nearest(e.Path[strings.LastIndexByte(e.Path, '.')+1:], strings.Split(e.Allowed, ", "))
	if ok {
		e.Problem += fmt.Sprintf(", did you mean %q?", meant)
	}
	return meant, ok
}

// fields is what a file may set in a struct.
type fields struct {
	list   []string          // names, in order
	names  map[string]int    // their fields
	also   map[string]string // other names of theirs
	inline int               // field that takes all other keys, -1 none
}

func fieldsOf(t reflect.Type) fields {
	f := fields{names: map[string]int{}, also: map[string]string{}, inline: -1}
	for i := range t.NumField() {
		field := t.Field(i)
		name, option, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		switch {
		case !field.IsExported() || name == "-":
		case option == "inline":
			f.inline = i
		case name != "":
			f.list = append(f.list, name)
			f.names[name] = i
			if also := field.Tag.Get("also"); also != "" {
				for other := range strings.SplitSeq(also, ",") {
					f.also[other] = name
				}
			}
		}
	}
	return f
}

// canonical is a key by its first name.
func (f *fields) canonical(name string) string {
	if first, ok := f.also[name]; ok {
		return first
	}
	return name
}

// inline adds a key that is none of a struct's own to the map that takes those. What
// they mean is known to who reads the map: each value is text as it is written, or a
// list or mapping of such.
func (d *decoder) inline(path, name string, p *ast.MappingValueNode, v reflect.Value) {
	if v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	d.keyAt[path] = start(p.Key)
	if value, ok := d.free(path, p.Key, p.Value); ok {
		v.SetMapIndex(reflect.ValueOf(name), reflect.ValueOf(value))
	}
}

// free decodes a value whose type is not known.
func (d *decoder) free(path string, key, n ast.Node) (any, bool) {
	n, ok := d.resolve(path, n)
	if !ok {
		return nil, false
	}
	d.index[path] = start(n)
	if isNull(n) {
		d.index[path] = start(key)
		d.fail(start(key), lb.ConfigError{Path: path, Problem: "no value"})
		return nil, false
	}
	if text, _, ok := textOf(n); ok {
		return text, true
	}
	if s, ok := n.(*ast.SequenceNode); ok {
		list := make([]any, 0, len(s.Values))
		for i, item := range s.Values {
			if value, ok := d.free(fmt.Sprintf("%s[%d]", path, i), item, item); ok {
				list = append(list, value)
			}
		}
		return list, true
	}
	mapping := map[string]any{}
	d.keys(path, n, reflect.ValueOf(mapping), func(name string, p *ast.MappingValueNode) {
		if value, ok := d.free(join(path, name), p.Key, p.Value); ok {
			mapping[name] = value
		}
	})
	return mapping, true
}

func (d *decoder) dictionary(path string, n ast.Node, v reflect.Value) {
	v.Set(reflect.MakeMap(v.Type()))
	d.keys(path, n, v, func(name string, p *ast.MappingValueNode) {
		value := reflect.New(v.Type().Elem()).Elem()
		d.decode(join(path, name), p.Key, p.Value, value)
		v.SetMapIndex(reflect.ValueOf(name).Convert(v.Type().Key()), value)
	})
}

func (d *decoder) list(path string, n ast.Node, v reflect.Value) {
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		d.wrongType(path, n, v.Type())
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(s.Values), len(s.Values)))
	for i, item := range s.Values {
		d.decode(fmt.Sprintf("%s[%d]", path, i), item, item, v.Index(i))
	}
}
