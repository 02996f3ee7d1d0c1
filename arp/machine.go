package arp

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"
)

// machine is all that one link knows and decides. It has no clock, socket, lock or
// goroutine: frames and the time go in, frames and calls come out through send,
// afterSend and notify.
type machine struct {
	cfg        Config // with its defaults
	log        *slog.Logger
	send       func(frame []byte) bool // false: too many wait to be sent
	afterSend  func(call func())       // to be called once the frames before it are on the wire
	notify     func(*notice)           // to be called in order
	random     func() float64          // in [0, 1), to spread questions
	timers     timers
	stats      Stats
	logs       logBudgets
	sourceless [2]bool // that there is no address to ask from was logged, for IPv4 and IPv6

	link    state
	vips    map[netip.Addr]*vip
	vipMACs map[mac]bool // of VIPs that are not at the interface's own
	probes  map[netip.Addr]*probe

	neighbors                              map[netip.Addr]*neighbor
	firstQuestions, repeats, confirmations budget // see budgetFor
}

// state is what the host says of the interface, and of itself.
type state struct {
	mac   mac
	up    bool           // administratively up, with a carrier
	addrs []netip.Prefix // of the host on this interface, fit to be a source
	host  map[mac]bool   // the MACs of all interfaces of the host
}

// notice is a call to a user of the link. One that waits is not queued again: what it
// says is what is true when its turn comes. So no number of packets makes the queue long.
type notice struct {
	queued  bool
	prepare func() func() // returns the call, to be made without lock; nil: nothing new
}

// logBudgets limit log lines by kind.
type logBudgets struct {
	conflict, neighborConflict, moved, silent, unsent, unfit *logBudget
}

func newMachine(cfg Config, link state) *machine {
	return &machine{
		cfg: cfg, log: cfg.Logger, link: link,
		vips:      map[netip.Addr]*vip{},
		probes:    map[netip.Addr]*probe{},
		neighbors: map[netip.Addr]*neighbor{},

		// As many neighbors as Linux's table has room for (gc_thresh3) are asked at once.
		firstQuestions: budget{interval: 2 * time.Millisecond, burst: 1000},
		repeats:        budget{interval: 5 * time.Millisecond, burst: 200},
		confirmations:  budget{interval: time.Millisecond, burst: 1000},
		logs: logBudgets{
			conflict: newLogBudget(), neighborConflict: newLogBudget(), moved: newLogBudget(),
			silent: newLogBudget(), unsent: newLogBudget(), unfit: newLogBudget(),
		},
	}
}

// input takes a frame that the interface received.
func (m *machine) input(frame []byte, now time.Time) {
	msg, err := parse(frame)
	if err != nil {
		m.stats.Malformed++
		return
	}
	m.countReceived(&msg)
	if msg.mac == m.link.mac || msg.src == m.link.mac {
		return // ours, come back through a loop or a hairpin
	}
	// What the host itself says, by another of its interfaces or at the MAC of a VIP, is no
	// claim of another host. A host that shares a virtual MAC is not told from this one.
	another := !m.link.host[msg.mac] && !m.vipMACs[msg.mac]
	if another {
		m.answerProbe(&msg)
		if v := m.vips[msg.claimed]; v != nil {
			m.defend(v, msg.mac, now)
		}
	}
	if !group(msg.dst) && msg.dst != m.link.mac && !m.vipMACs[msg.dst] {
		return // for another host; seen because somebody made the interface promiscuous
	}
	if another {
		m.learn(&msg, now)
	}
	m.answer(&msg)
}

// setLink takes what the host says of the interface now. A link that comes up, or gets
// another MAC, may be in another place: what was said is said again, and what was asked
// is asked again.
func (m *machine) setLink(s state, now time.Time) {
	was := m.link
	m.link = s
	if s.up != was.up {
		m.log.Info("arp: link changed", "interface", m.cfg.Interface, "up", s.up)
	}
	if !s.up {
		m.abortProbes()
		for _, n := range m.neighbors {
			n.move.stop(m) // silence means nothing now
		}
		return
	}
	for _, v := range m.vips {
		if !was.up || v.at(was) != v.at(s) {
			m.announce(v, now)
		}
	}
	if !was.up || s.mac != was.mac {
		for _, n := range m.neighbors {
			m.timers.set(&n.timer, now)
		}
	}
}

// transmit sends the frames of one message, and counts it. While the link is down it
// sends nothing: the kernel would say so for each frame.
func (m *machine) transmit(count *uint64, frames ...[]byte) {
	for _, f := range frames {
		if !m.link.up || !m.send(f) {
			m.stats.SendDropped++
			return
		}
	}
	*count++
}

// unsent counts a frame that the interface did not take.
func (m *machine) unsent(err error, now time.Time) {
	m.stats.SendErrors++
	m.logLimited(m.logs.unsent, now, slog.LevelWarn, "arp: frame not sent", "error", err, "send_errors", m.stats.SendErrors)
}

// logLimited logs what packets can cause, unless too much of the kind was logged lately.
func (m *machine) logLimited(b *logBudget, now time.Time, level slog.Level, msg string, args ...any) {
	if !b.take(now, 1) {
		b.omitted++
		return
	}
	args = append(args, "interface", m.cfg.Interface)
	if b.omitted > 0 {
		args = append(args, "omitted", b.omitted)
		b.omitted = 0
	}
	m.log.Log(context.Background(), level, msg, args...)
}

// source returns the address to ask for target from. It is one of the host's on this
// interface: in the target's subnet if there is one, as with arp_announce=2 in Linux;
// else any, for IPv6 a link-local one rather.
//
// Where the host has none it is the unspecified address, as in a probe, which every
// host answers for its own addresses (RFC 5227 §2.1.1 expects it, Linux and BSD do it
// on a path of its own). A VIP would be worse: servers that have it on their loopback,
// all of DSR, drop the request as a martian.
func (m *machine) source(target netip.Addr) netip.Addr {
	var any netip.Addr
	for _, p := range m.link.addrs {
		a := p.Addr()
		switch {
		case a.Is4() != target.Is4():
		case p.Contains(target):
			return a
		case !any.IsValid(), a.IsLinkLocalUnicast() && !a.Is4():
			any = a
		}
	}
	family := 0
	unspecified := netip.IPv4Unspecified()
	if target.Is6() {
		family, unspecified = 1, netip.IPv6Unspecified()
	}
	if any.IsValid() {
		m.sourceless[family] = false
		return any
	}
	if !m.sourceless[family] {
		m.sourceless[family] = true
		m.log.Warn("arp: the host has no address of this family on the interface (not configured, or IPv6 disabled there): "+
			"asking for neighbors without one", "interface", m.cfg.Interface, "source", unspecified)
	}
	return unspecified
}

// isHost reports whether the host has a on this interface.
func (m *machine) isHost(a netip.Addr) bool {
	return slices.ContainsFunc(m.link.addrs, func(p netip.Prefix) bool { return p.Addr() == a })
}

// spread returns d, give or take a quarter.
func (m *machine) spread(d time.Duration) time.Duration {
	return d*3/4 + time.Duration(m.random()*float64(d)/2)
}

func hardware(m mac) net.HardwareAddr { return net.HardwareAddr(m[:]) }
