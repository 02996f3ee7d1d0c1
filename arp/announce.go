package arp

import (
	"errors"
	"fmt"
	"time"
)

var errWithdrawn = errors.New("withdrawn while being announced")

// Announcement says when a VIP is announced, in the terms of keepalived's settings
// garp_master_repeat and so on: a burst at once, a second one for switches and routers that
// missed the first, and then one now and then. The zero value is keepalived's default.
type Announcement struct {
	// Repeat is how often each of the two bursts announces the VIP. 0 means 5.
	Repeat int
	// Delay is the time from the first burst to the second. 0 means 5 s; negative, that
	// there is no second one.
	Delay time.Duration
	// Refresh is the time from one later burst to the next. 0 means that there are none.
	Refresh time.Duration
	// RefreshRepeat is how often a later burst announces the VIP. 0 means once.
	RefreshRepeat int
	// Interval is the time between the announcements of a burst. 0 means none.
	Interval time.Duration
}

// withDefaults checks a and fills in the defaults. A Delay below 0 stays.
func (a Announcement) withDefaults() (Announcement, error) {
	for _, v := range []struct {
		name  string
		value int64
	}{
		{"Repeat", int64(a.Repeat)}, {"Refresh", int64(a.Refresh)}, {"RefreshRepeat", int64(a.RefreshRepeat)}, {"Interval", int64(a.Interval)},
	} {
		if v.value < 0 {
			return a, fmt.Errorf("announcement: %s %d: want at least 0", v.name, v.value)
		}
	}
	if a.Repeat == 0 {
		a.Repeat = 5
	}
	if a.Delay == 0 {
		a.Delay = 5 * time.Second
	}
	if a.RefreshRepeat == 0 {
		a.RefreshRepeat = 1
	}
	return a, nil
}

// series is the announcements of a VIP.
type series struct {
	next    burst
	left    int       // announcements to send in this burst
	began   time.Time // the first burst
	granted bool      // the next one has its share of the rate
	timer   timer
	waiting []chan error // callers of Announce
}

// burst is one of the bursts of a series.
type burst int

const (
	firstBurst burst = iota
	secondBurst
	refreshBurst
)

// announce starts the series of a VIP, or starts it anew.
func (m *machine) announce(v *vip, now time.Time) {
	v.series.next, v.series.left, v.series.began = firstBurst, v.Announce.Repeat, now
	m.timers.set(&v.series.timer, now)
}

// announceAgain starts the series of all VIPs anew whose second burst is over.
func (m *machine) announceAgain(now time.Time) {
	for _, v := range m.vips {
		s := &v.series
		if !s.began.IsZero() && (s.next == refreshBurst || !s.timer.pending()) {
			m.announce(v, now)
		}
	}
}

// announceNext sends one announcement. One that is beyond the rate waits for its turn.
func (m *machine) announceNext(v *vip, now time.Time) {
	s := &v.series
	if !s.granted {
		if at := m.announcements.reserve(now); at.After(now) {
			s.granted = true
			m.timers.set(&s.timer, at)
			return
		}
	}
	s.granted = false
	m.sendAnnouncement(&m.stats.AnnouncementsSent, v)
	if s.left--; s.left > 0 {
		m.timers.set(&s.timer, now.Add(v.Announce.Interval))
		return
	}
	m.endBurst(v, now)
}

// endBurst waits for the next burst.
func (m *machine) endBurst(v *vip, now time.Time) {
	s := &v.series
	if s.next == firstBurst && v.Announce.Delay > 0 {
		s.next, s.left = secondBurst, v.Announce.Repeat
		m.timers.set(&s.timer, s.began.Add(v.Announce.Delay))
		return
	}
	waiting := s.waiting
	s.waiting = nil
	m.afterSend(func() { finish(waiting, nil) }) // a caller may close the link next
	if v.Announce.Refresh > 0 {
		s.next, s.left = refreshBurst, v.Announce.RefreshRepeat
		m.timers.set(&s.timer, now.Add(v.Announce.Refresh))
	}
}

func (m *machine) sendAnnouncement(count *uint64, v *vip) {
	m.transmit(count, announcement(v.at(m.link), v.Addr)...)
}

// finish sends err to each channel, which must have room for it.
func finish(waiting []chan error, err error) {
	for _, c := range waiting {
		c <- err
	}
}
