package health

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ParamError is one mistake in the parameters of a check.
type ParamError struct {
	Key     string // as given
	Value   string // as given; "" where there is none or it is secret
	Problem string
	Allowed string // what would be right; "" where Problem tells
}

// Error returns key, value, problem and what is allowed in one line.
func (e ParamError) Error() string {
	s := e.Key
	if e.Value != "" {
		s += fmt.Sprintf(" %q", e.Value)
	}
	s += ": " + e.Problem
	if e.Allowed != "" {
		s += "; allowed: " + e.Allowed
	}
	return s
}

// ParamErrors is every mistake in the parameters of a check.
type ParamErrors []ParamError

// Error returns one mistake a line.
func (es ParamErrors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// errNotAllowed is a problem that the allowed values explain.
var errNotAllowed = errors.New("not allowed")

// texts returns a parameter's values as text, and whether its Go type is one that a
// parameter can have.
func texts(v any) ([]string, bool) {
	switch v := v.(type) {
	case []string:
		return v, true
	case []any:
		var all []string
		for _, item := range v {
			s, ok := texts(item)
			if !ok || len(s) != 1 {
				return nil, false
			}
			all = append(all, s...)
		}
		return all, true
	case map[string]any:
		var all []string
		for _, name := range slices.Sorted(maps.Keys(v)) {
			s, ok := texts(v[name])
			if !ok || len(s) != 1 {
				return nil, false
			}
			all = append(all, name+": "+s[0])
		}
		return all, true
	case nil:
		return nil, false
	}
	return []string{fmt.Sprint(v)}, true
}
