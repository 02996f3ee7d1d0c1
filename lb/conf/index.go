package conf

import (
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// position is a place in a file, both numbers from 1.
type position struct{ line, column int }

// index is where the value of each path stands that a file gives.
type index map[string]position

// find returns the place of a path, or of the nearest part of the file around it.
func (x index) find(path string) (at position, exact bool) {
	for p := path; ; p = parent(p) {
		if at, ok := x[p]; ok {
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

// join adds a key to a path.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// start is the place of a node's first character. The parser keeps for a block
// mapping the token of its first colon, which is not what a reader looks for.
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
