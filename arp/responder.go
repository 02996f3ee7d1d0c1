package arp

import (
	"log/slog"
	"net/netip"
	"time"
)

// conflictInterval is the least time between two defenses of an address, DEFEND_INTERVAL
// of RFC 5227 §1.1. Conflicts about one address are logged and told no more often.
const conflictInterval = 10 * time.Second

// vip is an address that the link answers for.
type vip struct {
	addr     netip.Addr
	mac      mac       // zero: the interface's own
	defended time.Time // last, against a claim

	conflict Conflict // what the notice tells
	notice

	left    int          // announcements to send
	timer   timer        // for the next announcement
	waiting []chan error // callers of Announce
}

// at returns the MAC of the VIP on a link in the given state.
func (v *vip) at(link state) mac {
	if v.mac != (mac{}) {
		return v.mac
	}
	return link.mac
}

// setVIPs replaces the addresses to answer for, each with its MAC. Announcements of those
// that stay go on. Those of others stop at once, as another host may have them by now.
func (m *machine) setVIPs(macs map[netip.Addr]mac) {
	for a, v := range m.vips {
		if _, ok := macs[a]; !ok {
			m.withdraw(v)
			delete(m.vips, a)
		}
	}
	m.vipMACs = map[mac]bool{}
	for a, at := range macs {
		v := m.vips[a]
		if v == nil {
			v = &vip{addr: a}
			v.prepare = func() func() {
				c := v.conflict
				return func() { m.cfg.OnConflict(c) }
			}
			v.timer.fire = func(now time.Time) { m.announceNext(v, now) }
			m.vips[a] = v
		}
		v.mac = at
		if at != (mac{}) {
			m.vipMACs[at] = true
		}
	}
}

// answer answers a request for a VIP, also a probe. A request for the address that it
// claims is an announcement (RFC 5227 §1.1), and not answered.
func (m *machine) answer(q *message) {
	v := m.vips[q.asked]
	if v == nil || q.asked == q.claimed {
		return
	}
	count := &m.stats.RequestsAnswered
	if q.kind == solicitation {
		count = &m.stats.SolicitationsAnswered
	}
	m.transmit(count, reply(v.at(m.link), q))
}

// defend counters a claim of v by another host, as in RFC 5227 §2.4 (c): it sends one
// announcement, and no other in conflictInterval, so that two hosts that both defend an
// address do not go on for ever.
func (m *machine) defend(v *vip, by mac, now time.Time) {
	m.stats.Conflicts++
	if now.Sub(v.defended) < conflictInterval {
		return
	}
	v.defended = now
	m.logLimited(m.logs.conflict, now, slog.LevelWarn, "arp: another host claims a VIP", "vip", v.addr, "mac", hardware(by).String())
	m.sendAnnouncement(&m.stats.DefensesSent, v)
	if m.cfg.OnConflict != nil {
		v.conflict = Conflict{VIP: v.addr, MAC: by, Interface: m.cfg.Interface}
		m.notify(&v.notice)
	}
}
