package conf

import (
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// position is a place in a file, both numbers from 1.
type position struct{ line, column int }

// path is the decoder's place in a file. It becomes text only when it is asked for, since
// most paths never are.
type path []step

// step is a key, or an item of a list by its number.
type step struct {
	key    string
	item   int
	isItem bool
}

func (p path) String() string {
	var b strings.Builder
	for _, s := range p {
		if s.isItem {
			b.WriteByte('[')
			b.WriteString(strconv.Itoa(s.item))
			b.WriteByte(']')
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(s.key)
	}
	return b.String()
}

// in descends to a key, at to an item of a list; up returns.
func (p *path) in(key string) { *p = append(*p, step{key: key}) }
func (p *path) at(item int)   { *p = append(*p, step{item: item, isItem: true}) }
func (p *path) up()           { *p = (*p)[:len(*p)-1] }

// places are the places of a file's parts.
type places struct {
	values map[string]position // by path
	keys   map[string]position // of the keys of values that another package interprets
}

// find returns the place of a path, or of the nearest part of the file around it.
func (x *places) find(path string) (at position, exact bool) {
	for p := path; ; p = parent(p) {
		if at, ok := x.values[p]; ok {
			return at, p == path
		}
		if p == "" {
			return position{1, 1}, false
		}
	}
}

// parent cuts the last element off a path: a.b[1] → a.b → a → "".
func parent(path string) string {
	return path[:max(strings.LastIndexAny(path, ".["), 0)]
}

// start returns the place of a node's first character. Of a block mapping the parser keeps
// the token of the first colon only.
func start(n ast.Node) position {
	switch m := n.(type) {
	case *ast.MappingNode:
		if !m.IsFlowStyle && len(m.Values) > 0 {
			return start(m.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return start(m.Key)
	}
	if n == nil {
		return position{1, 1}
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		return position{max(t.Position.Line, 1), max(t.Position.Column, 1)}
	}
	return position{1, 1}
}
