package arp

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	marp "github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
)

// answerTo is what the host at a MAC answers to our request for one of its addresses.
func answerTo(w nums, at mac, addr byte) []byte {
	return reply(at, &message{asked: w.addr(addr), claimed: w.addr(1), mac: macOf(1)})
}

func TestNeighborMovesOnceItsOldMACLeavesThreeRequestsUnanswered(t *testing.T) {
	inLAN(t, func(n *lan, w nums) {
		l, p := n.host(Config{}, 1, w.host(1))
		var got told
		defer l.Resolve(w.addr(2), got.changed)()
		n.inject(answerTo(w, macOf(2), 2))
		got.want(n.t, "2 true")
		n.reset()
		start := time.Now()
		n.inject(announcement(macOf(3), w.addr(2))[0])
		time.Sleep(299 * time.Millisecond)
		got.want(n.t)
		for i, q := range p.sent() {
			if at := q.at.Sub(start); q.dst != macOf(2) || q.asked != w.addr(2) || at != time.Duration(i)*100*time.Millisecond {
				n.t.Errorf("request %d after %s to %x", i, at, q.dst)
			}
		}
		if c := len(p.sent()); c != 3 {
			n.t.Errorf("%d requests", c)
		}
		time.Sleep(time.Millisecond)
		got.want(n.t, "3 true")
		if q := p.sent()[3]; q.dst != macOf(3) {
			n.t.Errorf("after the move %x is asked", q.dst)
		}
		// The next claim is checked as the first was.
		n.inject(announcement(macOf(4), w.addr(2))[0])
		time.Sleep(299 * time.Millisecond)
		got.want(n.t)
		n.inject(answerTo(w, macOf(3), 2))
		time.Sleep(time.Second)
		got.want(n.t)
		if s := l.Stats(); s.NeighborsMoved != 1 || s.NeighborsLearned != 1 || s.NeighborClaims != 2 || s.NeighborConflicts != 1 {
			n.t.Errorf("stats %+v", s)
		}
	})
}

// An answer may be among the frames for which the sockets had no room.
func TestNeighborIsAskedAgainWhereFramesWereLost(t *testing.T) {
	inLAN(t, func(n *lan, w nums) {
		l, p := n.host(Config{}, 1, w.host(1))
		var got told
		defer l.Resolve(w.addr(2), got.changed)()
		n.inject(answerTo(w, macOf(2), 2))
		n.reset()
		n.inject(announcement(macOf(3), w.addr(2))[0])
		time.Sleep(150 * time.Millisecond)
		p.dropped.Add(1)
		time.Sleep(449 * time.Millisecond)
		got.want(n.t, "2 true")
		if c := len(p.sent()); c != 6 {
			n.t.Errorf("%d requests", c)
		}
		time.Sleep(time.Millisecond)
		got.want(n.t, "3 true")
	})
}

func TestNeighborStaysWhereItAnswers(t *testing.T) {
	for _, toldBy := range []string{"log", "call"} {
		t.Run(toldBy, func(t *testing.T) { neighborStaysWhereItAnswers(t, toldBy == "call") })
	}
}

func neighborStaysWhereItAnswers(t *testing.T, byCall bool) {
	inLAN(t, func(n *lan, w nums) {
		var log strings.Builder
		var conflicts []NeighborConflict
		cfg := Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}
		if byCall {
			cfg.OnNeighborConflict = func(c NeighborConflict) { conflicts = append(conflicts, c) }
		}
		l, p := n.host(cfg, 1, w.host(1))
		n.neighbor(w)
		var got told
		defer l.Resolve(w.addr(2), got.changed)()
		got.want(n.t, "2 true")
		n.reset()
		for range 35 { // one claim in each check, and in each pause after it
			n.inject(announcement(macOf(9), w.addr(2))[0])
			n.inject(answerTo(w, macOf(8), 2))
			time.Sleep(checkPause)
		}
		got.want(n.t)
		var checks int
		for _, q := range p.sent() {
			if q.dst != macOf(2) {
				n.t.Errorf("%x is asked", q.dst)
			}
			checks++
		}
		if checks < 34 || checks > 40 { // a request each, and those of the refresh
			n.t.Errorf("%d requests", checks)
		}
		if byCall && (len(conflicts) != 4 || conflicts[0].Addr != w.addr(2) || conflicts[0].MAC != macOf(2) ||
			conflicts[0].Claimant != macOf(9) && conflicts[0].Claimant != macOf(8) || conflicts[0].Interface != "eth0") {
			n.t.Errorf("told %+v", conflicts)
		}
		if c := strings.Count(log.String(), "mac=02:00:00:00:00:02 claimant="); c != 4-len(conflicts) {
			n.t.Errorf("%d log lines in 35 s:\n%s", c, log.String())
		}
		if s := l.Stats(); s.NeighborsMoved != 0 || s.NeighborClaims != 70 || s.NeighborConflicts < 34 {
			n.t.Errorf("stats %+v", s)
		}
	})
}

func TestResolveFollowsAChangeOfMAC(t *testing.T) {
	inLAN(t, func(n *lan, w nums) {
		server, sp := n.neighbor(w)
		l, _ := n.host(Config{}, 1, w.host(1))
		var got told
		defer l.Resolve(w.addr(2), got.changed)()
		got.want(n.t, "2 true")

		sp.set(func(s *state) { s.mac = macOf(3) }) // announces itself
		time.Sleep(300 * time.Millisecond)
		got.want(n.t, "3 true")

		// Moved in silence: found by the next request.
		must(n.t, server.SetVIPs(nil))
		other, _ := n.host(Config{}, 4)
		must(n.t, other.SetVIPs(vipsAt(mac{}, w.addr(2))))
		time.Sleep(time.Minute)
		got.want(n.t, "4 true")
	})
}

func TestWhatIsAClaim(t *testing.T) {
	na := func(solicited, override bool) []byte {
		return ndFrame(macOf(3), macOf(1), v6.addr(2), v6.addr(1), &ndp.NeighborAdvertisement{
			Solicited: solicited, Override: override, TargetAddress: v6.addr(2), Options: linkLayer(ndp.Target, macOf(3)),
		})
	}
	for _, tc := range []struct {
		name  string
		nums  nums
		frame []byte
		moves bool
	}{
		{"ARP reply", v4, arpFrame(marp.OperationReply, macOf(3), macOf(1), v4.addr(2), macOf(1), v4.addr(1)), true},
		{"gratuitous ARP request", v4, announcement(macOf(3), v4.addr(2))[0], true},
		{"gratuitous ARP reply", v4, announcement(macOf(3), v4.addr(2))[1], true},
		{"ARP request", v4, request(macOf(3), v4.addr(2), v4.addr(9), mac{}), true},
		{"ARP reply to another host", v4, arpFrame(marp.OperationReply, macOf(3), macOf(7), v4.addr(2), macOf(7), v4.addr(7)), false},
		{"ARP probe", v4, request(macOf(3), none4, v4.addr(2), mac{}), false},
		{"NA without override", v6, na(true, false), false},
		{"NA with override", v6, na(true, true), true},
		{"NA with override, unsolicited", v6, na(false, true), true},
		{"NS of the neighbor", v6, request(macOf(3), v6.addr(2), v6.addr(1), macOf(1)), true},
		{"NS of the neighbor without its MAC", v6,
			ndFrame(macOf(3), macOf(1), b2, b1, &ndp.NeighborSolicitation{TargetAddress: b1}), false},
		{"NA without MAC", v6, ndFrame(macOf(3), macOf(1), b2, b1,
			&ndp.NeighborAdvertisement{Solicited: true, Override: true, TargetAddress: b2}), false},
		{"DAD", v6, request(macOf(3), none6, v6.addr(2), mac{}), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &lan{t: t}
				l, p := n.host(Config{}, 1, tc.nums.host(1))
				must(t, p.Join(membership{group: solicitedNode(v6.addr(2))}))
				var got told
				defer l.Resolve(tc.nums.addr(2), got.changed)()
				n.inject(answerTo(tc.nums, macOf(2), 2))
				got.want(t, "2 true")
				n.inject(tc.frame)
				time.Sleep(300 * time.Millisecond)
				if tc.moves {
					got.want(t, "3 true")
				} else {
					got.want(t)
				}
			})
		})
	}
}

func TestAnAnswerFromAnotherMACIsNoAnswer(t *testing.T) {
	inLAN(t, func(n *lan, w nums) {
		l, _ := n.host(Config{}, 1, w.host(1))
		var got told
		defer l.Resolve(w.addr(2), got.changed)()
		n.inject(answerTo(w, macOf(2), 2))
		got.want(n.t, "2 true")
		n.inject(announcement(macOf(3), w.addr(2))[0])
		for range 3 {
			time.Sleep(90 * time.Millisecond)
			n.inject(answerTo(w, macOf(3), 2))
		}
		time.Sleep(30 * time.Millisecond)
		got.want(n.t, "3 true")
	})
}

func TestSilenceOfALinkThatIsDownMovesNobody(t *testing.T) {
	inLAN(t, func(n *lan, w nums) {
		n.neighbor(w)
		l, p := n.host(Config{}, 1, w.host(1))
		var got told
		defer l.Resolve(w.addr(2), got.changed)()
		got.want(n.t, "2 true")
		n.mu.Lock()
		n.ports[0].state.up = false // the server hears nothing
		n.mu.Unlock()
		n.inject(announcement(macOf(3), w.addr(2))[0])
		time.Sleep(250 * time.Millisecond)
		p.set(func(s *state) { s.up = false })
		time.Sleep(time.Second)
		n.mu.Lock()
		n.ports[0].state.up = true
		n.mu.Unlock()
		p.set(func(s *state) { s.up = true })
		time.Sleep(10 * time.Second)
		got.want(n.t)
	})
}

// The host's other interface on the same network answers and announces as this one does.
func TestTheHostsOwnInterfaceIsNotAnotherHost(t *testing.T) {
	inLAN(t, func(n *lan, w nums) {
		noConflict := func(c Conflict) { n.t.Errorf("conflict %+v", c) }
		eth0, p0 := n.host(Config{OnConflict: noConflict}, 1, w.host(1))
		eth1, p1 := n.host(Config{OnConflict: noConflict}, 2, w.host(2))
		for _, p := range []*port{p0, p1} {
			p.set(func(s *state) { s.host = map[mac]bool{macOf(1): true, macOf(2): true} })
		}
		must(n.t, eth0.SetVIPs(vipsAt(mac{}, w.addr(100))))
		must(n.t, eth1.Probe(n.t.Context(), w.addr(100)))
		must(n.t, eth1.SetVIPs(vipsAt(mac{}, w.addr(100))))
		must(n.t, eth0.Announce(n.t.Context(), w.addr(100)))
		must(n.t, eth1.Announce(n.t.Context(), w.addr(100)))
		if a, b := eth0.Stats(), eth1.Stats(); a.Conflicts+b.Conflicts+a.DefensesSent+b.DefensesSent != 0 {
			n.t.Errorf("stats %+v\n%+v", a, b)
		}
		must(n.t, p1.Join(membership{group: solicitedNode(w.addr(2))}))
		var got told
		defer eth0.Resolve(w.addr(50), got.changed)()
		n.inject(announcement(macOf(2), w.addr(50))[0]) // as of a proxy on eth1
		got.want(n.t)
		must(n.t, eth1.SetVIPs(nil))
		n.reset()
		n.inject(request(macOf(2), w.addr(2), w.addr(100), mac{})) // the host asks by eth1
		if len(p0.sent()) != 1 {
			n.t.Error("a request by another interface of the host is not answered")
		}
	})
}

// floodLAN is a machine and hosts at MAC 2 that it resolves and that answer its requests.
type floodLAN struct {
	m    *machine
	sent *[][]byte
	now  time.Time
	log  strings.Builder

	asked  int  // requests for the neighbors
	silent bool // MAC 2 does not answer
}

// elsewhere is where hosts of a floodLAN answer that have moved.
var elsewhere = macOf(200)

func newFloodLAN(t *testing.T, neighbors int) *floodLAN {
	f := &floodLAN{now: epoch}
	f.m, f.sent = newTestMachine(t)
	f.m.log = slog.New(slog.NewTextHandler(&f.log, nil))
	f.m.random = rand.New(rand.NewPCG(1, 2)).Float64
	for i := range neighbors {
		f.m.resolve(floodAddr(i), &subscriber{changed: func([6]byte, bool) {}}, f.now)
	}
	f.until(f.now.Add(time.Second))
	f.asked = 0
	return f
}

// until lets time pass. Requests are answered at once.
func (f *floodLAN) until(to time.Time) {
	for {
		f.answer()
		at, ok := f.m.timers.next()
		if !ok || at.After(to) {
			break
		}
		if at.After(f.now) {
			f.now = at
		}
		f.m.timers.run(f.now)
	}
	f.now = to
}

func (f *floodLAN) answer() {
	for len(*f.sent) > 0 {
		frames := *f.sent
		*f.sent = nil
		for _, b := range frames {
			q, err := parse(b)
			if err != nil || q.kind != arpRequest || q.asked.As4()[0] != 10 {
				continue
			}
			f.asked++
			if q.dst == elsewhere {
				f.m.input(reply(elsewhere, &q), f.now)
			} else if !f.silent {
				f.m.input(reply(macOf(2), &q), f.now)
			}
		}
	}
}

func TestAFloodOfClaimsIsBounded(t *testing.T) {
	const neighbors, perSecond, seconds = 100, 10000, 20
	f := newFloodLAN(t, neighbors)
	var told int
	f.m.cfg.OnNeighborConflict = func(NeighborConflict) { told++ }
	random := rand.New(rand.NewPCG(3, 4))
	timers := len(f.m.timers.h)
	for range perSecond * seconds {
		by := mac{0x06, 0, byte(random.Int()), byte(random.Int()), byte(random.Int()), 9}
		f.m.input(announcement(by, floodAddr(random.IntN(neighbors)))[random.IntN(2)], f.now)
		f.until(f.now.Add(time.Second / perSecond))
	}
	if s := f.m.stats; s.NeighborsMoved != 0 || s.NeighborsLost != 0 || s.NeighborClaims != perSecond*seconds {
		t.Errorf("stats %+v", s)
	}
	// A check a second of each, of one request, and its confirmation each 20 s.
	if limit := neighbors * (seconds + 1) * 11 / 10; f.asked > limit {
		t.Errorf("%d requests in %d s, want %d at most", f.asked, seconds, limit)
	}
	if limit := timers + neighbors; len(f.m.timers.h) > limit {
		t.Errorf("%d timers, want %d at most", len(f.m.timers.h), limit)
	}
	if limit := neighbors * (seconds/10 + 1); told > limit {
		t.Errorf("%d conflicts told, want %d at most", told, limit)
	}
	if lines := strings.Count(f.log.String(), "claimant="); lines > 10+seconds/10 {
		t.Errorf("%d log lines:\n%s", lines, f.log.String())
	}

	// One that really moves is found within a pause and a check, flood or not.
	f.silent = true
	for range 14 {
		f.m.input(announcement(macOf(7), floodAddr(5))[0], f.now)
		f.until(f.now.Add(100 * time.Millisecond))
	}
	if n := f.m.neighbors[floodAddr(5)]; n.mac != macOf(7) || !n.valid {
		t.Errorf("at %x", n.mac)
	}
}

func TestMovesOfManyAtOnceAreSpread(t *testing.T) {
	const neighbors = 1500
	f := newFloodLAN(t, neighbors)
	f.until(f.now.Add(10 * time.Second))
	f.silent, f.asked = true, 0
	moved := func() (c int) {
		for i := range neighbors {
			if f.m.neighbors[floodAddr(i)].mac == elsewhere {
				c++
			}
		}
		return c
	}
	for i := range neighbors {
		f.m.input(announcement(elsewhere, floodAddr(i))[0], f.now)
	}
	begin := f.now
	for f.now.Sub(begin) < 10*time.Second && moved() < neighbors {
		f.until(f.now.Add(300 * time.Millisecond))
		if limit := 1000 + int(f.now.Sub(begin)/time.Millisecond) + attempts; f.asked > limit {
			t.Fatalf("%d requests after %s, want %d at most", f.asked, f.now.Sub(begin), limit)
		}
	}
	if c := moved(); c != neighbors {
		t.Errorf("%d of %d moved in 10 s", c, neighbors)
	}
}

func TestNobodyIsAskedForTheHostsOwnAddress(t *testing.T) {
	inLAN(t, func(n *lan, w nums) {
		l, p := n.host(Config{}, 1, w.host(1))
		defer l.Resolve(w.addr(1), func([6]byte, bool) {})()
		n.inject(announcement(macOf(3), w.addr(1))[0])
		n.inject(announcement(macOf(4), w.addr(1))[0])
		time.Sleep(time.Minute)
		if len(p.sent()) != 0 {
			n.t.Errorf("sent %+v", p.sent())
		}
	})
}

// Whatever is claimed: who answers within 100 ms is never moved, who does not answer
// is, and is at the last that claimed it.
func TestRandomClaimsMoveOnlyTheSilent(t *testing.T) {
	for seed := range uint64(200) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			f := newFloodLAN(t, 1)
			f.silent = seed%2 == 1
			n := f.m.neighbors[floodAddr(0)]
			var last mac
			for range 1 + random.IntN(50) {
				last = macOf(byte(3 + random.IntN(20)))
				f.m.input(announcement(last, floodAddr(0))[random.IntN(2)], f.now)
				f.until(f.now.Add(time.Duration(random.IntN(200)) * time.Millisecond))
				if !f.silent && n.mac != macOf(2) {
					t.Fatalf("at %x", n.mac)
				}
			}
			if f.silent && last == n.mac {
				last = macOf(99) // no claim to another MAC
			}
			f.m.input(announcement(last, floodAddr(0))[0], f.now)
			f.until(f.now.Add(2 * time.Second))
			if f.silent && n.mac != last || !f.silent && n.mac != macOf(2) {
				t.Errorf("at %x, last claimed by %x", n.mac, last)
			}
		})
	}
}
