package sched

import (
	"fmt"
	"strings"
)

// Names returns the names that New takes, sorted.
func Names() []string {
	return []string{"dh", "rr", "wlc", "wrr"}
}

// New returns the scheduler of that name, without servers. It fails where the
// name is not one of Names, where o has a flag that the scheduler does not know,
// and where o lacks a function that it needs. A scheduler serves one service.
func New(name string, o Options) (Scheduler, error) {
	if (o.Fallback || o.Port) && name != "sh" && name != "mh" {
		return nil, fmt.Errorf("scheduler %q takes no flags: fallback and port are for sh and mh", name)
	}
	switch name {
	case "dh":
		return &dh{}, nil
	case "rr":
		return &rr{last: -1}, nil
	case "wlc":
		return &wlc{}, nil
	case "wrr":
		return newWRR(), nil
	}
	return nil, fmt.Errorf("unknown scheduler %q: want one of %s", name, strings.Join(Names(), ", "))
}
