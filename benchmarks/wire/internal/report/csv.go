package report

import (
	"encoding/csv"
	"io"
	"strconv"
)

// CSV writes a line for each row and column: the median, then each round's value. A row that is missing has one line, with
// the reason for a unit.
func (t *Table) CSV(w io.Writer) error {
	out := csv.NewWriter(w)
	if err := out.Write([]string{"row", "column", "unit", "median", "rounds"}); err != nil {
		return err
	}
	for _, r := range t.Rows {
		if r.Missing != "" {
			if err := out.Write([]string{r.Name, "", "missing: " + r.Missing, "", ""}); err != nil {
				return err
			}
			continue
		}
		for _, c := range t.Columns {
			values := r.Values(c.Key)
			if len(values) == 0 {
				continue
			}
			record := []string{r.Name, c.Key, c.Unit, number(r.Median(c.Key))}
			for _, v := range values {
				record = append(record, number(v))
			}
			if err := out.Write(record); err != nil {
				return err
			}
		}
	}
	out.Flush()
	return out.Error()
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }
