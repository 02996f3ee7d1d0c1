package arp

import (
	"log/slog"
	"net/netip"
	"time"
)

const (
	// conflictInterval is the least time between two defenses of an address, DEFEND_INTERVAL
	// of RFC 5227 §1.1. A host that claims a VIP is asked as often whether it still does.
	conflictInterval = 10 * time.Second
	// firstVerification is about the time from the begin of a VIP to the link's first question
	// for it, verifyInterval from there to the next: who answers is in conflict with it.
	firstVerification = time.Second
	verifyInterval    = time.Minute
	// maxClaimants is how many hosts in conflict about one VIP are told apart.
	maxClaimants = 4
)

// claimant is another host that claims a VIP.
type claimant struct {
	conflict  Conflict
	asked     int  // requests since it claimed the VIP last
	told      bool // that it claims the VIP
	withdrawn bool // the link gave up the VIP
	timer     timer
	notice
}

// conflictOf is a conflict with the host at a MAC.
func (m *machine) conflictOf(vip netip.Addr, by mac) Conflict {
	return Conflict{VIP: vip, MAC: by, Interface: m.cfg.Interface, OnLink: m.onLink(vip)}
}

// onLink reports whether an address is in a subnet of the interface. Where the interface
// has no subnet of that family to compare with, any address may be.
func (m *machine) onLink(a netip.Addr) bool {
	compared := false
	for _, p := range m.link.addrs {
		other := p.Addr().Is4() != a.Is4()
		// Of the IPv6 subnet that DHCPv6 assigns from the host's address does not tell, and
		// link-local addresses are on every link.
		unknown := a.Is6() && (p.IsSingleIP() || p.Addr().IsLinkLocalUnicast() != a.IsLinkLocalUnicast())
		switch {
		case other || unknown:
		case p.Contains(a):
			return true
		default:
			compared = true
		}
	}
	return !compared
}

// claimed is called where another host claims a VIP.
func (m *machine) claimed(v *vip, by mac, now time.Time) {
	m.stats.Conflicts++
	if v.Shared {
		return
	}
	m.defend(v, now)
	c := v.claimants[by]
	if c == nil {
		if len(v.claimants) == maxClaimants {
			return
		}
		c = m.newClaimant(v, by)
		v.claimants[by] = c
	}
	c.asked = 0
	if c.conflict.Ended {
		c.conflict.Ended = false
		m.timers.set(&c.timer, now.Add(conflictInterval))
		m.noteConflict(v, c, now)
	}
}

// newClaimant returns a claimant whose conflict is yet to begin.
func (m *machine) newClaimant(v *vip, by mac) *claimant {
	c := &claimant{conflict: m.conflictOf(v.Addr, by)}
	c.conflict.Ended = true
	c.timer.fire = func(now time.Time) { m.askClaimant(v, c, now) }
	c.prepare = func() func() { return m.tellConflict(v, c) }
	return c
}

// defend counters a claim, as in RFC 5227 §2.4 (c): it sends one announcement, and no
// other in conflictInterval, so that two hosts that both defend an address do not go on
// for ever.
func (m *machine) defend(v *vip, now time.Time) {
	if now.Sub(v.defended) < conflictInterval {
		return
	}
	v.defended = now
	m.sendAnnouncement(&m.stats.DefensesSent, v)
}

// askClaimant asks a host in conflict whether it still has the VIP, or ends the conflict.
func (m *machine) askClaimant(v *vip, c *claimant, now time.Time) {
	if c.asked == attempts {
		c.conflict.Ended = true
		m.noteConflict(v, c, now)
		return
	}
	if m.link.up {
		c.asked++
		m.askForVIP(v, c.conflict.MAC)
	}
	m.timers.set(&c.timer, now.Add(conflictInterval))
}

// verify asks for a VIP, as a client would.
func (m *machine) verify(v *vip, now time.Time) {
	m.timers.set(&v.verification, now.Add(m.spread(verifyInterval)))
	if m.link.up && !v.Shared && m.verifications.take(now, 1) {
		m.askForVIP(v, mac{})
	}
}

// askForVIP asks for a VIP of the link, in the name of the host. An IPv6 host that has no
// address cannot ask without offending: an answer to :: tells all others too.
func (m *machine) askForVIP(v *vip, to mac) {
	source := m.source(v.Addr)
	if source.Is6() && source.IsUnspecified() {
		return
	}
	m.transmit(&m.stats.VerificationsSent, request(m.link.mac, source, v.Addr, to))
}

// noteConflict has a conflict that begins or ends told, or logs it where nobody is told.
func (m *machine) noteConflict(v *vip, c *claimant, now time.Time) {
	if m.cfg.OnConflict != nil {
		m.notify(&c.notice)
		return
	}
	what := "arp: another host claims a VIP"
	if c.conflict.Ended {
		what = "arp: another host claims a VIP no longer"
		delete(v.claimants, c.conflict.MAC)
	}
	m.logLimited(&m.logs.conflict, now, slog.LevelWarn, what, "vip", v.Addr, "mac", hardware(c.conflict.MAC).String())
}

// tellConflict returns the call that tells of a conflict, unless that is known. A claimant
// keeps its place until its end is told, so that calls that wait do not pile up.
func (m *machine) tellConflict(v *vip, c *claimant) func() {
	conflict := c.conflict
	if conflict.Ended {
		delete(v.claimants, conflict.MAC)
	}
	if c.withdrawn || conflict.Ended == !c.told {
		return nil
	}
	c.told = !conflict.Ended
	return func() { m.cfg.OnConflict(conflict) }
}

// withdraw ends all that is under way for a VIP that the link gives up.
func (m *machine) withdraw(v *vip) {
	m.timers.stop(&v.series.timer)
	m.timers.stop(&v.verification)
	for _, c := range v.claimants {
		c.withdrawn = true
		m.timers.stop(&c.timer)
	}
	finish(v.series.waiting, errWithdrawn)
}
