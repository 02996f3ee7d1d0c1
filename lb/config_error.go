package lb

import (
	"fmt"
	"strings"
)

// ConfigError is one mistake in a Config.
type ConfigError struct {
	Path    string // services[2].servers[0].weight
	Value   string // as given; "" where nothing was
	Problem string // what is wrong with it
	Allowed string // the values that are allowed; "" where Problem says it
}

// Error prints path, value, problem and what is allowed in one line.
func (e ConfigError) Error() string {
	var b strings.Builder
	b.WriteString(e.Path)
	if e.Value != "" {
		fmt.Fprintf(&b, ": %q", e.Value)
	}
	b.WriteString(": " + e.Problem)
	if e.Allowed != "" {
		b.WriteString("; allowed: " + e.Allowed)
	}
	return b.String()
}

// ConfigErrors is every mistake in a Config, in the order of the Config.
type ConfigErrors []ConfigError

// Error prints one mistake a line.
func (es ConfigErrors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}
