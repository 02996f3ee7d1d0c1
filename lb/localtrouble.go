package lb

import (
	"fmt"
	"time"
)

// Where this host cannot make checks, for want of descriptors, memory, ports or time, that
// says nothing about servers: none changes its state, and an event says so.

// localTrouble is what keeps this host from making checks.
type localTrouble struct {
	reason string // "" while all checks can be made
	since  time.Time
}

// followTroubleLocked notes the events of the begin and the end of local trouble.
func (b *Balancer) followTroubleLocked() {
	n, why := b.monitor.Trouble()
	was := &b.trouble
	switch {
	case n > 0 && was.reason == "":
		was.since = time.Now()
		b.noteLocked(Event{
			Kind: EventLocalTrouble, Reason: checksNotMade(n, why), Since: was.since, Action: "servers whose checks cannot be made stay as they are",
		})
	case n == 0 && was.reason != "":
		b.noteLocked(Event{Kind: EventLocalTroubleEnded, Reason: "all checks can be made again", Since: was.since})
	}
	if was.reason = ""; n > 0 {
		was.reason = checksNotMade(n, why)
	}
}

// checksNotMade says that n targets could not be checked.
func checksNotMade(n int, why string) string {
	return fmt.Sprintf("%d of the checks cannot be made on this host: %s", n, why)
}
