package vrrp

import (
	"net/netip"
	"slices"
	"time"
)

// Receive takes an IP packet with its header that arrived on the interface of the
// instance, and returns why it was not taken. Packets for other virtual routers are
// left alone. The instance keeps no part of packet.
func (in *Instance) Receive(now time.Time, packet []byte) Reason {
	a, reason := Decode(packet)
	return in.receive(now, &a, reason)
}

// receive is Receive for a packet that is decoded.
func (in *Instance) receive(now time.Time, a *Advert, reason Reason) Reason {
	switch {
	case a.VRID == 0 && reason != ReasonNone: // was not read up to there
		return reason
	case a.VRID != in.cfg.VRID || a.Src.Is4() != in.cfg.Source.Is4():
		return ReasonVRID
	case in.state != StateBackup && in.state != StateMaster:
		return ReasonState
	}
	now = in.clock(now)
	in.noticePause(now)
	if reason = in.check(now, a, reason); reason != ReasonNone {
		in.drop(now, a, reason)
		return reason
	}
	in.stats.Received++
	if a.Priority == 0 {
		in.stats.ReceivedZero++
	}
	in.remark(now, a)
	if in.state == StateMaster {
		in.receiveMaster(now, a)
	} else {
		in.receiveBackup(now, a)
	}
	return ReasonNone
}

func (in *Instance) drop(now time.Time, a *Advert, reason Reason) {
	in.stats.Dropped[reason]++
	in.report(EventDropped, reason, a.Src, "advert from %s dropped: %s (version %d, priority %d, interval %v, TTL %d, authentication %s)",
		a.Src, reason, a.Version, a.Priority, a.Interval, a.TTL, a.Auth())
	if in.cfg.Keepalived.DroppedDelays && in.state == StateMaster {
		in.timer = now.Add(in.cfg.Interval)
	}
}

// check looks at an advert in keepalived's order; decoded is what Decode found wrong.
func (in *Instance) check(now time.Time, a *Advert, decoded Reason) Reason {
	c := &in.cfg
	switch {
	case decoded == ReasonLength:
		return decoded
	case !c.unicast() && a.TTL != fullTTL:
		return ReasonTTL
	case a.Version != c.Version:
		return ReasonVersion
	case decoded == ReasonType || decoded == ReasonTTL:
		return decoded
	}
	if r := in.hmac.check(c, c.wall(now), a); r != ReasonNone {
		return r
	}
	if a.Version == 2 {
		if r := c.checkAuth2(a, &in.ahSeq); r != ReasonNone {
			return r
		}
		if a.Interval != c.Interval {
			return ReasonInterval
		}
	}
	peer := slices.IndexFunc(c.Peers, func(p Peer) bool { return p.Addr == a.Src })
	switch {
	case decoded != ReasonNone:
		return decoded
	case c.Keepalived.DropOtherChecksum && !c.takesChecksum(a):
		return ReasonChecksum
	case c.unicast() == a.Dst.IsMulticast(), a.Dst.IsMulticast() && a.Dst != c.Multicast:
		return ReasonDestination
	case c.OwnerIgnoresAdverts && in.base == OwnerPriority && in.state == StateMaster:
		return ReasonOwner
	case c.Keepalived.DropOtherAddresses && !in.sameAddresses(a):
		return ReasonAddresses
	case !c.unicast():
		return ReasonNone
	case peer < 0 && !c.Keepalived.AnySource:
		return ReasonSource
	case peer >= 0 && !c.Peers[peer].takesTTL(a.TTL):
		return ReasonPeerTTL
	}
	return ReasonNone
}

func (p *Peer) takesTTL(ttl uint8) bool {
	return ttl >= p.MinTTL && (p.MaxTTL == 0 || ttl <= p.MaxTTL)
}

// takesChecksum is for who wants one kind of checksum only. As in keepalived, who sends
// the plain kind takes all.
func (c *Config) takesChecksum(a *Advert) bool {
	return a.Version == 2 || a.Src.Is6() || c.Checksum == ChecksumPlain || a.Checksum != ChecksumPlain
}

// sameAddresses reports whether the advert has our addresses, in whatever order.
func (in *Instance) sameAddresses(a *Advert) bool {
	return len(a.Addresses) == len(in.cfg.Addresses) &&
		!slices.ContainsFunc(in.cfg.Addresses, func(x netip.Addr) bool { return !slices.Contains(a.Addresses, x) })
}

// remark says what is odd about an advert that is taken, and learns the checksum.
func (in *Instance) remark(now time.Time, a *Advert) {
	c := &in.cfg
	if in.state == StateBackup && a.Src != in.master.addr {
		clear(in.told)
	}
	if a.Version == 3 && a.Interval != c.Interval {
		in.report(EventInterval, ReasonNone, a.Src, "%s sends adverts every %v, we every %v", a.Src, a.Interval, c.Interval)
	}
	if !in.sameAddresses(a) {
		in.report(EventAddresses, ReasonNone, a.Src, "%s has addresses %v, we have %v", a.Src, a.Addresses, c.Addresses)
	}
	switch {
	case c.HMAC == nil:
	case a.Trailer == nil:
		in.report(EventUnsigned, ReasonNone, a.Src, "%s does not sign its adverts", a.Src)
	case !c.HMAC.Monotonic && apart(c.wall(now), a.Trailer.seq()).Abs() > c.HMAC.Window/2:
		in.report(EventClock, ReasonNone, a.Src, "the clock of %s is off by %v", a.Src, apart(c.wall(now), a.Trailer.seq()).Abs())
	}
	if a.Version == 3 && a.Src.Is4() && c.Checksum == ChecksumUnknown {
		in.learnChecksum(a)
	}
}

// learnChecksum sends to a peer the kind that it sends; to a multicast group, the one
// that was heard last.
func (in *Instance) learnChecksum(a *Advert) {
	now, ok := in.checksums[a.Src]
	if !ok {
		now = in.checksum
	}
	if now == a.Checksum {
		return
	}
	if in.cfg.unicast() {
		if !slices.ContainsFunc(in.cfg.Peers, func(p Peer) bool { return p.Addr == a.Src }) {
			return
		}
		in.checksums[a.Src] = a.Checksum
	} else {
		in.checksum = a.Checksum
	}
	in.report(EventChecksum, ReasonNone, a.Src, "%s uses checksums of the kind %s, so we do", a.Src, a.Checksum)
}
