// Package report turns repeated measurements of several rows into a table of medians, and writes it as Markdown, CSV and an
// SVG plot. It knows nothing of what is measured.
package report

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// Column is one quantity.
type Column struct {
	Key   string // in CSV, and for Row.Add
	Title string // in tables and plots
	Unit  string
	// Digits after the decimal point in tables.
	Digits int
	// Plot gives the column a panel in the plot.
	Plot bool
}

// Row is one thing that was measured, with what each round found.
type Row struct {
	Name string
	// Missing says why nothing was measured; "" where something was.
	Missing string
	// Note explains a row in one line below the table; may be empty.
	Note string

	values map[string][]float64
}

// Add records what one round measured for a column.
func (r *Row) Add(key string, value float64) {
	if r.values == nil {
		r.values = map[string][]float64{}
	}
	r.values[key] = append(r.values[key], value)
}

// Values are all rounds' values, in the order in which they were added.
func (r *Row) Values(key string) []float64 { return r.values[key] }

// Median is that of all rounds' values, the mean of the middle two where their number is even; NaN where there are none.
func (r *Row) Median(key string) float64 { return median(r.values[key]) }

func median(values []float64) float64 {
	n := len(values)
	if n == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// Table is rows by columns.
type Table struct {
	Title   string
	Columns []Column
	Rows    []*Row
}

// Row returns the row of a name, nil where there is none.
func (t *Table) Row(name string) *Row {
	i := slices.IndexFunc(t.Rows, func(r *Row) bool { return r.Name == name })
	if i < 0 {
		return nil
	}
	return t.Rows[i]
}

// Median is that of a row's column; NaN where either does not exist.
func (t *Table) Median(row, key string) float64 {
	if r := t.Row(row); r != nil {
		return r.Median(key)
	}
	return math.NaN()
}

// format writes a number with its thousands apart; "" where there is none.
func format(v float64, digits int) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return ""
	}
	text := strconv.FormatFloat(math.Abs(v), 'f', digits, 64)
	integer, fraction, _ := strings.Cut(text, ".")
	for i := len(integer) - 3; i > 0; i -= 3 {
		integer = integer[:i] + "," + integer[i:]
	}
	if fraction != "" {
		integer += "." + fraction
	}
	if v < 0 && strings.Trim(integer, "0.,") != "" {
		integer = "-" + integer
	}
	return integer
}

// Ratio is the median of what each round found for a row, divided by what it found for base: the two were measured one soon
// after the other, so that what the machine did at the time concerns both. NaN where one was measured in fewer rounds.
func (t *Table) Ratio(row, base, key string) float64 {
	a, b := t.Row(row), t.Row(base)
	if a == nil || b == nil || len(a.Values(key)) != len(b.Values(key)) {
		return math.NaN()
	}
	var ratios []float64
	for i, v := range a.Values(key) {
		ratios = append(ratios, v/b.Values(key)[i])
	}
	return median(ratios)
}

// Select is the table of some columns, and of the rows that have a value in one of them.
func (t *Table) Select(title string, keys ...string) *Table {
	part := &Table{Title: title}
	for _, c := range t.Columns {
		if slices.Contains(keys, c.Key) {
			part.Columns = append(part.Columns, c)
		}
	}
	for _, r := range t.Rows {
		if slices.ContainsFunc(keys, func(key string) bool { return len(r.Values(key)) > 0 }) {
			part.Rows = append(part.Rows, r)
		}
	}
	return part
}
