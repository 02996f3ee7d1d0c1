package arp

import (
	"encoding/json"
	"errors"
	"log/slog"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// counts returns the fields of s that are not zero, by their names in JSON.
func counts(t *testing.T, s Stats) map[string]int {
	t.Helper()
	b, err := json.Marshal(s)
	must(t, err)
	var all map[string]int
	must(t, json.Unmarshal(b, &all))
	for name, c := range all {
		if c == 0 {
			delete(all, name)
		}
	}
	return all
}

func TestStatsCountByKind(t *testing.T) {
	for _, w := range []nums{v4, v6} {
		vip, them := w.addr(100), w.addr(3)
		asked, answered, told := "requests_received", "requests_answered", "replies_received"
		if w == v6 {
			asked, answered, told = "solicitations_received", "solicitations_answered", "advertisements_received"
		}
		announced := announcement(macOf(3), vip)
		defended := map[string]int{asked: 1, "conflicts": 1, "defenses_sent": 1}
		if w == v6 {
			defended = map[string]int{told: 1, "conflicts": 1, "defenses_sent": 1}
		}
		for _, tc := range []struct {
			name string
			do   func(m *machine)
			want map[string]int
		}{
			{"request for a VIP", func(m *machine) { m.input(request(macOf(3), them, vip, mac{}), epoch) }, map[string]int{asked: 1, answered: 1}},
			{"probe for a VIP", func(m *machine) { m.input(request(macOf(3), unspecifiedOf(w), vip, mac{}), epoch) }, map[string]int{asked: 1, answered: 1}},
			{"request for another address", func(m *machine) { m.input(request(macOf(3), them, w.addr(99), mac{}), epoch) }, map[string]int{asked: 1}},
			{"claim to a VIP", func(m *machine) { m.input(announced[0], epoch) }, defended},
			{"answer of a neighbor", func(m *machine) { m.input(answerTo(w, macOf(2), 2), epoch) }, map[string]int{told: 1, "neighbors_learned": 1}},
			{"malformed", func(m *machine) { m.input(announced[0][:20], epoch) }, map[string]int{"malformed": 1}},
			{"announcement", func(m *machine) { m.announce(m.vips[vip], epoch); m.timers.run(epoch) }, map[string]int{"announcements_sent": 5}},
			{"request", func(m *machine) { m.resolve(w.addr(7), &subscriber{}, epoch); m.timers.run(epoch) }, map[string]int{"requests_sent": 1}},
			{"probe", func(m *machine) { m.probe(w.addr(7), make(chan error, 1), epoch); m.timers.run(epoch) }, map[string]int{"probes_sent": 1}},
			{"link down", func(m *machine) { m.link.up = false; m.input(request(macOf(3), them, vip, mac{}), epoch) },
				map[string]int{asked: 1, "send_dropped": 1}},
			{"neighbor lost", func(m *machine) {
				m.input(answerTo(w, macOf(2), 2), epoch)
				m.timers.stop(&m.probes[w.addr(50)].timer)
				for now := epoch; m.stats.NeighborsLost == 0 && now.Before(epoch.Add(time.Minute)); now = now.Add(time.Second) {
					m.timers.run(now)
				}
				m.stats.RequestsSent, m.stats.ProbesSent, m.stats.VerificationsSent = 0, 0, 0
			}, map[string]int{told: 1, "neighbors_learned": 1, "neighbors_lost": 1}},
		} {
			t.Run(w.name+"/"+tc.name, func(t *testing.T) {
				m, _ := newTestMachine(t)
				m.stats = Stats{}
				tc.do(m)
				if d := cmp.Diff(tc.want, counts(t, m.stats)); d != "" {
					t.Errorf("(-want +got)\n%s", d)
				}
			})
		}
	}
}

func TestStatsSayWhatIsThere(t *testing.T) {
	inLAN(t, func(n *lan, w nums) {
		n.neighbor(w)
		l, p := n.host(Config{}, 1, w.host(1))
		p.dropped.Store(7)
		must(n.t, l.SetVIPs(vipsAt(mac{}, w.addr(100), w.addr(101))))
		defer l.Resolve(w.addr(2), func([6]byte, bool) {})()
		defer l.Resolve(w.addr(3), func([6]byte, bool) {})()
		synctest.Wait()
		if s := l.Stats(); s.VIPs != 2 || s.Neighbors != 2 || s.Known != 1 || s.ReceiveDropped != 7 {
			n.t.Errorf("%+v", s)
		}
	})
}

func TestStatsAreNamedInJSON(t *testing.T) {
	snake := regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)
	names := map[string]bool{}
	for f := range reflect.TypeFor[Stats]().Fields() {
		name := f.Tag.Get("json")
		if !snake.MatchString(name) || names[name] || strings.ReplaceAll(name, "_", "") != strings.ToLower(f.Name) {
			t.Errorf("%s is %q in JSON", f.Name, name)
		}
		names[name] = true
	}
}

func TestRefusedFramesAreCountedAndLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lan{t: t}
		var log strings.Builder
		l, p := n.host(Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}, 1, v4.host(1))
		n.mu.Lock()
		p.sendErr = errors.New("no buffer space")
		n.mu.Unlock()
		defer l.Resolve(v4.addr(2), func([6]byte, bool) {})()
		time.Sleep(10 * time.Minute)
		if s := l.Stats(); s.SendErrors != s.RequestsSent || s.SendErrors < 450 {
			t.Errorf("%d of %d counted", s.SendErrors, s.RequestsSent)
		}
		if c := strings.Count(log.String(), "no buffer space"); c < 10 || c > 10+60 {
			t.Errorf("%d log lines in 10 minutes", c)
		}
	})
}

// A user who does not return delays calls, but does not make them pile up.
func TestCallsThatWaitAreMadeOnceWithWhatIsTrueThen(t *testing.T) {
	inLAN(t, func(n *lan, w nums) {
		var (
			mu        sync.Mutex
			conflicts []mac
			block     = make(chan struct{})
		)
		l, _ := n.host(Config{OnConflict: func(c Conflict) {
			mu.Lock()
			conflicts = append(conflicts, c.MAC)
			mu.Unlock()
			<-block
		}}, 1, w.host(1))
		must(n.t, l.SetVIPs(vipsAt(mac{}, w.addr(100))))
		var got told
		defer l.Resolve(w.addr(2), got.changed)()
		stop := l.Resolve(w.addr(2), func([6]byte, bool) { n.t.Error("called after stop") })
		n.inject(announcement(macOf(9), w.addr(100))[0]) // called, and does not return
		for i := range byte(20) {
			n.inject(announcement(macOf(i+10), w.addr(100))[0])
			n.inject(announcement(macOf(i+10), w.addr(2))[0])
			time.Sleep(10 * time.Second)
		}
		l.mu.Lock()
		waiting := len(l.notices)
		l.mu.Unlock()
		if waiting != maxClaimants+2 {
			n.t.Errorf("%d calls wait, want one of OnConflict for each claimant, two of Resolve", waiting)
		}
		stop()
		got.want(n.t)
		n.inject(announcement(macOf(50), w.addr(2))[0])
		time.Sleep(time.Second)
		close(block)
		got.want(n.t, "50 true")
		mu.Lock()
		defer mu.Unlock()
		if want := []mac{macOf(9), macOf(9)}; !slices.Equal(conflicts, want) { // the others came and went unseen
			n.t.Errorf("told of %x, want %x", conflicts, want)
		}
	})
}
