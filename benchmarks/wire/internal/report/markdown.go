package report

import (
	"fmt"
	"strings"
)

// Markdown writes the medians as a table, without the rows that are missing.
func (t *Table) Markdown() string {
	var b strings.Builder
	if t.Title != "" {
		fmt.Fprintf(&b, "%s\n\n", t.Title)
	}
	b.WriteString("| |")
	for _, c := range t.Columns {
		fmt.Fprintf(&b, " %s |", headOf(c))
	}
	b.WriteString("\n|---|" + strings.Repeat("---:|", len(t.Columns)) + "\n")
	for _, r := range t.Rows {
		if r.Missing != "" {
			continue
		}
		fmt.Fprintf(&b, "| %s |", r.Name)
		for _, c := range t.Columns {
			fmt.Fprintf(&b, " %s |", format(r.Median(c.Key), c.Digits))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// Notes lists the rows' notes, and why rows are missing; "" where there is nothing to say.
func (t *Table) Notes() string {
	var b strings.Builder
	for _, r := range t.Rows {
		if r.Missing != "" {
			fmt.Fprintf(&b, "- %s: not measured, %s\n", r.Name, r.Missing)
		} else if r.Note != "" {
			fmt.Fprintf(&b, "- %s: %s\n", r.Name, r.Note)
		}
	}
	return b.String()
}

func headOf(c Column) string {
	if c.Unit == "" {
		return c.Title
	}
	return c.Title + ", " + c.Unit
}
