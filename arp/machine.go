package arp

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"
)

// machine is the state of one link, and decides what it does. It has no clock, socket,
// lock or goroutine: frames and the time go in, frames and calls come out through send,
// afterSend and notify. Link calls it with its lock held.
type machine struct {
	cfg        Config // with its defaults
	log        *slog.Logger
	send       func(frame []byte) bool // false: not sent, too many frames wait
	afterSend  func(call func())       // calls after the frames so far are on the wire
	notify     func(*notice)           // queues a notice unless it is queued
	random     func() float64          // in [0, 1), to spread requests
	dropped    func() uint64           // how many received frames were lost for want of room
	timers     timers
	stats      Stats
	logs       logLimits
	sourceless [2]bool // was logged: no address to ask from, for IPv4 and IPv6

	link    state
	quiet   bool // no other host was heard since the link is up
	vips    map[netip.Addr]*vip
	vipMACs map[mac]bool // of VIPs that are not at the interface's own
	probes  map[netip.Addr]*probe

	neighbors                             map[netip.Addr]*neighbor
	known                                 int    // of them, with a known MAC
	firstRequests, repeats, confirmations budget // see budgetFor
	announcements, verifications          budget
}

// state is what the kernel says of the interface and the host.
type state struct {
	mac   mac
	up    bool           // administratively up, with a carrier
	addrs []netip.Prefix // of the host on this interface, except tentative ones
	host  map[mac]bool   // MACs of all interfaces of the host
	// moved: the kernel asks to announce what is here (NETDEV_NOTIFY_PEERS), as a bond has
	// another active port, or a virtual machine another host.
	moved bool
}

// notice is a call to a user of the link that waits for its turn. It is queued at most
// once, and says what is true when its turn comes, so the queue has a bound.
type notice struct {
	queued  bool
	prepare func() func() // with the lock held; returns the call, to make without it, or nil
}

// logLimits are by kind.
type logLimits struct {
	conflict, neighborConflict, moved, silent, sendError, badAddress LogLimit
}

func newMachine(cfg Config, link state) *machine {
	return &machine{
		cfg: cfg, log: cfg.Logger, link: link, quiet: true,
		dropped:   func() uint64 { return 0 },
		vips:      map[netip.Addr]*vip{},
		probes:    map[netip.Addr]*probe{},
		neighbors: map[netip.Addr]*neighbor{},

		firstRequests: budget{interval: 2 * time.Millisecond, burst: 1000},
		repeats:       budget{interval: 5 * time.Millisecond, burst: 200},
		confirmations: budget{interval: time.Millisecond, burst: 1000},
		announcements: budget{interval: time.Millisecond, burst: 1000},
		verifications: budget{interval: 50 * time.Millisecond, burst: 20},
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
		return // sent by this link, and come back
	}
	// A host that shares a virtual MAC of this link cannot be told from the link itself.
	another := !m.link.host[msg.mac] && !m.vipMACs[msg.mac]
	if another {
		m.hear(now)
		m.answerProbe(&msg)
		if v := m.vips[msg.claimed]; v != nil {
			m.claimed(v, msg.mac, now)
		}
	}
	if !group(msg.dst) && msg.dst != m.link.mac && !m.vipMACs[msg.dst] {
		return // for another host, received as the interface is in promiscuous mode
	}
	if another {
		m.updateNeighbor(&msg, now)
	}
	m.answer(&msg)
}

// setLink takes a new state. A link that comes up or gets another MAC may be on another
// port of a switch, or in another network: VIPs are announced and neighbors asked anew.
func (m *machine) setLink(s state, now time.Time) {
	was := m.link
	m.link = s
	if s.up != was.up {
		m.log.Info("arp: link changed", "interface", m.cfg.Interface, "up", s.up)
	}
	if !s.up {
		m.abortProbes()
		for _, n := range m.neighbors {
			n.move.stop(m) // no answer can be expected now
		}
		return
	}
	for _, v := range m.vips {
		if !was.up || s.moved || v.at(was) != v.at(s) {
			m.announce(v, now)
		}
	}
	m.quiet = m.quiet || !was.up
	if !was.up || s.mac != was.mac {
		for _, n := range m.neighbors {
			m.timers.set(&n.timer, now)
		}
	}
}

// hear is called where a message of another host comes in. Until the first one, the port of
// the switch may have passed nothing (spanning tree, LACP), announcements neither.
func (m *machine) hear(now time.Time) {
	if m.quiet {
		m.quiet = false
		m.announceAgain(now)
	}
}

// transmit sends the frames of one message and adds one to count, or to SendDropped if the
// link is down or too many frames wait.
func (m *machine) transmit(count *uint64, frames ...[]byte) {
	for _, f := range frames {
		if !m.link.up || !m.send(f) {
			m.stats.SendDropped++
			return
		}
	}
	*count++
}

// sendFailed counts a frame that the interface refused.
func (m *machine) sendFailed(err error, now time.Time) {
	m.stats.SendErrors++
	m.logLimited(&m.logs.sendError, now, slog.LevelWarn, "arp: frame not sent", "error", err, "send_errors", m.stats.SendErrors)
}

// logLimited logs a line of a kind that packets can cause, within the limit of the kind.
func (m *machine) logLimited(limit *LogLimit, now time.Time, level slog.Level, msg string, args ...any) {
	omitted, ok := limit.Take(now)
	if !ok {
		return
	}
	args = append(args, "interface", m.cfg.Interface)
	if omitted > 0 {
		args = append(args, "omitted", omitted)
	}
	m.log.Log(context.Background(), level, msg, args...)
}

// source returns the source address of a request for target: an address of the host on
// this interface, in the target's subnet if there is one (as with arp_announce=2 in Linux),
// otherwise the first, in IPv6 preferably a link-local one.
//
// If the host has none, it is the unspecified address. That makes the request a probe,
// which hosts answer for their own addresses (RFC 5227 §2.1.1). A VIP would not do: DSR
// servers, which have it on their loopback, drop the request as a martian.
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
		m.log.Warn("arp: no host address of this family on the interface, neighbors are asked from the unspecified one",
			"interface", m.cfg.Interface, "source", unspecified)
	}
	return unspecified
}

// isHost reports whether a is an address of the host on this interface.
func (m *machine) isHost(a netip.Addr) bool {
	return slices.ContainsFunc(m.link.addrs, func(p netip.Prefix) bool { return p.Addr() == a })
}

// spread returns d plus or minus up to a quarter of it, at random.
func (m *machine) spread(d time.Duration) time.Duration {
	return d*3/4 + time.Duration(m.random()*float64(d)/2)
}

func hardware(m mac) net.HardwareAddr { return net.HardwareAddr(m[:]) }
