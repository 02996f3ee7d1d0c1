package vrrp

import (
	"net/netip"
	"time"
)

// announcer has the announcements that are still to come.
type announcer struct {
	again   time.Time // once more after a takeover; zero is never
	lower   time.Time // once more after an advert of lower priority
	refresh time.Time // not before this, with the next advert
	pacers  [2]pacer  // of IPv4 and IPv6
}

// pacer announces the addresses of one family in turn, with a gap between any two.
type pacer struct {
	interval time.Duration // 0 announces at once instead
	addrs    []netip.Addr
	next     int       // index of the next one
	left     int       // announcements to come
	at       time.Time // when the next one may go
}

// configure sets the addresses and gaps of c. What is to come with gaps is forgotten.
func (n *announcer) configure(c *Config) {
	n.pacers = [2]pacer{{interval: c.Announce.ARPInterval}, {interval: c.Announce.NDInterval}}
	for _, list := range [][]netip.Addr{c.Addresses, c.Excluded} {
		for _, a := range list {
			p := n.pacer(a)
			p.addrs = append(p.addrs, a)
		}
	}
}

func (n *announcer) pacer(a netip.Addr) *pacer {
	if a.Is4() {
		return &n.pacers[0]
	}
	return &n.pacers[1]
}

// stop forgets what is to come.
func (n *announcer) stop() {
	n.again, n.lower, n.refresh = time.Time{}, time.Time{}, time.Time{}
	for i := range n.pacers {
		n.pacers[i].left = 0
	}
}

func (n *announcer) deadline() time.Time {
	d := earliest(n.again, n.lower)
	for i := range n.pacers {
		if p := &n.pacers[i]; p.left > 0 {
			d = earliest(d, p.at)
		}
	}
	return d
}

// announceTakeover announces all addresses now and once more later.
func (in *Instance) announceTakeover(now time.Time) {
	a, n := &in.cfg.Announce, &in.announcer
	in.announceAll(now, a.Repeat)
	n.again, n.refresh = time.Time{}, time.Time{}
	if a.Delay > 0 {
		n.again = now.Add(a.Delay)
	}
	if a.Refresh > 0 {
		n.refresh = now.Add(max(a.Delay, 0) + a.Refresh)
	}
}

// announceAfterLower is for an advert of lower priority: its sender may have announced
// the addresses as its own. The second time comes after the last one of a row.
func (in *Instance) announceAfterLower(now time.Time) {
	a := &in.cfg.Announce
	for _, m := range in.members() {
		if a.LowerRepeat <= 0 || m.state != StateMaster {
			continue
		}
		m.announceAll(m.clock(now), a.LowerRepeat)
		if a.LowerDelay > 0 {
			m.announcer.lower = now.Add(a.LowerDelay)
		}
	}
}

func (in *Instance) announceRefresh(now time.Time) {
	if n := &in.announcer; !n.refresh.IsZero() && !n.refresh.After(now) {
		in.announceAll(now, in.cfg.Announce.RefreshRepeat)
		n.refresh = now.Add(in.cfg.Announce.Refresh)
	}
}

// announceAll announces all addresses in their order, and that so many times. What has
// gaps goes on from where it is: announcements that are still to come count.
func (in *Instance) announceAll(now time.Time, times int) {
	n := &in.announcer
	for i := range n.pacers {
		if p := &n.pacers[i]; p.interval > 0 {
			if p.left == 0 && !p.at.After(now) {
				p.at = now
			}
			p.left = max(p.left, times*len(p.addrs))
		}
	}
	for range times {
		for _, list := range [][]netip.Addr{in.cfg.Addresses, in.cfg.Excluded} {
			for _, addr := range list {
				if n.pacer(addr).interval == 0 {
					in.announce(addr)
				}
			}
		}
	}
	in.announcePaced(now)
}

// announceDue announces what waited for its time.
func (in *Instance) announceDue(now time.Time) {
	n := &in.announcer
	if !n.again.IsZero() && !n.again.After(now) {
		n.again = time.Time{}
		in.announceAll(now, in.cfg.Announce.Repeat)
	}
	if !n.lower.IsZero() && !n.lower.After(now) {
		n.lower = time.Time{}
		in.announceAll(now, in.cfg.Announce.LowerRepeat)
	}
	in.announcePaced(now)
}

// announcePaced announces at most one address of each family: a call that comes late
// does not make up for the time.
func (in *Instance) announcePaced(now time.Time) {
	for i := range in.announcer.pacers {
		p := &in.announcer.pacers[i]
		if p.left == 0 || p.at.After(now) {
			continue
		}
		in.announce(p.addrs[p.next])
		p.next, p.left, p.at = (p.next+1)%len(p.addrs), p.left-1, now.Add(p.interval)
	}
}

func (in *Instance) announce(addr netip.Addr) {
	in.stats.Announced++
	in.host.Announce(in, addr)
}
