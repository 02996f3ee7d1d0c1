package conf

import (
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"
)

// In a flow collection a colon in the middle of a plain scalar is text (YAML 1.2.2
// §7.3.3): [2001:db8::1, 192.0.2.1:80, 12:30]. The lexer takes it for the colon of a
// mapping wherever a { is open, except behind another such colon and before a slash.
// So the lexer is given another character of the same width in place of those colons,
// and they are put back into its tokens.

// textColon stands for a colon that is text. No file has it: invalidText refuses it.
const textColon = '\x01'

// hideColons replaces the colons that are text wherever they stand: those before a
// character that a plain scalar in a flow collection may go on with. Only behind a
// quoted key, or one that is a flow collection itself, does such a colon separate.
// Within quotes, blocks and comments it is text as well, so that none of them needs to
// be recognized here. A colon right behind a quote or bracket that belongs to a plain
// scalar is missed, and read as the lexer reads it.
func hideColons(text string) string {
	if !strings.Contains(text, "{") {
		return text
	}
	b := []byte(text)
	last := byte(0) // the last character that is not blank or newline
	for i, c := range b {
		if c == ':' && i+1 < len(b) && !strings.ContainsRune(" \t\n,[]{}", rune(b[i+1])) && !strings.ContainsRune(`"']}`, rune(last)) {
			b[i] = textColon
		}
		if c != ' ' && c != '\t' && c != '\n' {
			last = c
		}
	}
	return string(b)
}

// showColons puts the colons back into the tokens of a text.
func showColons(tokens token.Tokens, text string) {
	const c = string(textColon)
	line, column := 1, 1 // of text, which is cut up to there
	for _, t := range tokens {
		hidden := strings.Count(t.Origin, c)
		if hidden == 0 {
			continue
		}
		if strings.Count(t.Value, c) > hidden { // an escape made some of them
			for line < t.Position.Line || line == t.Position.Line && column < t.Position.Column {
				r, n := utf8.DecodeRuneInString(text)
				if text, column = text[n:], column+1; r == '\n' {
					line, column = line+1, 1
				}
			}
			t.Value = unquote(text)
		} else {
			t.Value = strings.ReplaceAll(t.Value, c, ":")
		}
		t.Origin = strings.ReplaceAll(t.Origin, c, ":")
	}
}

// unquote reads the double quotes that a text begins with.
func unquote(text string) string {
	end := 1
	for end < len(text) && text[end] != '"' {
		if text[end] == '\\' {
			end++
		}
		end++
	}
	return lexer.Tokenize(text[:min(end+1, len(text))])[0].Value
}
