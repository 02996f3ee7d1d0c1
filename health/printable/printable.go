// Package printable makes text that a peer sent safe to show: in a log, on a terminal
// and in mail.
package printable

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Line returns s as one line of at most limit bytes, and "..." where that cut it.
// Characters that are not printable as [unicode.IsPrint] has it (controls, escapes,
// overrides of the writing direction) and bytes that are not UTF-8 become spaces;
// several spaces in a row become one, and those at either end go.
func Line(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s[:min(len(s), 2*limit)])
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "..."
	}
	return s
}

// Error returns an error whose text is that of err as a [Line]; it wraps err. nil
// stays nil.
func Error(err error, limit int) error {
	if err == nil {
		return nil
	}
	line := Line(err.Error(), limit)
	if line == err.Error() {
		return err
	}
	return &printed{line, err}
}

type printed struct {
	line string
	err  error
}

func (p *printed) Error() string { return p.line }
func (p *printed) Unwrap() error { return p.err }
