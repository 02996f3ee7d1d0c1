package report

import (
	"fmt"
	"math"
	"strings"
)

// Goal is a bound on the ratio of two measured values.
type Goal struct {
	Title string
	// Value and Base are what is divided; NaN where not measured.
	Value, Base float64
	// Bound is the least ratio, or, where AtMost is set, the greatest.
	Bound  float64
	AtMost bool
}

// Ratio is NaN where something was not measured.
func (g Goal) Ratio() float64 { return g.Value / g.Base }

// Met reports whether the ratio is within the bound; a ratio that is not known is not.
func (g Goal) Met() bool {
	ratio := g.Ratio()
	switch {
	case math.IsNaN(ratio):
		return false
	case g.AtMost:
		return ratio <= g.Bound
	}
	return ratio >= g.Bound
}

// Goals writes ratios and verdicts as a Markdown table.
func Goals(goals []Goal) string {
	var b strings.Builder
	b.WriteString("| goal | ratio | bound | |\n|---|---:|---:|---|\n")
	for _, g := range goals {
		sign, verdict := "≥", "not met"
		if g.AtMost {
			sign = "≤"
		}
		ratio := g.Ratio()
		switch {
		case math.IsNaN(ratio) || math.IsInf(ratio, 0):
			fmt.Fprintf(&b, "| %s | | %s %.2f | not measured |\n", g.Title, sign, g.Bound)
			continue
		case g.Met():
			verdict = "met"
		}
		fmt.Fprintf(&b, "| %s | %.2f | %s %.2f | %s |\n", g.Title, ratio, sign, g.Bound, verdict)
	}
	return b.String()
}
