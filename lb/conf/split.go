package conf

import (
	"slices"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// The parser remembers every key by its path from the top of what it parses, which with
// thousands of services is a third of its work. So the items of the first long list below
// a key at the top, which services are, are parsed a few at a time. A file that is not
// what this expects is parsed whole; so is one with a mistake, which is then reported as
// the parser reports it.

const (
	longList  = 64 // items from which on a list is parsed in pieces
	pieceSize = 16 // items
)

// parseTokens is parser.Parse, by pieces where a list has as many items as long.
func parseTokens(tokens token.Tokens, long int) (*ast.File, error) {
	tokens = slices.DeleteFunc(tokens, func(t *token.Token) bool { return t.Type == token.CommentType })
	if !slices.ContainsFunc(tokens[min(1, len(tokens)):], leansOnOthers) { // the first may be ---
		if items, end := itemsOf(tokens, long); len(items) >= long {
			if file, ok := parsePieces(tokens, items, end); ok {
				return file, nil
			}
		}
	}
	return parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
}

// leansOnOthers reports whether a token, or what comes of it, depends on tokens before or
// behind it on other lines. golb refuses all but markers of documents anyway.
func leansOnOthers(t *token.Token) bool {
	switch t.Type {
	case token.TagType, token.AnchorType, token.AliasType, token.MergeKeyType, token.MappingKeyType,
		token.DirectiveType, token.DocumentHeaderType, token.DocumentEndType, token.InvalidType:
		return true
	}
	return false
}

// itemsOf finds the dashes of the items of a block list that is the value of a key at the
// top and long, and where it ends.
func itemsOf(tokens token.Tokens, long int) (dashes []int, end int) {
	brackets := 0
	for i, t := range tokens {
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			brackets++
		case token.MappingEndType, token.SequenceEndType:
			brackets--
		}
		isDash := t.Type == token.SequenceEntryType && brackets == 0
		if len(dashes) == 0 {
			if isDash && i >= 2 && tokens[i-1].Type == token.MappingValueType && tokens[i-2].Position.Column == tokens[0].Position.Column {
				dashes = append(dashes, i)
			}
			continue
		}
		column := tokens[dashes[0]].Position.Column
		switch {
		case isDash && t.Position.Column == column:
			dashes = append(dashes, i)
		case t.Position.Line > tokens[i-1].Position.Line && t.Position.Column <= column && brackets == 0:
			if len(dashes) >= long {
				return dashes, i
			}
			dashes = dashes[:0]
		}
	}
	return dashes, len(tokens)
}

// parsePieces parses all but the items of a list, but for its first, and then these.
func parsePieces(tokens token.Tokens, dashes []int, end int) (*ast.File, bool) {
	if end < len(tokens) && (end+1 == len(tokens) || tokens[end].Type == token.MappingValueType || tokens[end+1].Type != token.MappingValueType) {
		return nil, false // no key follows
	}
	for _, next := range append(dashes[1:len(dashes):len(dashes)], end) {
		if tokens[next-1].Type == token.SequenceEntryType {
			return nil, false // an item of nothing, whose place the parser takes from what follows
		}
	}
	rest := slices.Concat(tokens[:dashes[1]], tokens[end:])
	file, err := parser.Parse(rest, 0, parser.AllowDuplicateMapKey())
	if err != nil || len(file.Docs) != 1 {
		return nil, false
	}
	var list *ast.SequenceNode
	top, _ := pairs(file.Docs[0].Body)
	for _, p := range top {
		if s, ok := p.Value.(*ast.SequenceNode); ok && s.Start == tokens[dashes[0]] {
			list = s
		}
	}
	if list == nil || len(list.Values) != 1 {
		return nil, false
	}
	for piece := range slices.Chunk(dashes[1:], pieceSize) {
		last := end
		if next := len(list.Values) + len(piece); next < len(dashes) {
			last = dashes[next]
		}
		items, err := parser.Parse(tokens[piece[0]:last], 0, parser.AllowDuplicateMapKey())
		if err != nil || len(items.Docs) != 1 {
			return nil, false
		}
		s, ok := items.Docs[0].Body.(*ast.SequenceNode)
		if !ok || len(s.Values) != len(piece) {
			return nil, false
		}
		list.Values = append(list.Values, s.Values...)
	}
	return file, true
}
