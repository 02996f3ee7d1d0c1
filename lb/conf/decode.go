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
	failed map[string]bool // paths without the value that the file meant
	around map[string]bool // all that contain a failed path
}

func newDecoder(file string) *decoder {
	return &decoder{file: file, index: index{}, failed: map[string]bool{}, around: map[string]bool{}}
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
	names, fields := fieldsOf(v.Type())
	given := map[string]bool{}
	if ps, ok := pairs(n); ok {
		for _, p := range ps {
			given[p.Key.GetToken().Value] = true
		}
	}
	d.keys(path, n, v, func(name string, p *ast.MappingValueNode) {
		if i, ok := fields[name]; ok {
			d.decode(join(path, name), p.Key, p.Value, v.Field(i))
			return
		}
		e := lb.ConfigError{Path: join(path, name), Problem: "unknown key", Allowed: strings.Join(names, ", ")}
		if meant, ok := nearest(name, names); ok {
			e.Problem += fmt.Sprintf(", did you mean %q?", meant)
			if !given[meant] {
				d.lack(join(path, meant)) // that it is missing is this mistake again
			}
		}
		d.note(start(p.Key), e)
	})
}

// fieldsOf lists what a file may set in a struct: names in order, and their fields.
func fieldsOf(t reflect.Type) (names []string, fields map[string]int) {
	fields = map[string]int{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if !f.IsExported() || name == "-" || name == "" {
			continue
		}
		names = append(names, name)
		fields[name] = i
	}
	return names, fields
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
