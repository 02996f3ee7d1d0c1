package fields

import (
	"fmt"
	"slices"
	"strings"
)

// Unknown is the mistake of a key that a Struct does not have. meant is the field that
// it was meant to be, if any is close, and "" else.
func (x *Type) Unknown(path string) (m Mistake, meant string) {
	m = Mistake{Path: path, Problem: "unknown key", Allowed: strings.Join(x.Names(), ", ")}
	meant = Suggest(&m)
	return m, meant
}

// Suggest adds to the mistake of an unknown key which of those allowed it was meant to
// be, if any is close, and returns that.
func Suggest(m *Mistake) (meant string) {
	key, names := m.Path[strings.LastIndexByte(m.Path, '.')+1:], strings.Split(m.Allowed, ", ")
	if name, value, colon := strings.Cut(key, ":"); colon && slices.Contains(names, name) {
		m.Problem += fmt.Sprintf(", did you mean \"%s: %s\"?", name, value)
		return name
	}
	if meant, ok := otherKeys[strings.ToLower(key)]; ok && slices.Contains(names, meant) {
		m.Problem += fmt.Sprintf(", golb says %q", meant)
		return meant
	}
	meant, ok := Nearest(key, names)
	if ok {
		m.Problem += fmt.Sprintf(", did you mean %q?", meant)
	}
	return meant
}

// Nearest finds the name that a mistyped one was meant to be, if any is close: at
// most one character wrong and one more for every three.
func Nearest(typed string, names []string) (string, bool) {
	best, least := "", len(typed)/3+2
	for _, name := range names {
		if n := distance(fold(typed), fold(name)); n < least {
			best, least = name, n
		}
	}
	return best, best != ""
}

func fold(s string) string { return strings.ReplaceAll(strings.ToLower(s), "-", "_") }

// distance is the number of characters to insert, delete, replace or swap with their
// neighbor to turn a into b (optimal string alignment).
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return max(len(a), len(b))
	}
	rows := [3][65]int{}
	two, one, cur := &rows[0], &rows[1], &rows[2]
	for j := range len(b) + 1 {
		one[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(one[j]+1, cur[j-1]+1, one[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], two[j-2]+1)
			}
		}
		two, one, cur = one, cur, two
	}
	return one[len(b)]
}
