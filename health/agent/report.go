package agent

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/golb/golb/health/printable"
)

// Report is an agent's answer.
type Report struct {
	Percent int // 0 to 10000; -1 where there was no number
	Health  Health
	Admin   Admin
	MaxConn int    // connections at a time; -1 where there was no maxconn
	Word    string // that gave Health, in lower case; "" where there was none
	Reason  string // behind the #, one printable line of at most 300 bytes
}

// Health is whether an agent reports its server up or down.
type Health uint8

// The states that an agent can report. Most answers have none.
const (
	Unstated Health = iota
	Up              // up
	Down            // down, fail, failed, stopped
)

// Admin is the administrative state that an agent requests for its server.
type Admin uint8

// The states that an agent can request. Most answers have none.
const (
	Keep  Admin = iota
	Ready       // ready: end drain and maint
	Drain       // drain: no new connections
	Maint       // maint: no connections, no checks
)

// Parse reads an answer: words, in any case, and a number, in any order, separated by
// blanks or commas, and a reason behind a # (HAProxy's agent-check). An answer with an
// unknown word, or without a word or number, is an error.
func Parse(line string) (Report, error) {
	r := Report{Percent: -1, MaxConn: -1}
	text, reason, _ := strings.Cut(line, "#")
	r.Reason = printable.Line(reason, maxReason)
	tokens := strings.FieldsFunc(text, func(c rune) bool { return c == ' ' || c == '\t' || c == ',' || c == '\r' })
	if len(tokens) == 0 {
		return Report{}, fmt.Errorf("agent: got %s, want a percentage or a word", quote(line))
	}
	for _, word := range tokens {
		if err := r.set(strings.ToLower(word)); err != nil {
			return Report{}, fmt.Errorf("agent: got %s: %w", quote(line), err)
		}
	}
	return r, nil
}

// set sets what a word stands for.
func (r *Report) set(word string) error {
	switch word {
	case "up":
		r.Health, r.Word = Up, word
	case "down", "fail", "failed", "stopped":
		r.Health, r.Word = Down, word
	case "ready":
		r.Admin = Ready
	case "drain":
		r.Admin = Drain
	case "maint":
		r.Admin = Maint
	default:
		if n, ok := strings.CutPrefix(word, "maxconn:"); ok {
			return parseNumber(n, 1<<31-1, &r.MaxConn)
		}
		return parseNumber(strings.TrimSuffix(word, "%"), 10000, &r.Percent)
	}
	return nil
}

func parseNumber(s string, high int, n *int) error {
	v, err := strconv.Atoi(s)
	if err != nil || v < 0 || v > high {
		return fmt.Errorf("%s is no word of an agent, and no number from 0 to %d", quote(s), high)
	}
	*n = v
	return nil
}

func quote(s string) string { return strconv.QuoteToASCII(s[:min(len(s), 80)]) }

// Weight returns the part of a configured weight that a report requests, as HAProxy
// computes it, and appliances where they say so: configured × Percent / 100. It is at
// least 1 where the configured weight is: a busy server gets few new connections, and it
// takes a word, drain, to get none. Without a number it is the configured weight.
func (r Report) Weight(configured int) int {
	if r.Percent < 0 {
		return configured
	}
	return scale(configured, r.Percent, 100)
}

// IdleWeight takes Percent for how idle the server is and returns the weight that most
// appliances give it: configured × Percent / 10. So an idle server has ten times its
// weight, and small weights have steps between busy and idle. It is at least 1 where the
// configured weight is, as Weight. Without a number it is the configured weight.
func (r Report) IdleWeight(configured int) int {
	if r.Percent < 0 {
		return configured
	}
	return scale(configured, min(r.Percent, 100), 10)
}

// scale returns configured × n / of, rounded to the nearest, and at most 65535.
func scale(configured, n, of int) int {
	if configured <= 0 {
		return 0
	}
	return min(max(1, (configured*n+of/2)/of), 65535)
}
