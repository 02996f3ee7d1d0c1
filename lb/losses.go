package lb

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb/internal/dataplane"
)

// lossesEvery is how often losses that go on are logged.
const lossesEvery = time.Minute

// noLoss are the reasons of frames that are nobody's loss: not golb's, answered, or held
// until others come.
var noLoss = []Reason{
	NotVIP, NoService, NoConnection, TTLExceeded, MTUExceeded,
	Reason(forward.TooShort), Reason(forward.NotIP), Reason(forward.FragmentQueued), Reason(forward.FragmentDuplicate),
}

// Losses are what an interface lost, by what its counters are called in JSON; those of 0 are
// left out.
func (s *InterfaceStats) Losses() map[string]uint64 {
	p, l := &s.Port, &s.Link
	all := map[string]uint64{
		"receive_dropped": p.ReceiveDropped, "receive_unusable": p.ReceiveUnusable,
		"send_too_long": p.SendTooLong, "send_no_buffer": p.SendNoBuffer, "send_down": p.SendDown, "send_refused": p.SendRefused,
		"link.receive_dropped": l.ReceiveDropped, "link.send_errors": l.SendErrors, "link.send_dropped": l.SendDropped,
	}
	maps.DeleteFunc(all, func(_ string, n uint64) bool { return n == 0 })
	return all
}

// losses are all that was lost since the start, by name.
func (b *Balancer) losses() map[string]uint64 {
	all := map[string]uint64{}
	for r, n := range b.plane.Drops() {
		if n > 0 && !slices.Contains(noLoss, dataplane.Reason(r)) {
			all[dataplane.Reason(r).String()] = n
		}
	}
	for _, s := range b.interfaceStats() {
		for name, n := range s.Losses() {
			all[s.Name+"."+name] = n
		}
	}
	return all
}

// logLosses logs each minute what was lost in it, if anything, until ctx ends.
func (b *Balancer) logLosses(ctx context.Context) error {
	before := b.losses()
	return repeat(ctx, lossesEvery, func() {
		now := b.losses()
		if attrs := growth(before, now); len(attrs) > 0 {
			b.env.Logger.LogAttrs(ctx, slog.LevelWarn, "frames were lost in the last minute", attrs...)
		}
		before = now
	})
}

// growth returns by how much counters grew, the largest first. A counter that began anew
// grew by what it is.
func growth(before, now map[string]uint64) (attrs []slog.Attr) {
	grown := map[string]uint64{}
	for name, n := range now {
		if was := before[name]; n > was {
			grown[name] = n - was
		} else if n < was {
			grown[name] = n
		}
	}
	names := slices.SortedFunc(maps.Keys(grown), func(a, b string) int {
		return cmp.Or(cmp.Compare(grown[b], grown[a]), cmp.Compare(a, b))
	})
	for _, name := range names {
		attrs = append(attrs, slog.Uint64(name, grown[name]))
	}
	return attrs
}
