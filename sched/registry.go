package sched

import (
	"errors"
	"fmt"
	"strings"
)

// builtin is a scheduler that New makes.
type builtin struct {
	name  string
	flags bool // takes Options.Fallback and Options.Port
	make  func(Options) (Scheduler, error)
}

// builtins are all of them, sorted by name. Nothing else lists them.
func builtins() []builtin {
	return []builtin{
		{"dh", false, newDH},
		{"fo", false, newFO},
		{"lblc", false, newLBLC},
		{"lblcr", false, newLBLCR},
		{"lc", false, newLC},
		{"mh", true, newMH},
		{"nq", false, newNQ},
		{"ovf", false, newOVF},
		{"rr", false, newRR},
		{"sed", false, newSED},
		{"sh", true, newSH},
		{"twos", false, newTwos},
		{"wlc", false, newWLC},
		{"wrr", false, newWRR},
	}
}

// Names returns the names that New takes, sorted.
func Names() []string { return namesOf(func(builtin) bool { return true }) }

// TakesFlags reports whether the scheduler of that name takes Options.Fallback and
// Options.Port.
func TakesFlags(name string) bool {
	for _, b := range builtins() {
		if b.name == name {
			return b.flags
		}
	}
	return false
}

// New returns the scheduler of that name, without servers, for one service. It
// fails where the name is not one of Names, where o sets a flag that the
// scheduler does not take, where the scheduler needs a function that o lacks, and
// where the expiration is negative.
func New(name string, o Options) (Scheduler, error) {
	for _, b := range builtins() {
		if b.name != name {
			continue
		}
		if (o.Fallback || o.Port) && !b.flags {
			takers := namesOf(func(b builtin) bool { return b.flags })
			return nil, fmt.Errorf("scheduler %q: flags fallback and port are for %s only", name, strings.Join(takers, " and "))
		}
		s, err := b.make(o)
		if err != nil {
			return nil, fmt.Errorf("scheduler %q: %w", name, err)
		}
		return s, nil
	}
	return nil, fmt.Errorf("scheduler %q: unknown, want one of %s", name, strings.Join(Names(), ", "))
}

func namesOf(want func(builtin) bool) []string {
	var names []string
	for _, b := range builtins() {
		if want(b) {
			names = append(names, b.name)
		}
	}
	return names
}

// checkCache checks what lblc and lblcr need.
func (o *Options) checkCache() error {
	switch {
	case o.Now == nil:
		return errors.New("needs Options.Now")
	case o.Expiration < 0:
		return fmt.Errorf("expiration %d: want seconds, or 0 for %d", o.Expiration, cacheExpire)
	}
	return nil
}
