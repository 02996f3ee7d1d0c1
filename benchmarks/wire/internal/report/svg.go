package report

import (
	"encoding/xml"
	"fmt"
	"math"
	"strings"
)

// Measures of the plot, in pixels.
const (
	panelWidth  = 440
	labelWidth  = 130
	valueWidth  = 80
	barHeight   = 16
	barGap      = 5
	panelHead   = 34
	panelFoot   = 14
	panelsInRow = 2
)

// SVG draws a panel of bars for each column that is to be plotted. Rows with a name that starts with accent are drawn in
// another color. Text is dark on a white ground, so that it can be read on any page.
func (t *Table) SVG(accent string) string {
	var panels []string
	height := 0
	for _, c := range t.Columns {
		if !c.Plot {
			continue
		}
		body, h := t.panel(c, accent)
		if h == 0 {
			continue
		}
		panels = append(panels, body)
		height = max(height, h)
	}
	rows := (len(panels) + panelsInRow - 1) / panelsInRow
	width, total := panelsInRow*panelWidth, rows*height
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" `+
		`font-family="sans-serif" font-size="12" fill="#222">`+"\n", width, total, width, total)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", width, total)
	for i, body := range panels {
		fmt.Fprintf(&b, `<g transform="translate(%d,%d)">`+"\n%s</g>\n", i%panelsInRow*panelWidth, i/panelsInRow*height, body)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// panel draws one column; the height is 0 where no row has a value.
func (t *Table) panel(c Column, accent string) (body string, height int) {
	top := 0.0
	for _, r := range t.Rows {
		if v := r.Median(c.Key); !math.IsNaN(v) {
			top = max(top, v)
		}
	}
	if top <= 0 {
		return "", 0
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<text x="8" y="20" font-weight="bold">%s</text>`+"\n", escape(headOf(c)))
	y := panelHead
	for _, r := range t.Rows {
		v := r.Median(c.Key)
		if math.IsNaN(v) {
			continue
		}
		fill := "#9aa5b1"
		if accent != "" && strings.HasPrefix(r.Name, accent) {
			fill = "#0a7f8c"
		}
		length := max(0, v) / top * (panelWidth - labelWidth - valueWidth)
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`, labelWidth-6, y+12, escape(r.Name))
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`, labelWidth, y, length, barHeight, fill)
		fmt.Fprintf(&b, `<text x="%.1f" y="%d">%s</text>`+"\n", labelWidth+length+5, y+12, format(v, c.Digits))
		y += barHeight + barGap
	}
	return b.String(), y + panelFoot
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder takes all
	return b.String()
}
