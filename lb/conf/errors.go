package conf

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/internal/fields"
)

// Error is one mistake in a file.
type Error struct {
	File         string
	Line, Column int // from 1; a column is a Unicode character
	lb.ConfigError
}

// Error prints file:line:column, path, value, problem and what is allowed in one line.
func (e Error) Error() string {
	text := e.ConfigError.Error()
	if e.Path == "" {
		text = strings.TrimPrefix(text, ": ")
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, text)
}

// Errors is every mistake in a file, in the order of the file.
type Errors []Error

// Error prints one mistake a line.
func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

func (es Errors) sort() {
	slices.SortStableFunc(es, func(a, b Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

// locate gives each of lb's mistakes its place; it returns nil where err has none.
func (x *places) locate(file string, err error) Errors {
	found := mistakes(err)
	errs := make(Errors, len(found))
	for i, e := range found {
		at, exact := x.find(e.Path)
		if !exact {
			e.Value = "" // a default, not what the file says
		}
		if key, ok := x.keys[e.Path]; ok && e.Problem == "unknown key" {
			at = key
			m := fields.Mistake(e)
			fields.Suggest(&m)
			e = lb.ConfigError(m)
		}
		errs[i] = Error{File: file, Line: at.line, Column: at.column, ConfigError: e}
	}
	return errs
}

// mistakes returns lb's mistakes in an error.
func mistakes(err error) lb.ConfigErrors {
	var found lb.ConfigErrors
	var one lb.ConfigError
	switch {
	case errors.As(err, &found):
	case errors.As(err, &one):
		found = lb.ConfigErrors{one}
	}
	return found
}
