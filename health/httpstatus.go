package health

import (
	"fmt"
	"strconv"
	"strings"
)

// StatusSet is a set of HTTP or SIP status codes. nil is 200 to 299.
type StatusSet []StatusRange

// StatusRange is the codes From to To, both included.
type StatusRange struct{ From, To int }

func (s StatusSet) has(code int) bool {
	if s == nil {
		return code >= 200 && code <= 299
	}
	for _, r := range s {
		if code >= r.From && code <= r.To {
			return true
		}
	}
	return false
}

// String returns the set in the form that [ParseStatusSet] reads.
func (s StatusSet) String() string {
	if s == nil {
		return "200-299"
	}
	var parts []string
	for _, r := range s {
		if r.From == r.To {
			parts = append(parts, strconv.Itoa(r.From))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", r.From, r.To))
		}
	}
	return strings.Join(parts, ",")
}

// ParseStatusSet reads codes and ranges from 100 to 599, such as 200-299,301.
func ParseStatusSet(text string) (StatusSet, error) {
	var set StatusSet
	for part := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			to = from
		}
		a, err1 := strconv.Atoi(from)
		b, err2 := strconv.Atoi(to)
		if err1 != nil || err2 != nil || a < 100 || b > 599 || a > b {
			return nil, fmt.Errorf("status %q: not a code or range from 100 to 599", part)
		}
		set = append(set, StatusRange{a, b})
	}
	return set, nil
}
