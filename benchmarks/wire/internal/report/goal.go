package report

import (
	"fmt"
	"math"
	"strings"
)

// Goal is a bound on a ratio.
type Goal struct {
	Title string
	Ratio float64 // NaN where something was not measured
	// Bound is the least ratio, or, where AtMost is set, the greatest.
	Bound  float64
	AtMost bool
}

// Met reports whether the ratio is within the bound; a ratio that is not known is not.
func (g Goal) Met() bool {
	if g.AtMost {
		return g.Ratio <= g.Bound
	}
	return g.Ratio >= g.Bound
}

// Goals writes ratios and verdicts as a Markdown table.
func Goals(goals []Goal) string {
	var b strings.Builder
	b.WriteString("| goal | ratio | bound | |\n|---|---:|---:|---|\n")
	for _, g := range goals {
		sign, result := "≥", "not met"
		if g.AtMost {
			sign = "≤"
		}
		switch {
		case math.IsNaN(g.Ratio) || math.IsInf(g.Ratio, 0):
			fmt.Fprintf(&b, "| %s | | %s %.2f | not measured |\n", g.Title, sign, g.Bound)
			continue
		case g.Met():
			result = "met"
		}
		fmt.Fprintf(&b, "| %s | %.2f | %s %.2f | %s |\n", g.Title, g.Ratio, sign, g.Bound, result)
	}
	return b.String()
}
