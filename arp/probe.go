package arp

import (
	"errors"
	"net/netip"
	"time"
)

// ErrLinkDown is the error of a probe on a link that is down.
var ErrLinkDown = errors.New("link is down")

// probeCount is how often one probe asks: PROBE_NUM of RFC 5227 §1.1.
const probeCount = 3

// probe asks whether another host has an address: RFC 5227 §2.1.1, RFC 4862 §5.4.
type probe struct {
	addr    netip.Addr
	asked   int
	timer   timer
	waiting []chan error
}

// probe starts a probe, or joins the one under way, and sends its result to done,
// which must have room for one.
func (m *machine) probe(addr netip.Addr, done chan error, now time.Time) {
	if !m.link.up {
		done <- ErrLinkDown
		return
	}
	p := m.probes[addr]
	if p == nil {
		p = &probe{addr: addr}
		p.timer.fire = func(now time.Time) { m.probeNext(p, now) }
		m.probes[addr] = p
		m.timers.set(&p.timer, now)
	}
	p.waiting = append(p.waiting, done)
}

func (m *machine) probeNext(p *probe, now time.Time) {
	if p.asked == probeCount {
		m.endProbe(p, nil)
		return
	}
	unspecified := netip.IPv4Unspecified()
	if p.addr.Is6() {
		unspecified = netip.IPv6Unspecified()
	}
	m.transmit(&m.stats.ProbesSent, request(m.link.mac, unspecified, p.addr, mac{}))
	p.asked++
	wait := m.cfg.ProbeTime / 4
	if p.asked == probeCount {
		wait = m.cfg.ProbeTime / 2
	}
	m.timers.set(&p.timer, now.Add(wait))
}

// answerProbe ends a probe where msg shows that another host has the address.
func (m *machine) answerProbe(msg *message) {
	if p := m.probes[msg.claimed]; p != nil {
		m.endProbe(p, &ConflictError{m.conflictOf(p.addr, msg.mac)})
	}
}

// abortProbes ends all probes: silence means nothing on a link that is down.
func (m *machine) abortProbes() {
	for _, p := range m.probes {
		m.endProbe(p, ErrLinkDown)
	}
}

func (m *machine) endProbe(p *probe, err error) {
	m.timers.stop(&p.timer)
	delete(m.probes, p.addr)
	finish(p.waiting, err)
}
