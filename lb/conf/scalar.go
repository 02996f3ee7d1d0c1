package conf

import (
	"reflect"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/internal/fields"
)

// textOf returns the value of a scalar and its text in the file, that of a block as if in
// quotes; ok is false for lists and mappings.
func textOf(n ast.Node) (text string, form fields.Form, ok bool) {
	switch s := n.(type) {
	case *ast.LiteralNode:
		return s.Value.Value, fields.Quoted, true
	case *ast.StringNode:
		if t := s.GetToken().Type; t == token.SingleQuoteType || t == token.DoubleQuoteType {
			return s.Value, fields.Quoted, true
		}
		return s.Value, fields.Word, true
	case *ast.BoolNode:
		return n.GetToken().Value, fields.Bool, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, fields.Number, true
	}
	return "", 0, false
}

// mismatch adds the mistake of a node whose kind does not suit t.
func (d *decoder) mismatch(n ast.Node, t reflect.Type) {
	text, _, scalar := textOf(n)
	got := fields.List
	if _, mapping := pairs(n); mapping {
		got = fields.Map
	}
	if scalar {
		got = fields.Scalar
	}
	d.fail(start(n), lb.ConfigError(fields.TypeOf(t).Mismatch(d.path.String(), got, text)))
}
