package arp

import (
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
	cfg       Config // with its defaults
	log       *slog.Logger
	send      func(frame []byte)
	afterSend func(call func()) // to be called once the frames before it are on the wire
	notify    func(call func())
	random    func() float64 // in [0, 1), to spread questions
	timers    timers
	stats     Stats

	blindly      [2]bool   // no address to ask from was logged, for IPv4 and IPv6
	unsentLogged time.Time // when frames that were not sent were last logged

	link    state
	vips    map[netip.Addr]*vip
	vipMACs map[mac]bool // of VIPs that are not at the interface's own

	neighbors map[netip.Addr]*neighbor
	probes    map[netip.Addr]*probe
}

// state is what the host says of the interface.
type state struct {
	mac   mac
	up    bool           // administratively up, with a carrier
	addrs []netip.Prefix // of the host on this interface, fit to be a source
}

// logInterval is the least time between two logs of one kind of trouble.
const logInterval = 10 * time.Second

func newMachine(cfg Config, link state) *machine {
	return &machine{
		cfg: cfg, log: cfg.Logger, link: link,
		vips:      map[netip.Addr]*vip{},
		neighbors: map[netip.Addr]*neighbor{},
		probes:    map[netip.Addr]*probe{},
	}
}

// input takes a frame that the interface received.
func (m *machine) input(frame []byte, now time.Time) {
	msg, err := parse(frame)
	if err != nil {
		m.stats.Malformed++
		return
	}
	if msg.mac == m.link.mac || msg.src == m.link.mac {
		return // ours, come back through a loop or a hairpin
	}
	m.answerProbe(&msg)
	if m.vipMACs[msg.mac] {
		return // ours too, or of another host that shares the virtual MAC
	}
	if v := m.vips[msg.claimed]; v != nil {
		m.conflict(v, msg.mac, now)
	}
	if !group(msg.dst) && msg.dst != m.link.mac && !m.vipMACs[msg.dst] {
		return // for another host; seen because somebody made the interface promiscuous
	}
	m.learn(&msg, now)
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

// transmit sends a frame unless the link is down, where the kernel would only say so
// for each.
func (m *machine) transmit(frame []byte) {
	if !m.link.up {
		m.stats.Unsent++
		return
	}
	m.send(frame)
}

// unsent counts a frame that the interface did not take, and says so now and then.
func (m *machine) unsent(err error, now time.Time) {
	m.stats.Unsent++
	if !m.unsentLogged.IsZero() && now.Sub(m.unsentLogged) < logInterval {
		return
	}
	m.unsentLogged = now
	m.log.Warn("arp: frames not sent", "interface", m.cfg.Interface, "error", err, "unsent", m.stats.Unsent)
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
		m.blindly[family] = false
		return any
	}
	if !m.blindly[family] {
		m.blindly[family] = true
		m.log.Warn("arp: the host has no address of this family on the interface (not configured, or IPv6 disabled there): "+
			"asking for neighbours without one", "interface", m.cfg.Interface, "source", unspecified)
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
