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
	defended time.Time // when a conflict was last told

	conflict Conflict // the last
	notice            // of it

	left    int   // announcements to send
	timer   timer // when to send the next
	waiting []chan error
}

// at returns the MAC of the VIP on a link in the given state.
func (v *vip) at(link state) mac {
	if v.mac != (mac{}) {
		return v.mac
	}
	return link.mac
}

// setVIPs replaces the set of addresses to answer for, each with its MAC. Announcements
// of those that stay go on; those of others stop at once, since by now they may be
// elsewhere.
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

// answer replies to a request or solicitation for a VIP, probes too, which is how the
// one who probes learns of us. One who claims the address that it asks for is no asker
// (RFC 5227 §1.1, an announcement).
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

// defend meets a claim to v by another host as RFC 5227 §2.4 (c) has it: by one
// announcement, and then none for a while, so that two hosts that both do so come to rest.
func (m *machine) defend(v *vip, by mac, now time.Time) {
	m.stats.Conflicts++
	if !v.defended.IsZero() && now.Sub(v.defended) < conflictInterval {
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
