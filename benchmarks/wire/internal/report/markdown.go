package report

import (
	"fmt"
	"strings"
)

// Markdown writes the medians as a table, then why rows are missing and the notes.
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
	var below []string
	for _, r := range t.Rows {
		if r.Note != "" {
			below = append(below, fmt.Sprintf("%s: %s", r.Name, r.Note))
		}
		if r.Missing != "" {
			below = append(below, fmt.Sprintf("%s: not measured, %s", r.Name, r.Missing))
			continue
		}
		fmt.Fprintf(&b, "| %s |", r.Name)
		for _, c := range t.Columns {
			fmt.Fprintf(&b, " %s |", format(r.Median(c.Key), c.Digits))
		}
		b.WriteString("\n")
	}
	if len(below) > 0 {
		b.WriteString("\n")
	}
	for _, line := range below {
		fmt.Fprintf(&b, "- %s\n", line)
	}
	return b.String()
}

func headOf(c Column) string {
	if c.Unit == "" {
		return c.Title
	}
	return c.Title + ", " + c.Unit
}
