package arp

import (
	"errors"
	"net/netip"
	"time"
)

var errDown = errors.New("link is down")

// probe asks whether anybody has an address: RFC 5227 §2.1.1, RFC 4862 §5.4.
type probe struct {
	addr    netip.Addr
	sent    int
	timer   timer
	waiting []chan error
}

// probe starts a probe, or joins the one under way, and tells the end to done,
// which must have room for one.
func (m *machine) probe(addr netip.Addr, done chan error, now time.Time) {
	if !m.link.up {
		done <- errDown
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
	if p.sent == m.cfg.ProbeCount {
		m.endProbe(p, nil)
		return
	}
	unspecified := netip.IPv4Unspecified()
	if p.addr.Is6() {
		unspecified = netip.IPv6Unspecified()
	}
	m.transmit(question(m.link.mac, unspecified, p.addr, mac{}))
	p.sent++
	wait := m.cfg.ProbeInterval
	if p.sent == m.cfg.ProbeCount {
		wait = m.cfg.ProbeWait
	}
	m.timers.set(&p.timer, now.Add(wait))
}

// probed ends a probe where msg shows that another host has the address, or that
// it probes for it at the same time.
func (m *machine) probed(msg *message) {
	p := m.probes[msg.claimed]
	if p == nil && msg.probe() {
		p = m.probes[msg.asked]
	}
	if p != nil {
		m.endProbe(p, &ConflictError{Conflict{VIP: p.addr, MAC: hardware(msg.mac), Interface: m.cfg.Interface}})
	}
}

// abortProbes ends all probes: silence means nothing on a link that is down.
func (m *machine) abortProbes() {
	for _, p := range m.probes {
		m.endProbe(p, errDown)
	}
}

func (m *machine) endProbe(p *probe, err error) {
	m.timers.stop(&p.timer)
	delete(m.probes, p.addr)
	finish(p.waiting, err)
}
