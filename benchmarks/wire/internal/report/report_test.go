package report

import (
	"encoding/csv"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func sample() *Table {
	fast, slow := &Row{Name: "golb <1>"}, &Row{Name: "slow", Note: "why"}
	for _, v := range []float64{3e6, 1e6, 2e6} {
		fast.Add("rate", v)
	}
	slow.Add("rate", 1000)
	slow.Add("rate", 2001)
	slow.Add("cpu", 0.25)
	return &Table{
		Title:   "A title",
		Columns: []Column{{Key: "rate", Title: "rate", Unit: "1/s", Plot: true}, {Key: "cpu", Title: "cpu", Digits: 2, Plot: true}},
		Rows:    []*Row{fast, slow, {Name: "absent", Missing: "not installed"}},
	}
}

func TestMedianIsTheMiddleOfAllRounds(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{[]float64{5}, 5}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 2, 100}, 3}} {
		r := &Row{}
		for _, v := range c.values {
			r.Add("x", v)
		}
		if got := r.Median("x"); got != c.want {
			t.Errorf("median of %v is %v, want %v", c.values, got, c.want)
		}
		if !cmp.Equal(r.Values("x"), c.values) {
			t.Errorf("the median changed the rounds: %v", r.Values("x"))
		}
	}
	if got := sample().Median("slow", "nothing"); !math.IsNaN(got) {
		t.Errorf("median of nothing is %v", got)
	}
	if got := sample().Median("nobody", "rate"); !math.IsNaN(got) {
		t.Errorf("median of nobody is %v", got)
	}
}

func TestRatiosAreOfTheSameRound(t *testing.T) {
	a, b, short := &Row{Name: "a"}, &Row{Name: "b"}, &Row{Name: "short"}
	for i, v := range []float64{10, 20, 60} {
		a.Add("x", v)
		b.Add("x", []float64{5, 20, 20}[i])
	}
	short.Add("x", 1)
	table := &Table{Rows: []*Row{a, b, short}}
	if got := table.Ratio("a", "b", "x"); got != 2 {
		t.Errorf("got %v, want 2, the middle of 2, 1 and 3", got)
	}
	for _, other := range []string{"short", "nobody"} {
		if got := table.Ratio("a", other, "x"); !math.IsNaN(got) {
			t.Errorf("to %s: %v", other, got)
		}
	}
}

func TestNumbersHaveTheirThousandsApart(t *testing.T) {
	for _, c := range []struct {
		v      float64
		digits int
		want   string
	}{{0, 0, "0"}, {999, 0, "999"}, {1000, 0, "1,000"}, {1234567.89, 1, "1,234,567.9"}, {-1234, 0, "-1,234"}, {-0.001, 1, "0.0"},
		{math.NaN(), 0, ""}, {math.Inf(1), 0, ""}} {
		if got := format(c.v, c.digits); got != c.want {
			t.Errorf("format(%v, %d) = %q, want %q", c.v, c.digits, got, c.want)
		}
	}
}

func TestMarkdown(t *testing.T) {
	want := `A title

| | rate, 1/s | cpu |
|---|---:|---:|
| golb <1> | 2,000,000 |  |
| slow | 1,500 | 0.25 |
`
	if diff := cmp.Diff(want, sample().Markdown()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff("- slow: why\n- absent: not measured, not installed\n", sample().Notes()); diff != "" {
		t.Error(diff)
	}
	part := sample().Select("part", "cpu")
	if len(part.Columns) != 1 || part.Row("slow") == nil || part.Row("golb <1>") != nil {
		t.Errorf("the part with the column cpu has %d columns, and rows %v", len(part.Columns), part.Rows)
	}
}

func TestCSVHasEveryRound(t *testing.T) {
	var b strings.Builder
	if err := sample().CSV(&b); err != nil {
		t.Fatal(err)
	}
	in := csv.NewReader(strings.NewReader(b.String()))
	in.FieldsPerRecord = -1
	got, err := in.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{
		{"row", "column", "unit", "median", "rounds"},
		{"golb <1>", "rate", "1/s", "2e+06", "3e+06", "1e+06", "2e+06"},
		{"slow", "rate", "1/s", "1500.5", "1000", "2001"},
		{"slow", "cpu", "", "0.25", "0.25"},
		{"absent", "", "missing: not installed", "", ""},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSVGIsXMLWithABarForEachValue(t *testing.T) {
	text := sample().SVG("golb")
	bars := map[string]int{}
	labels := ""
	for d := xml.NewDecoder(strings.NewReader(text)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch e := token.(type) {
		case xml.StartElement:
			for _, a := range e.Attr {
				if e.Name.Local == "rect" && a.Name.Local == "fill" {
					bars[a.Value]++
				}
			}
		case xml.CharData:
			labels += string(e)
		}
	}
	if want := map[string]int{"#fff": 1, "#0a7f8c": 1, "#9aa5b1": 2}; !cmp.Equal(want, bars) {
		t.Errorf("rectangles by color: %v, want %v", bars, want)
	}
	for _, want := range []string{"golb <1>", "2,000,000", "0.25", "rate, 1/s"} {
		if !strings.Contains(labels, want) {
			t.Errorf("no %q in the plot", want)
		}
	}
	if strings.Contains(labels, "absent") {
		t.Error("a row without values is drawn")
	}
}

func TestGoals(t *testing.T) {
	goals := []Goal{
		{Title: "more", Ratio: 0.96, Bound: 0.95},
		{Title: "less", Ratio: 0.6, Bound: 0.5, AtMost: true},
		{Title: "unknown", Ratio: math.NaN(), Bound: 1},
	}
	want := `| goal | ratio | bound | |
|---|---:|---:|---|
| more | 0.96 | ≥ 0.95 | met |
| less | 0.60 | ≤ 0.50 | not met |
| unknown | | ≥ 1.00 | not measured |
`
	if diff := cmp.Diff(want, Goals(goals)); diff != "" {
		t.Error(diff)
	}
}

func TestReplaceSectionLeavesTheRest(t *testing.T) {
	doc := "a\n<!-- x begin -->\nold\n<!-- x end -->\nb\n"
	got, err := ReplaceSection(doc, "x", "new\n\n")
	if err != nil {
		t.Fatal(err)
	}
	if want := "a\n<!-- x begin -->\nnew\n<!-- x end -->\nb\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if again, err := ReplaceSection(got, "x", "new"); err != nil || again != got {
		t.Errorf("a second time: %q, %v", again, err)
	}
	for _, bad := range []string{"", "<!-- x begin -->\n", doc + doc, "<!-- x end -->\n<!-- x begin -->\n"} {
		if _, err := ReplaceSection(bad, "x", "new"); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}
