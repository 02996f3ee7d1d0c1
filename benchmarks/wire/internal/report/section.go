package report

import (
	"fmt"
	"strings"
)

// ReplaceSection replaces what stands between the lines "<!-- NAME begin -->" and "<!-- NAME end -->" of a document, which
// must be there once, in this order.
func ReplaceSection(doc, name, body string) (string, error) {
	begin, end := fmt.Sprintf("<!-- %s begin -->\n", name), fmt.Sprintf("<!-- %s end -->", name)
	if n, m := strings.Count(doc, begin), strings.Count(doc, end); n != 1 || m != 1 {
		return "", fmt.Errorf("section %s: want one begin and one end, have %d and %d", name, n, m)
	}
	prefix, tail, _ := strings.Cut(doc, begin)
	_, suffix, ok := strings.Cut(tail, end)
	if !ok {
		return "", fmt.Errorf("section %s: the end is before the beginning", name)
	}
	return prefix + begin + strings.TrimRight(body, "\n") + "\n" + end + suffix, nil
}
