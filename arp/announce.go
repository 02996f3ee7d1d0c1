package arp

import (
	"errors"
	"time"
)

var errWithdrawn = errors.New("withdrawn while being announced")

// announce starts a series of announcements of v, or starts it anew.
func (m *machine) announce(v *vip, now time.Time) {
	v.left = m.cfg.AnnounceCount
	m.timers.set(&v.timer, now)
}

func (m *machine) announceNext(v *vip, now time.Time) {
	m.sendAnnouncement(v)
	v.left--
	if v.left > 0 {
		m.timers.set(&v.timer, now.Add(m.cfg.AnnounceInterval))
		return
	}
	v.finish(nil)
}

func (m *machine) sendAnnouncement(v *vip) {
	m.stats.Announced++
	for _, f := range announcement(m.vipMAC(), v.addr) {
		m.transmit(f)
	}
}

func (m *machine) withdraw(v *vip) {
	m.timers.stop(&v.timer)
	v.finish(errWithdrawn)
}

// finish tells those who wait for the end of the announcements.
func (v *vip) finish(err error) {
	for _, c := range v.waiting {
		c <- err // buffered for one, and there is one
	}
	v.waiting = nil
}
