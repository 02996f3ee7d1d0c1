package vrrp

import (
	"net/netip"
	"time"
)

// skew is the time that lets backups of higher priority be first: RFC 9568 §6.1. In
// version 2 it does not depend on the interval: RFC 3768 §6.1.
func (in *Instance) skew() time.Duration {
	of := in.masterInterval
	if in.cfg.Version == 2 {
		of = time.Second
	}
	return time.Duration(256-int(in.priority)) * of / 256
}

// downTime is how long a backup waits for an advert: RFC 9568 §6.1.
func (in *Instance) downTime() time.Duration {
	return time.Duration(in.cfg.DownAdverts)*in.masterInterval + in.skew()
}

// become changes the state. What belonged to the old one is forgotten.
func (in *Instance) become(now time.Time, s State, why Cause) {
	if in.state == StateMaster && s != StateMaster {
		in.stats.LeftMaster++
	}
	in.state, in.since, in.timer = s, now, time.Time{}
	in.masterInterval, in.master, in.cause = in.cfg.Interval, masterAdvert{}, CauseSilence
	in.preemptAt, in.lookingSince, in.wants, in.released = time.Time{}, time.Time{}, false, false
	in.answered, in.owners = time.Time{}, owners{}
	in.announcer.stop()
	clear(in.told)
	in.host.Become(in, s, why)
}

func (in *Instance) enterBackup(now time.Time, why Cause) {
	in.become(now, StateBackup, why)
	in.timer = now.Add(in.downTime())
	if in.base == OwnerPriority && in.cfg.StartMaster && (why == CauseStart || why == CauseRepaired) {
		in.timer, in.cause = now, CauseOwner
	}
}

// takeOver makes a backup master, and with it its sync group, as soon as all of it want
// to be.
func (in *Instance) takeOver(now time.Time, why Cause) {
	in.wants, in.timer = true, time.Time{}
	for _, m := range in.members() {
		if m.state != StateMaster && !m.wants {
			return
		}
	}
	in.enterMaster(now, why)
	for _, m := range in.members() {
		if m.state != StateMaster {
			m.enterMaster(m.clock(now), CauseGroup)
		}
	}
}

// enterMaster is in the order of keepalived: the advert, the state, the announcements.
func (in *Instance) enterMaster(now time.Time, why Cause) {
	in.stats.BecameMaster++
	in.send(now, in.priority)
	in.become(now, StateMaster, why)
	in.timer = now.Add(in.cfg.Interval)
	in.announceTakeover(now)
}

// enterFault tells the others twice, as keepalived does: a lost packet would cost them a
// master down time.
func (in *Instance) enterFault(now time.Time, why Cause) {
	if in.state == StateMaster {
		in.send(now, 0)
		in.send(now, 0)
	}
	in.become(now, StateFault, why)
}

// leaveFault announces the address of a unicast instance itself, which its peers may
// have taken out of their neighbor tables: their adverts would come too delay.
func (in *Instance) leaveFault(now time.Time, why Cause) {
	in.enterBackup(now, why)
	if in.cfg.unicast() {
		in.announce(in.cfg.Source)
	}
	if in.due(now) {
		in.takeOver(now, in.cause)
	}
}

// stepBack makes a master backup, and with it its sync group.
func (in *Instance) stepBack(now time.Time, why Cause) {
	for _, m := range in.members() {
		if m.state == StateMaster {
			m.enterBackup(m.clock(now), causeIn(m, in, why))
		}
	}
}

// advertise sends an advert, and the next one an interval later.
func (in *Instance) advertise(now time.Time) {
	in.send(now, in.priority)
	in.timer = now.Add(in.cfg.Interval)
}

// send sends an advert to all.
func (in *Instance) send(now time.Time, priority uint8) {
	c := &in.cfg
	if in.ipID++; in.ipID == 0 {
		in.ipID = 1 // the kernel would choose one instead of 0
	}
	a := Advert{
		Src: c.Source, TTL: fullTTL, TOS: tosControl, ID: in.ipID,
		Version: c.Version, Type: typeAdvert, VRID: c.VRID, Priority: priority, Interval: c.Interval,
		Addresses: c.Addresses,
	}
	if c.Version == 2 {
		a.AuthType = c.authType()
		if a.AuthType == AuthPassword {
			a.AuthData = c.password()
		}
	}
	if c.signs() {
		a.Trailer = &Trailer{Scheme: schemeSHA256, KeyID: c.HMAC.Active}
		a.Trailer.setSeq(in.hmac.next(c.HMAC, c.wall(now)))
		a.SignHMAC(c.HMAC.secret())
	}
	if a.AuthType == AuthAH {
		in.ah.seq++
		a.AH = &AH{SPI: spi(c.Source), Seq: in.ah.seq}
	}
	if !c.unicast() {
		in.sendTo(&a, c.Multicast)
	}
	for _, p := range c.Peers {
		a.TTL = c.TTL
		in.sendTo(&a, p.Addr)
	}
	in.sent = now
	in.stats.Sent++
	if priority == 0 {
		in.stats.SentZero++
	}
	in.owners.sent(now, c.Interval)
}

func (in *Instance) sendTo(a *Advert, dst netip.Addr) {
	a.Dst, a.Checksum = dst, in.checksum
	if k, ok := in.checksums[dst]; ok {
		a.Checksum = k
	}
	if a.AH != nil {
		a.SignAH(in.cfg.password())
	}
	in.buf = a.Append(in.buf[:0])
	in.host.Send(in, dst, in.buf)
}

// smallPause is what a busy machine may take to run a process that has something to do.
const smallPause = 50 * time.Millisecond

// noticePause looks whether the process was stopped (SIGSTOP, a paused virtual machine,
// no processor time) for so long that what it believes may be wrong.
//
// A master that sent nothing for as long as others wait is none any more, even if nobody
// says so. A backup whose timer ended long ago has missed what came since, if it is not
// in a socket. Both listen for one and a half intervals and the skew time: a master is
// heard by then. If none is, the role is free.
func (in *Instance) noticePause(now time.Time) {
	delay := now.Sub(in.timer)
	if in.cfg.Keepalived.IgnorePause || in.timer.IsZero() || delay <= 0 {
		return
	}
	switch in.state {
	case StateMaster:
		away := now.Sub(in.sent)
		if away < time.Duration(in.cfg.DownAdverts)*in.cfg.Interval {
			return
		}
		in.stepBack(now, CausePause)
		in.reportPause(away)
	case StateBackup:
		enough := max(in.masterInterval/2, smallPause)
		if !in.lookingSince.IsZero() {
			enough = time.Duration(in.cfg.DownAdverts) * in.masterInterval
		}
		if delay < enough {
			return
		}
		in.reportPause(delay)
	default:
		return
	}
	in.lookingSince = now
	in.timer = now.Add(in.masterInterval*3/2 + in.skew())
}

func (in *Instance) reportPause(d time.Duration) {
	in.report(EventPaused, ReasonNone, netip.Addr{}, "the process was stopped for %v or more; listens for a master", d.Round(time.Millisecond))
}
