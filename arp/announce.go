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
	m.sendAnnouncement(&m.stats.AnnouncementsSent, v)
	v.left--
	if v.left > 0 {
		m.timers.set(&v.timer, now.Add(m.cfg.AnnounceInterval))
		return
	}
	waiting := v.waiting
	v.waiting = nil
	m.afterSend(func() { finish(waiting, nil) }) // who waits may end the link next
}

func (m *machine) sendAnnouncement(count *uint64, v *vip) {
	m.transmit(count, announcement(v.at(m.link), v.addr)...)
}

func (m *machine) withdraw(v *vip) {
	m.timers.stop(&v.timer)
	finish(v.waiting, errWithdrawn)
}

// finish tells those who wait for an end. Each has room for one.
func finish(waiting []chan error, err error) {
	for _, c := range waiting {
		c <- err
	}
}
