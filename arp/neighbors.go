package arp

import (
	"log/slog"
	"net/netip"
	"time"
)

// attempts is how many requests in a row go unanswered until a neighbor counts as gone:
// MAX_UNICAST_SOLICIT of RFC 4861 §10, ucast_solicit in Linux.
const attempts = 3

// neighbor is an address that is being resolved.
type neighbor struct {
	addr        netip.Addr
	mac         mac  // the last known; zero: it has never been
	valid       bool // mac is good
	unanswered  int  // requests since the last answer
	asProbe     bool // the last request was asked from the unspecified address
	timer       timer
	subscribers []*subscriber

	move move
}

// subscriber is one caller of Resolve.
type subscriber struct {
	notice
	changed func(mac [6]byte, ok bool)
	stopped bool
	mac     mac // what changed was last called with
	valid   bool
}

// resolve adds a subscriber to addr; unsubscribe removes it.
func (m *machine) resolve(addr netip.Addr, s *subscriber, now time.Time) {
	n := m.neighbors[addr]
	if n == nil {
		n = &neighbor{addr: addr}
		n.timer.fire = func(now time.Time) { m.ask(n, now) }
		n.move.init(m, n)
		m.neighbors[addr] = n
		m.timers.set(&n.timer, now)
	}
	s.prepare = func() func() { return s.update(n) }
	n.subscribers = append(n.subscribers, s)
	if n.valid {
		m.notify(&s.notice)
	}
}

func (m *machine) unsubscribe(addr netip.Addr, s *subscriber) {
	if s.stopped {
		return
	}
	s.stopped = true
	n := m.neighbors[addr]
	for i := range n.subscribers {
		if n.subscribers[i] == s {
			n.subscribers = append(n.subscribers[:i], n.subscribers[i+1:]...)
			break
		}
	}
	if len(n.subscribers) == 0 {
		m.timers.stop(&n.timer)
		m.timers.stop(&n.move.timer)
		delete(m.neighbors, addr)
		if n.valid {
			m.known--
		}
	}
}

// update returns the call that tells a subscriber what it does not know yet, if anything.
func (s *subscriber) update(n *neighbor) func() {
	mac, valid := n.mac, n.valid
	if s.stopped || valid == s.valid && (!valid || mac == s.mac) {
		return nil
	}
	s.mac, s.valid = mac, valid
	return func() { s.changed(mac, valid) }
}

// ask sends the next request: to the known MAC at first, to everybody from the second
// on, and while no MAC is known.
func (m *machine) ask(n *neighbor, now time.Time) {
	m.timers.set(&n.timer, now.Add(m.spread(m.cfg.Retry)))
	if m.isHost(n.addr) {
		return // a request for one's own address is an announcement
	}
	if !m.budgetFor(n).take(now, 1) {
		m.stats.RequestsPostponed++
		return
	}
	if n.unanswered == attempts {
		m.lost(n, now)
	}
	var to mac
	if n.valid && n.unanswered == 0 {
		to = n.mac
	}
	n.unanswered++
	m.sendQuestion(n, to)
}

// budgetFor returns what limits requests for a neighbor. Those that packets can cause
// for addresses that no host has do not hold up the rest: the first request for an
// address comes before the next for a silent one, and neighbors that once answered have a
// budget apart.
func (m *machine) budgetFor(n *neighbor) *budget {
	switch {
	case n.mac != mac{}:
		return &m.confirmations
	case n.unanswered == 0:
		return &m.firstRequests
	}
	return &m.repeats
}

func (m *machine) sendQuestion(n *neighbor, to mac) {
	source := m.source(n.addr)
	n.asProbe = source.IsUnspecified()
	m.transmit(&m.stats.RequestsSent, request(m.link.mac, source, n.addr, to))
}

// lost is called where a neighbor left all attempts unanswered.
func (m *machine) lost(n *neighbor, now time.Time) {
	args := []any{"address", n.addr}
	if n.mac != (mac{}) {
		args = append(args, "mac", hardware(n.mac).String())
	}
	m.logLimited(&m.logs.silent, now, slog.LevelWarn, "arp: neighbor does not answer", args...)
	if n.valid {
		n.valid = false
		m.known--
		m.stats.NeighborsLost++
		m.tellAll(n)
	}
}

// updateNeighbor takes in what msg says of a neighbor: RFC 826 "merge", RFC 4861 §7.2.3 and
// §7.2.5. Only an answer to a request shows that the neighbor hears this link, and puts
// off the next request. Another MAC than the known one is only a claim at first.
func (m *machine) updateNeighbor(msg *message, now time.Time) {
	n := m.neighbors[msg.claimed]
	if n == nil {
		return
	}
	switch {
	case n.valid && msg.mac == n.mac:
	case !msg.explicit: // an NA to one host may leave out the MAC that this host used
		return
	case n.valid:
		if msg.override || n.addr.Is4() {
			m.claim(n, msg.mac, now)
		}
		return
	default:
		m.stats.NeighborsLearned++
		if m.known == 0 && n.unanswered >= attempts {
			m.announceAgain(now) // all were silent: the port of the switch may have passed nothing
		}
		m.setMAC(n, msg.mac, now)
	}
	if msg.solicited || n.asProbe && !msg.asked.IsValid() {
		m.confirm(n, now)
	}
}

// setMAC makes a MAC the known one, and asks there at once whether the neighbor hears.
func (m *machine) setMAC(n *neighbor, to mac, now time.Time) {
	if !n.valid {
		m.known++
	}
	n.mac, n.valid, n.unanswered = to, true, 0
	n.move.stop(m)
	m.timers.set(&n.timer, now)
	m.tellAll(n)
}

// confirm is called where a neighbor has answered at its known MAC.
func (m *machine) confirm(n *neighbor, now time.Time) {
	n.unanswered = 0
	m.timers.set(&n.timer, now.Add(m.spread(m.cfg.Refresh)))
	if n.move.timer.pending() {
		m.refuseMove(n, now)
	}
}

func (m *machine) tellAll(n *neighbor) {
	m.log.Debug("arp: neighbor", "interface", m.cfg.Interface, "address", n.addr, "mac", hardware(n.mac).String(), "known", n.valid)
	for _, s := range n.subscribers {
		m.notify(&s.notice)
	}
}
