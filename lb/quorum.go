package lb

import "fmt"

// AllDown says what a service does that is down.
type AllDown uint8

// The rules for a service that is down.
const (
	UseFallback AllDown = iota // new connections get the fallback; without one, the servers that are left
	Refuse                     // new connections are refused, also where there is a fallback
	// LastKnown doubts the checks: the servers that failed last, as long before the
	// last one as one cause takes to fail all, stay in the service.
	LastKnown
)

var allDownNames = map[AllDown]string{UseFallback: "fallback", Refuse: "refuse", LastKnown: "last_known"}

// String returns the name in a config.
func (a AllDown) String() string { return nameOf(allDownNames, a, "all_down") }

// UnmarshalText reads a name in a config; it fails with what is allowed.
func (a *AllDown) UnmarshalText(b []byte) error {
	return parseName(allDownNames, a, b, "fallback, refuse or last_known")
}

func (v *validator) quorum(path string, s *Service) {
	const most = maxWeight * 1000
	if s.Quorum < 0 || s.Quorum > most {
		v.fail(path+".quorum", s.Quorum, "out of range", fmt.Sprintf("0 (as 1) to %d", most))
	}
	if s.Hysteresis < 0 || s.Hysteresis > 0 && s.Hysteresis >= max(s.Quorum, 1) {
		v.fail(path+".hysteresis", s.Hysteresis, "out of range", fmt.Sprintf("0 to less than quorum, %d", max(s.Quorum, 1)))
	}
	if _, ok := allDownNames[s.AllDown]; !ok {
		v.fail(path+".all_down", s.AllDown, "unknown rule", "fallback, refuse or last_known")
	}
	if s.CutFailed && s.Quiescent {
		v.fail(path+".cut_failed", s.CutFailed, "a quiescent service lets the connections of a failed server go on", "one of the two")
	}
}

// reckon finds whether a service has its quorum, and does what follows
// (keepalived: update_quorum_state). It is called after each change of a server's
// health, state or weight; the lock is held.
func (b *Balancer) reckon(v *service) {
	set := v.settings.Load()
	sum, total := 0, 0
	for _, s := range v.all {
		total += int(s.weight)
		if s.up && s.open() {
			sum += int(s.runWeight)
		}
	}
	was := v.down
	quorum := min(set.quorum, max(total, 1)) // no server could ever make up for more
	if was {
		v.down = sum == 0 || sum < min(quorum+set.hysteresis, total)
	} else {
		v.down = sum == 0 || sum < quorum-set.hysteresis
	}
	closed := v.down && (set.allDown == Refuse || set.allDown == UseFallback && v.hasFallback(set))
	if v.closed.Swap(closed) && !closed {
		b.leaveFallback(v)
	}
	b.hold(v, set)
	switch {
	case v.down && !was:
		b.note(Event{Kind: ServiceDown, Service: v.name, Reason: fmt.Sprintf(
			"servers of weight %d of %d are up, quorum %d", sum, total, quorum), Action: v.consequence(set)})
	case was && !v.down:
		b.note(Event{Kind: ServiceUp, Service: v.name, Reason: fmt.Sprintf(
			"servers of weight %d of %d are up, quorum %d", sum, total, quorum), Action: "new connections go to its servers"})
	}
}

// consequence says what a service does that is down.
func (v *service) consequence(set *serviceSettings) string {
	switch {
	case set.allDown == Refuse:
		return "new connections are refused"
	case set.allDown == LastKnown:
		return "the servers that failed last stay"
	case v.fallback.Load() != nil:
		return "new connections go to the fallback " + v.fallback.Load().name
	case set.page != nil:
		return "new connections get the fallback page"
	}
	return "there is no fallback"
}

// hasFallback reports whether new connections can be given anything but a server.
func (v *service) hasFallback(set *serviceSettings) bool {
	return v.fallback.Load() != nil || set.page != nil
}

// hold keeps the servers that failed last in a service that is down, if its rule is
// LastKnown, and lets them go when it is not.
func (b *Balancer) hold(v *service, set *serviceSettings) {
	last := tick(0)
	for _, s := range v.all {
		if !s.up && (last == 0 || last.before(s.failedAt)) {
			last = s.failedAt
		}
	}
	for _, s := range v.all {
		held := set.allDown == LastKnown && v.down && !s.up && !(s.failedAt + set.detection).before(last)
		if held != s.held {
			s.held = held
			b.admit(s)
		}
	}
}
