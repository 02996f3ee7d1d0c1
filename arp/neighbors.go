package arp

import (
	"net/netip"
	"sync/atomic"
	"time"
)

const (
	// attempts is how many questions in a row go unanswered until a neighbour is held
	// to be gone: MAX_UNICAST_SOLICIT of RFC 4861 §10, ucast_solicit in Linux.
	attempts = 3
	// lockTime is how long an ARP reply cannot be overridden by another that is not
	// gratuitous: of two interfaces that answer for one address, the first stays
	// (locktime in Linux).
	lockTime = time.Second
)

// neighbor is an address that somebody wants the MAC of.
type neighbor struct {
	addr       netip.Addr
	mac        mac       // the last known
	known      bool      // mac is good
	learnt     time.Time // when mac was set
	unanswered int       // questions since the last answer
	blind      bool      // the last question was asked from the unspecified address
	timer      timer     // when to ask next
	wanted     []*want
}

// want is one caller of Resolve.
type want struct {
	changed func(mac [6]byte, ok bool)
	stopped atomic.Bool
}

// resolve adds one who wants to know of addr; forget removes it.
func (m *machine) resolve(addr netip.Addr, w *want, now time.Time) {
	n := m.neighbors[addr]
	if n == nil {
		n = &neighbor{addr: addr}
		n.timer.fire = func(now time.Time) { m.ask(n, now) }
		m.neighbors[addr] = n
		m.timers.set(&n.timer, now)
	}
	n.wanted = append(n.wanted, w)
	if n.known {
		m.tell(n, w)
	}
}

func (m *machine) forget(addr netip.Addr, w *want) {
	n := m.neighbors[addr]
	for i := range n.wanted {
		if n.wanted[i] == w {
			n.wanted = append(n.wanted[:i], n.wanted[i+1:]...)
			break
		}
	}
	if len(n.wanted) == 0 {
		m.timers.stop(&n.timer)
		delete(m.neighbors, addr)
	}
}

// ask sends the next question: to the known MAC at first, to everybody from the second
// on, and while no MAC is known.
func (m *machine) ask(n *neighbor, now time.Time) {
	m.timers.set(&n.timer, now.Add(m.spread(m.cfg.Retry)))
	if n.unanswered == attempts {
		m.log.Warn("arp: neighbour does not answer", "interface", m.cfg.Interface, "address", n.addr, "mac", hardware(n.mac).String())
		if n.known {
			n.known = false
			m.tellAll(n)
		}
	}
	if m.isHost(n.addr) {
		return // a question for one's own address is an announcement
	}
	var to mac
	if n.known && n.unanswered == 0 {
		to = n.mac
	}
	source := m.source(n.addr)
	n.blind = source.IsUnspecified()
	n.unanswered++
	m.stats.Asked++
	m.transmit(question(m.link.mac, source, n.addr, to))
}

// learn takes in what msg says of a neighbour: RFC 826 "merge", RFC 4861 §7.2.3 and
// §7.2.5. Only an answer to a question shows that the neighbour hears us, and puts off
// the next question.
func (m *machine) learn(msg *message, now time.Time) {
	n := m.neighbors[msg.claimed]
	if n == nil {
		return
	}
	if !msg.explicit { // an NA to one host may leave out what that host used
		if msg.solicits && n.known {
			m.confirmed(n, now)
		}
		return
	}
	if n.known && msg.mac != n.mac && !m.mayOverride(n, msg, now) {
		return
	}
	if !n.known || msg.mac != n.mac {
		n.mac, n.known, n.learnt = msg.mac, true, now
		n.unanswered = 0
		m.timers.set(&n.timer, now)
		m.tellAll(n)
	}
	if msg.solicits || n.blind && !msg.asked.IsValid() {
		m.confirmed(n, now)
	}
}

// mayOverride reports whether msg replaces a known MAC by another.
func (m *machine) mayOverride(n *neighbor, msg *message, now time.Time) bool {
	return msg.override || n.addr.Is4() && now.Sub(n.learnt) >= lockTime
}

func (m *machine) confirmed(n *neighbor, now time.Time) {
	n.unanswered = 0
	m.timers.set(&n.timer, now.Add(m.spread(m.cfg.Refresh)))
}

func (m *machine) tellAll(n *neighbor) {
	m.log.Debug("arp: neighbour", "interface", m.cfg.Interface, "address", n.addr, "mac", hardware(n.mac).String(), "known", n.known)
	for _, w := range n.wanted {
		m.tell(n, w)
	}
}

func (m *machine) tell(n *neighbor, w *want) {
	mac, known := n.mac, n.known
	m.notify(func() {
		if !w.stopped.Load() {
			w.changed(mac, known)
		}
	})
}
