// Package fields says how the fields of a configuration are called in a file and how
// their values are written there. It knows the `yaml` and `also` tags of structs, and
// serves every format: package conf reads and writes YAML by it, package lb JSON.
package fields

import (
	"encoding"
	"reflect"
	"strings"
	"time"
)

// Kind is what a file has for a value of a type.
type Kind uint8

// The kinds.
const (
	Scalar  Kind = iota // a text, number or boolean
	Text                // a text that the type reads itself: encoding.TextUnmarshaler
	Pointer             // what its element has; nil is not written
	Struct              // a mapping with known keys
	Map                 // a mapping with any keys
	List
	Any // whatever there is; scalars as the text that they are written as
)

// Type is a Go type and what is in it, looked at once, so that reading thousands of
// values does not look at tags anew.
type Type struct {
	Go     reflect.Type
	Kind   Kind
	Elem   *Type   // of Pointer, Map and List
	Fields []Field // of Struct, in the order of Go's
	Inline *Field  // of Struct: the map that takes all other keys; nil is none
	byKey  map[string]int
}

// Field is a field that a file may set.
type Field struct {
	Name  string // the key in a file; "" for Inline
	Index int    // as reflect counts
	Type  *Type
	// More is the list for the items after the first, where a file may have a list of what
	// is mostly one; its tag is the key and ",more". nil is none. A list of one makes it
	// empty, not nil.
	More *Field
	// Given is the field's value where the mapping is there and empty; its tag is given. ""
	// is the zero value.
	Given string
}

// TypeOf looks at a type. Types that contain themselves are not supported.
func TypeOf(t reflect.Type) *Type {
	x := &Type{Go: t, Kind: kindOf(t)}
	switch x.Kind {
	case Pointer, Map, List:
		x.Elem = TypeOf(t.Elem())
	case Struct:
		x.structure()
	}
	return x
}

func kindOf(t reflect.Type) Kind {
	if reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return Text
	}
	switch t.Kind() {
	case reflect.Pointer:
		return Pointer
	case reflect.Struct:
		return Struct
	case reflect.Map:
		return Map
	case reflect.Slice:
		return List
	case reflect.Interface:
		return Any
	}
	return Scalar
}

func (x *Type) structure() {
	x.byKey = map[string]int{}
	for i := range x.Go.NumField() {
		f := x.Go.Field(i)
		name, option, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case !f.IsExported() || name == "-":
		case option == "inline":
			x.Inline = &Field{Index: i, Type: TypeOf(f.Type)}
		case option == "more":
			x.Fields[x.byKey[name]].More = &Field{Name: name, Index: i, Type: TypeOf(f.Type)}
		case name != "":
			x.byKey[name] = len(x.Fields)
			if also := f.Tag.Get("also"); also != "" {
				for other := range strings.SplitSeq(also, ",") {
					x.byKey[other] = len(x.Fields)
				}
			}
			x.Fields = append(x.Fields, Field{Name: name, Index: i, Type: TypeOf(f.Type), Given: f.Tag.Get("given")})
		}
	}
}

// SetEmpty sets the fields of v to what an empty mapping stands for.
func (x *Type) SetEmpty(v reflect.Value) {
	for _, f := range x.Fields {
		if f.Given != "" {
			Set(f.Type, v.Field(f.Index), f.Given, Word)
		}
	}
}

// Find returns the place in Fields of a key, by whichever of its names.
func (x *Type) Find(key string) (int, bool) {
	i, ok := x.byKey[key]
	return i, ok
}

// Names lists the keys of a Struct by their first names.
func (x *Type) Names() []string {
	names := make([]string, len(x.Fields))
	for i, f := range x.Fields {
		names[i] = f.Name
	}
	return names
}

var durationType = reflect.TypeFor[time.Duration]()

// Join adds a key to a path: services[0] and vip are services[0].vip.
func Join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// Mistake is one value that a config cannot have, as lb.ConfigError has it.
type Mistake struct {
	Path    string
	Value   string // as given; "" where nothing was
	Problem string
	Allowed string // what would be right; "" where Problem says it
}
