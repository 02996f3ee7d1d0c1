package lb_test

import (
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golb/golb/lb"
)

// TestAFullTableIsTold: its begin and its end are an event each, with the figures, and a
// line is logged each minute between.
func TestAFullTableIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(syncBuffer)
		var events []lb.Event
		s := service(vip4, 1)
		s.Method = lb.NAT
		b := startIn(t, lb.Config{Services: []lb.Service{s}}, func(e lb.Event) {
			if e.Kind == lb.EventTableFull || e.Kind == lb.EventTableRoom {
				events = append(events, e)
			}
		}, func(env *lb.Env) { env.Logger = slog.New(slog.NewTextHandler(log, nil)) })
		n := 0
		second := func(syns int) {
			for range syns {
				b.picks(client(n), netip.AddrPortFrom(vip4, 80))
				n++
			}
			b.clock.Advance(time.Second)
			time.Sleep(time.Second)
		}
		second(tableSize)
		second(0)
		if st := b.balancer.Stats(); len(events) != 0 || st.TableFull || len(st.GivenUp) != 0 || st.Connections != tableSize {
			t.Fatalf("nobody found the table full: events %v, stats %+v", events, st)
		}
		const seconds, each = 150, 80 // more than end in time
		for range seconds {
			second(each)
		}
		synctest.Wait()
		if len(events) != 1 || events[0].Kind != lb.EventTableFull || !strings.Contains(events[0].Reason, "4096") {
			t.Fatalf("of a full table: %+v", events)
		}
		if st := b.balancer.Stats(); !st.TableFull || st.GivenUp["half_open"] < seconds*each/2 {
			t.Errorf("full %v, given up %v", st.TableFull, st.GivenUp)
		}
		if lines := log.take("connection table is"); len(lines) != 3 || !strings.Contains(lines[1], "half_open 4") {
			t.Errorf("in %d s logged %q", seconds, lines)
		}
		for range 15 {
			second(0)
		}
		synctest.Wait()
		if len(events) != 2 || events[1].Kind != lb.EventTableRoom || !strings.Contains(events[1].Reason, "half_open") {
			t.Errorf("of a table with room again: %+v", events)
		}
		if lines := log.take("table"); len(lines) != 1 || b.balancer.Stats().TableFull {
			t.Errorf("logged %q", lines)
		}
	})
}
