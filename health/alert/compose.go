package alert

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxSubject bounds what a subject says of more than one event, in bytes.
const maxSubject = 100

// Compose makes a message of one event, as a Notifier of that name does.
func Compose(name string, e Event) Message {
	e.Changes = 1
	return compose(name, []Event{e.printable()}, 0)
}

// compose makes a message of events.
func compose(name string, events []Event, omitted int) Message {
	m := Message{Subject: name + ": " + summarize(events, omitted), Events: events, Omitted: omitted}
	var b strings.Builder
	for _, e := range events {
		b.WriteString(e.String() + "\n")
	}
	if omitted > 0 {
		fmt.Fprintf(&b, "and %d more\n", omitted)
	}
	m.Text = b.String()
	return m
}

// summarize says in a subject what happened: the most urgent first, and of equals the
// latest, which knows best how many are left. What has changed again since it leaves out.
func summarize(events []Event, omitted int) string {
	sorted, told := make([]Event, 0, len(events)), map[string]bool{}
	for _, e := range slices.Backward(events) {
		if !told[e.Key] {
			told[e.Key] = true
			sorted = append(sorted, e)
		}
	}
	slices.SortStableFunc(sorted, func(a, b Event) int { return cmp.Compare(b.Urgency, a.Urgency) })
	text, more := "", omitted
	urgency := map[string]int{} // of what the subject says about a service
	for _, e := range sorted {
		if u, said := urgency[e.Service]; said && u > e.Urgency {
			continue // its cause, or a part of it
		}
		switch s := e.summary(); {
		case text == "":
			text = s
		case more == omitted && len(text)+len(s) <= maxSubject:
			text += "; " + s
		default:
			more++
			continue
		}
		urgency[e.Service] = e.Urgency
	}
	if more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}

func (e *Event) summary() string {
	if e.Summary != "" {
		return e.Summary
	}
	return fmt.Sprintf("%s: %s is %s", e.Service, e.Server, e.State)
}
