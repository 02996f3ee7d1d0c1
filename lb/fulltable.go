package lb

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/golb/golb/lb/internal/dataplane"
)

// tableFigures are what a full table costs.
type tableFigures map[string]uint64

// The figures beside those of entries that were given up.
const (
	figureStateless = "stateless"
	figureRefused   = "refused"
)

func (b *Balancer) tableFigures() tableFigures {
	f := tableFigures(b.plane.GivenUp())
	f[figureStateless], f[figureRefused] = b.plane.Stateless(), b.plane.Drops()[dataplane.TableFull]
	return f
}

// since says, for people, what was given up, refused and forwarded without state since past.
func (f tableFigures) since(past tableFigures) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(f)) {
		if n := f[name] - past[name]; n > 0 && name != figureStateless && name != figureRefused {
			parts = append(parts, fmt.Sprintf("%s %d", name, n))
		}
	}
	if len(parts) == 0 {
		parts = []string{"none"}
	}
	return fmt.Sprintf("ended for new connections: %s; new connections refused: %d; packets forwarded without state: %d",
		strings.Join(parts, ", "), f[figureRefused]-past[figureRefused], f[figureStateless]-past[figureStateless])
}

// The times of watching the table.
const (
	tableEvery    = time.Second
	tableLogEvery = time.Minute // while it stays full
)

// watchTable tells when the table becomes full and has room again, and logs the figures
// each minute between, until ctx ends.
func (b *Balancer) watchTable(ctx context.Context) error {
	var since, logged time.Time // zero while it has room
	var atStart, atLog tableFigures
	return repeat(ctx, tableEvery, func() {
		full, now := b.plane.Short(), time.Now()
		switch {
		case full && since.IsZero():
			since, logged, atStart = now, now, b.tableFigures()
			atLog = atStart
			b.tell(Event{Kind: EventTableFull, Since: now, Reason: fmt.Sprintf("all %d entries of the connection table are in use, the setting max_connections", b.plane.Size()),
				Action: "new connections end others: those that are over or half-open first, established ones last; where there are none, DSR and TUN go on without state"})
		case full && now.Sub(logged) >= tableLogEvery:
			f := b.tableFigures()
			b.env.Logger.LogAttrs(ctx, slog.LevelWarn, "connection table is still full", slog.String("last_minute", f.since(atLog)), slog.Time("since", since.Truncate(time.Millisecond)))
			logged, atLog = now, f
		case !full && !since.IsZero():
			b.tell(Event{Kind: EventTableRoom, Since: since, Reason: b.tableFigures().since(atStart)})
			since = time.Time{}
		}
	})
}
