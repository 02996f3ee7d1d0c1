package arp

import (
	"net/netip"
	"time"
)

// vip is an address that the link answers for.
type vip struct {
	VIP // with the defaults of Announce; the zero MAC is the interface's own

	series       series
	verification timer     // for the next question
	defended     time.Time // last, against a claim
	claimants    map[mac]*claimant
}

// at returns the MAC of the VIP on a link in the given state.
func (v *vip) at(link state) mac {
	if v.MAC != (mac{}) {
		return v.MAC
	}
	return link.mac
}

// setVIPs replaces the addresses to answer for. Announcements of those that stay go on.
// Those of others stop at once, as another host may have them by now.
func (m *machine) setVIPs(vips map[netip.Addr]VIP, now time.Time) {
	for a, v := range m.vips {
		if _, ok := vips[a]; !ok {
			m.withdraw(v)
			delete(m.vips, a)
		}
	}
	m.vipMACs = map[mac]bool{}
	for a, cfg := range vips {
		v := m.vips[a]
		if v == nil {
			v = &vip{claimants: map[mac]*claimant{}}
			v.series.timer.fire = func(now time.Time) { m.announceNext(v, now) }
			v.verification.fire = func(now time.Time) { m.verify(v, now) }
			m.timers.set(&v.verification, now.Add(m.spread(firstVerification)))
			m.vips[a] = v
		}
		v.VIP = cfg
		if cfg.MAC != (mac{}) {
			m.vipMACs[cfg.MAC] = true
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
