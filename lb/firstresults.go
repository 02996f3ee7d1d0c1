package lb

import (
	"context"
	"slices"
	"time"

	"github.com/golb/golb/health"
)

// A server gets no clients before its checks have had their first good result. Until the
// servers of a new service have results with which it has its quorum, or all have one, or a
// check's timeout has passed, the service waits: its new connections are dropped, so that
// clients repeat them. What is known of a server outlives reloads.

// await has a server wait for the first results of its checks, where it is new; one that
// waits already stops where the config no longer wants it to.
func (s *server) await(v *Service, spec *checkSpec, fresh bool) {
	path := v.pathCheck()
	for from, awaited := range map[source]bool{
		sourceCheck: slices.ContainsFunc(spec.checks, func(p plannedCheck) bool { return p.awaited && p.target.Key != "" }),
		sourcePath:  path != nil && path.awaited(),
	} {
		s.awaited[from] = awaited && (fresh || s.awaited[from])
	}
	if s.combine(); fresh && !s.up {
		s.told = toldNothing
	}
}

// known returns what a new check from a source begins with. The check before it, if there
// was one, may have found that the server is up; then one failure does not take it down.
func (s *server) known(from source, hadCheck bool) health.State {
	if hadCheck && !s.awaited[from] && s.failures[from] == "" {
		return health.Up
	}
	return health.Unknown
}

// awaitsResults reports whether one of the service's servers has no result yet.
func (v *service) awaitsResults() bool {
	return slices.ContainsFunc(v.servers, func(s *server) bool { return !s.up && !s.failed() })
}

// startWaitsLocked sets the ends of waits that have none, now that checks are made.
func (b *Balancer) startWaitsLocked() {
	for _, v := range b.services {
		if v.waiting && v.waitUntil.IsZero() {
			v.waitUntil = time.Now().Add(v.policy.timeout)
		}
	}
}

// endWaitsLocked ends the waits whose time is over.
func (b *Balancer) endWaitsLocked(now time.Time) {
	for _, v := range b.services {
		if v.waiting && !v.waitUntil.IsZero() && !now.Before(v.waitUntil) {
			v.waiting = false
			b.firstResultsKnown()
			b.updateQuorumLocked(v)
		}
	}
}

// firstResultsKnown wakes up awaitFirstResults.
func (b *Balancer) firstResultsKnown() {
	select {
	case b.resultsKnown <- struct{}{}:
	default:
	}
}

// awaitFirstResults returns when no service waits for its servers, or ctx ends.
func (b *Balancer) awaitFirstResults(ctx context.Context) {
	for {
		b.mu.Lock()
		waits := slices.ContainsFunc(b.services, func(v *service) bool { return v.waiting })
		b.mu.Unlock()
		if !waits {
			return
		}
		select {
		case <-b.resultsKnown:
		case <-ctx.Done():
			return
		}
	}
}
