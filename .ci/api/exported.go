package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// exportedAPI lists what programs can use of the packages that they can import, for
// Linux, in order.
func exportedAPI() ([]string, error) {
	exports, public, err := compile()
	if err != nil {
		return nil, err
	}
	imp := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	l := &lister{}
	for _, path := range public {
		pkg, err := imp.Import(path)
		if err != nil {
			return nil, err
		}
		l.pkg = pkg
		l.list()
	}
	slices.Sort(l.lines)
	return slices.Compact(l.lines), nil
}

// compile has the module compiled, and returns the files with each package's exported
// types by import path, and the import paths of those packages that are an API.
func compile() (exports map[string]string, public []string, err error) {
	cmd := exec.Command("go", "list", "-pgo=off", "-export", "-deps", "-json=ImportPath,Name,Export,Module", "./...")
	cmd.Env = append(os.Environ(), "GOOS=linux")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, nil, fmt.Errorf("go list: %w", err)
	}
	exports = map[string]string{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath, Name, Export string
			Module                   *struct{ Main bool }
		}
		switch err := d.Decode(&p); {
		case errors.Is(err, io.EOF):
			return exports, public, nil
		case err != nil:
			return nil, nil, fmt.Errorf("go list: %w", err)
		}
		exports[p.ImportPath] = p.Export
		if p.Module != nil && p.Module.Main && p.Name != "main" && !slices.Contains(strings.Split(p.ImportPath, "/"), "internal") {
			public = append(public, p.ImportPath)
		}
	}
}

const module = "github.com/golb/golb/"

// lister writes down a package at a time, a line for each thing that a program can name.
type lister struct {
	pkg   *types.Package
	lines []string
}

func (l *lister) line(format string, args ...any) {
	l.lines = append(l.lines, "pkg "+strings.TrimPrefix(l.pkg.Path(), module)+", "+fmt.Sprintf(format, args...))
}

func (l *lister) list() {
	scope := l.pkg.Scope()
	for _, name := range scope.Names() {
		if !token.IsExported(name) {
			continue
		}
		switch o := scope.Lookup(name).(type) {
		case *types.Const:
			l.line("const %s %s = %s", name, l.typeName(o.Type()), o.Val().ExactString())
		case *types.Var:
			l.line("var %s %s", name, l.typeName(o.Type()))
		case *types.Func:
			l.line("func %s%s", name, l.signature(o.Signature()))
		case *types.TypeName:
			l.typeDecl(o)
		}
	}
}

func (l *lister) typeDecl(o *types.TypeName) {
	if o.IsAlias() {
		l.line("type %s = %s", o.Name(), l.typeName(types.Unalias(o.Type())))
		return
	}
	named := o.Type().(*types.Named)
	name := o.Name() + l.typeParams(named.TypeParams())
	switch u := named.Underlying().(type) {
	case *types.Struct:
		l.line("type %s struct", name)
		l.fields(name, u)
	case *types.Interface:
		l.line("type %s interface", name)
		l.interfaceMethods(name, u)
		return
	default:
		l.line("type %s %s", name, l.typeName(u))
	}
	values := types.NewMethodSet(named)
	pointers := types.NewMethodSet(types.NewPointer(named))
	for i := range pointers.Len() {
		m := pointers.At(i)
		f := m.Obj().(*types.Func)
		if !f.Exported() || ofExportedField(named, m.Index()) {
			continue
		}
		receiver := "*" + name
		if values.Lookup(f.Pkg(), f.Name()) != nil {
			receiver = name
		}
		l.line("method (%s) %s%s", receiver, f.Name(), l.signature(m.Type().(*types.Signature)))
	}
}

// ofExportedField reports whether a method found at index is one of an embedded field that
// is listed itself.
func ofExportedField(named *types.Named, index []int) bool {
	s, ok := named.Underlying().(*types.Struct)
	return ok && len(index) > 1 && s.Field(index[0]).Exported()
}

// fields lists those of a struct, and those that an embedded one without an exported name
// lends it.
func (l *lister) fields(name string, s *types.Struct) {
	for i := range s.NumFields() {
		f := s.Field(i)
		switch {
		case f.Exported() && f.Embedded():
			l.line("type %s struct, embedded %s", name, l.typeName(f.Type()))
		case f.Exported():
			l.line("type %s struct, %s %s", name, f.Name(), l.typeName(f.Type()))
		case f.Embedded():
			t := f.Type()
			if p, ok := t.(*types.Pointer); ok {
				t = p.Elem()
			}
			if inner, ok := t.Underlying().(*types.Struct); ok {
				l.fields(name, inner)
			}
		}
	}
}

func (l *lister) interfaceMethods(name string, i *types.Interface) {
	for n := range i.NumMethods() {
		if m := i.Method(n); m.Exported() {
			l.line("type %s interface, %s%s", name, m.Name(), l.signature(m.Signature()))
		} else {
			l.line("type %s interface, not for other packages to implement", name)
		}
	}
	for n := range i.NumEmbeddeds() {
		if u, ok := i.EmbeddedType(n).(*types.Union); ok {
			l.line("type %s interface, %s", name, l.typeName(u))
		}
	}
}

func (l *lister) typeParams(list *types.TypeParamList) string {
	if list.Len() == 0 {
		return ""
	}
	var names []string
	for i := range list.Len() {
		names = append(names, list.At(i).Obj().Name()+" "+l.typeName(list.At(i).Constraint()))
	}
	return "[" + strings.Join(names, ", ") + "]"
}

// qualifier names other packages by their whole path, since two may have one name; those
// of this module without the module's.
func (l *lister) qualifier(p *types.Package) string {
	if p == l.pkg {
		return ""
	}
	return strings.TrimPrefix(p.Path(), module)
}

func (l *lister) typeName(t types.Type) string {
	if s, ok := t.(*types.Signature); ok {
		return "func" + l.signature(s)
	}
	return types.TypeString(t, l.qualifier)
}

// signature is without names of parameters: to rename one changes no API.
func (l *lister) signature(s *types.Signature) string {
	nameless := func(t *types.Tuple) *types.Tuple {
		var list []*types.Var
		for v := range t.Variables() {
			list = append(list, types.NewParam(token.NoPos, nil, "", v.Type()))
		}
		return types.NewTuple(list...)
	}
	var b bytes.Buffer
	b.WriteString(l.typeParams(s.TypeParams()))
	types.WriteSignature(&b, types.NewSignatureType(nil, nil, nil, nameless(s.Params()), nameless(s.Results()), s.Variadic()), l.qualifier)
	return b.String()
}
