package vrrp

import "time"

// receiveBackup is RFC 9568 §6.4.2, with keepalived's preempt delay.
func (in *Instance) receiveBackup(now time.Time, a *Advert) {
	switch {
	case a.Priority == 0:
		in.timer, in.cause = now.Add(in.skew()), CauseResigned
		in.lookingSince = time.Time{}
	case in.yieldsTo(now, a):
		in.follow(now, a)
	default:
		in.preempt(now, a)
	}
}

// yieldsTo reports whether the sender of an advert may be master.
func (in *Instance) yieldsTo(now time.Time, a *Advert) bool {
	delayed := in.cfg.PreemptDelay > 0 && (in.preemptAt.IsZero() || in.preemptAt.After(now))
	return in.cfg.NoPreempt || in.released || a.Priority >= in.priority || delayed
}

// follow starts the down timer anew, with the interval of the master.
func (in *Instance) follow(now time.Time, a *Advert) {
	if in.cfg.Version == 3 {
		in.masterInterval = a.Interval
	}
	in.hear(now, a)
	in.timer, in.cause = now.Add(in.downTime()), CauseSilence
	in.lookingSince, in.wants = time.Time{}, false
	switch {
	case a.Priority >= in.priority:
		in.preemptAt = time.Time{}
	case in.cfg.PreemptDelay > 0 && in.preemptAt.IsZero():
		in.preemptAt = now.Add(in.cfg.PreemptDelay)
	}
}

// preempt leaves the timer alone, so that the advert of lower priority does not count.
func (in *Instance) preempt(now time.Time, a *Advert) {
	in.cause = CausePreempt
	fell := in.master.followed && in.master.addr == a.Src
	in.hear(now, a)
	switch {
	case in.wants:
	case !in.lookingSince.IsZero():
		// There is a master, if one to be preempted: no reason to hurry.
		in.timer = in.lookingSince.Add(in.downTime())
		in.lookingSince = time.Time{}
	case fell && !in.cfg.Keepalived.SlowPreempt:
		// It was the master with reason, and is not any more. Backups of higher priority
		// than ours have heard that too, and are first.
		in.timer = earliest(in.timer, now.Add(in.skew()))
	}
}

func (in *Instance) hear(now time.Time, a *Advert) {
	in.master = masterAdvert{addr: a.Src, priority: a.Priority, at: now, followed: a.Priority >= in.priority}
}

// receiveMaster is RFC 9568 §6.4.3.
func (in *Instance) receiveMaster(now time.Time, a *Advert) {
	if a.Priority == 0 {
		in.advertise(now) // for backups that take over otherwise
		return
	}
	first := in.compare(a)
	if a.Priority == OwnerPriority && in.priority == OwnerPriority && first != 0 {
		first = in.twoOwners(now, a, first)
	}
	switch {
	case first == 0:
		in.report(EventSameAddress, ReasonNone, a.Src, "%s, which is our own address, sends adverts of our priority %d", a.Src, a.Priority)
	case first > 0:
		in.answer(now, a)
	default:
		in.yield(now, a)
	}
}

// compare is positive where we come before the sender of an advert, and 0 where nothing
// tells us apart.
func (in *Instance) compare(a *Advert) int {
	if a.Priority != in.priority {
		return int(in.priority) - int(a.Priority)
	}
	return in.cfg.Source.Compare(a.Src)
}

// answer tells a master of lower priority to give in, and the network that the addresses
// are here. Adverts that come faster than a master sends them get one answer for all.
func (in *Instance) answer(now time.Time, a *Advert) {
	if !in.answered.IsZero() && now.Sub(in.answered) < in.cfg.Interval/2 && !in.cfg.Keepalived.AnswerAll {
		return
	}
	in.answered = now
	in.report(EventLower, ReasonNone, a.Src, "%s with priority %d is master too, we have %d", a.Src, a.Priority, in.priority)
	if !in.cfg.LowerNoAdvert {
		in.advertise(now)
	}
	in.announceAfterLower(now)
}

// yield makes us backup of the sender. A last advert tells it that it was not alone, so
// that it announces the addresses.
func (in *Instance) yield(now time.Time, a *Advert) {
	if !in.cfg.Keepalived.StepBackSilently {
		in.send(now, in.priority)
	}
	in.stepBack(now, CauseHigher)
	in.follow(now, a)
}

// owners is about another router that is address owner too: a mistake in the
// configuration, for which RFC 9568 has no rule but that of equal priorities.
type owners struct {
	since  time.Time // when the other one was first heard
	last   time.Time // and last
	sends  int       // our adverts since then
	expiry time.Time // if it is heard after this, it does not give in; zero is unknown
}

// sent counts an advert of ours. After two of them and a little more than one of its
// intervals a router that knows the rule has given in.
func (o *owners) sent(now time.Time, interval time.Duration) {
	if o.since.IsZero() {
		return
	}
	if o.sends++; o.sends == 2 {
		o.expiry = now.Add(interval * 6 / 5)
	}
}

// twoOwners decides between us and another owner: the one with the higher address stays,
// unless the other does not give in. It returns what compare does.
func (in *Instance) twoOwners(now time.Time, a *Advert, first int) int {
	in.report(EventTwoOwners, ReasonNone, a.Src, "%s says that it owns the addresses, as we do: one of the two priorities 255 is wrong", a.Src)
	o := &in.owners
	if o.since.IsZero() || now.Sub(o.last) > 3*in.cfg.Interval {
		*o = owners{since: now}
	}
	o.last = now
	stubborn := !o.expiry.IsZero() && now.After(o.expiry)
	if in.cfg.Keepalived.FirstOwnerYields || first > 0 && stubborn {
		in.base, in.priority = OwnerPriority-1, OwnerPriority-1
		in.report(EventOwnerLowered, ReasonNone, a.Src, "priority lowered to %d, since %s does not give in", in.priority, a.Src)
		return -1
	}
	return first
}
