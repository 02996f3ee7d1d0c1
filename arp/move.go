package arp

import (
	"log/slog"
	"time"
)

// A neighbor moves to another MAC only where the old one is silent: a claim, which any
// host on the link can make, is checked by asking the old MAC. If that answers, the
// neighbor stays where it is, and the two are a conflict.
const (
	// checkInterval is the time between the requests to the old MAC, and after the last.
	checkInterval = 100 * time.Millisecond
	// checkPause is the least time from a claim that was refused to the check of the next.
	checkPause = time.Second
)

// move is a claim to a neighbor's address by another MAC. Of several, the last counts.
type move struct {
	to      mac
	asked   int       // requests to the old MAC, in the check under way
	dropped uint64    // frames that the sockets had lost when it began
	timer   timer     // set: a check is under way, or waits for its time
	next    time.Time // when the next check may begin
	told    time.Time // when a conflict was last logged and told
	last    NeighborConflict
	notice
}

func (mv *move) init(m *machine, n *neighbor) {
	mv.timer.fire = func(now time.Time) { m.checkMove(n, now) }
	mv.prepare = func() func() {
		c := mv.last
		return func() { m.cfg.OnNeighborConflict(c) }
	}
}

func (mv *move) stop(m *machine) {
	m.timers.stop(&mv.timer)
	mv.asked = 0
}

// claim notes that a host at another MAC says to be the neighbor.
func (m *machine) claim(n *neighbor, by mac, now time.Time) {
	m.stats.NeighborClaims++
	mv := &n.move
	mv.to = by
	switch {
	case mv.timer.pending() || m.isHost(n.addr): // a request for one's own address is an announcement
	case now.Before(mv.next):
		m.timers.set(&mv.timer, mv.next)
	default:
		m.timers.set(&mv.timer, now)
	}
}

// checkMove asks the old MAC once more, or moves the neighbor where it was asked enough.
func (m *machine) checkMove(n *neighbor, now time.Time) {
	mv := &n.move
	if mv.asked == attempts && m.dropped() != mv.dropped {
		mv.asked = 0 // the answer may have been among them: whoever claims fast enough would win
	}
	if mv.asked == attempts {
		m.stats.NeighborsMoved++
		m.logLimited(&m.logs.moved, now, slog.LevelInfo, "arp: neighbor has moved", "address", n.addr,
			"mac", hardware(mv.to).String(), "old", hardware(n.mac).String())
		m.setMAC(n, mv.to, now)
		return
	}
	if mv.asked == 0 && !m.confirmations.take(now, attempts) {
		m.stats.RequestsPostponed++
		m.timers.set(&mv.timer, now.Add(m.spread(checkPause)))
		return
	}
	if mv.asked == 0 {
		mv.dropped = m.dropped()
	}
	mv.asked++
	m.sendQuestion(n, n.mac)
	m.timers.set(&mv.timer, now.Add(checkInterval))
}

// refuseMove is called where the old MAC has answered although another one is claimed.
func (m *machine) refuseMove(n *neighbor, now time.Time) {
	mv := &n.move
	mv.stop(m)
	mv.next = now.Add(checkPause)
	m.stats.NeighborConflicts++
	if now.Sub(mv.told) < conflictInterval {
		return
	}
	mv.told = now
	if m.cfg.OnNeighborConflict != nil {
		mv.last = NeighborConflict{Addr: n.addr, MAC: n.mac, Claimant: mv.to, Interface: m.cfg.Interface}
		m.notify(&mv.notice)
		return
	}
	m.logLimited(&m.logs.neighborConflict, now, slog.LevelWarn, "arp: two hosts have the address of a neighbor, which stays at the first",
		"address", n.addr, "mac", hardware(n.mac).String(), "claimant", hardware(mv.to).String())
}
