package sched

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Names returns the names that New takes, sorted.
func Names() []string {
	return []string{
		"dh", "fo", "lblc", "lblcr", "lc", "mh", "nq", "ovf", "rr", "sed", "sh", "twos", "wlc", "wrr",
	}
}

// New returns the scheduler of that name, without servers, for one service. It
// fails where the name is not one of Names, where o sets a flag that the
// scheduler does not have, where the scheduler needs a function that o lacks, and
// where the expiration is negative.
func New(name string, o Options) (Scheduler, error) {
	if !slices.Contains(Names(), name) {
		return nil, fmt.Errorf("scheduler %q: unknown, want one of %s", name, strings.Join(Names(), ", "))
	}
	if err := o.check(name); err != nil {
		return nil, fmt.Errorf("scheduler %q: %w", name, err)
	}
	switch name {
	case "dh":
		return &dh{}, nil
	case "fo":
		return &fo{}, nil
	case "lblc":
		return &lblc{now: o.Now, cache: newCache[*Server](o.Expiration)}, nil
	case "lblcr":
		return &lblcr{now: o.Now, cache: newCache[serverSet](o.Expiration)}, nil
	case "lc":
		return &lc{}, nil
	case "mh":
		return &mh{fallback: o.Fallback, port: o.Port}, nil
	case "nq":
		return &nq{}, nil
	case "ovf":
		return &ovf{}, nil
	case "rr":
		return &rr{last: -1}, nil
	case "sed":
		return &sed{}, nil
	case "sh":
		return &sh{fallback: o.Fallback, port: o.Port}, nil
	case "twos":
		return &twos{rand: o.Rand}, nil
	case "wlc":
		return &wlc{}, nil
	default:
		return newWRR(), nil
	}
}

func (o *Options) check(name string) error {
	local := name == "lblc" || name == "lblcr"
	switch {
	case (o.Fallback || o.Port) && name != "sh" && name != "mh":
		return errors.New("flags fallback and port are for sh and mh only")
	case local && o.Now == nil:
		return errors.New("needs Options.Now")
	case local && o.Expiration < 0:
		return fmt.Errorf("expiration %d: want seconds, or 0 for %d", o.Expiration, cacheExpire)
	case name == "twos" && o.Rand == nil:
		return errors.New("needs Options.Rand")
	}
	return nil
}
