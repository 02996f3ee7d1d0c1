package vrrp

import (
	"crypto/subtle"
	"encoding/binary"
	"net/netip"
	"slices"
	"time"
)

// hmacState is what an instance remembers of HMAC trailers.
type hmacState struct {
	seq      uint64 // of the last trailer sent
	received lastSeqs
}

// ahState is what an instance remembers of AHs.
type ahState struct {
	// seq is the highest number sent or received: whoever becomes master goes on from
	// there, since keepalived takes nothing that is not higher than all it knows.
	seq      uint32
	received lastSeqs
}

// lastSeqs are the highest numbers of the last senders, the latest first.
type lastSeqs []lastSeq

type lastSeq struct {
	addr netip.Addr
	seq  uint64
}

// accept takes a number of a sender if it has grown, or if forget says that the last one
// does not count. It is for adverts with the right HMAC only, so that forged ones neither
// raise a number nor push out a sender.
func (l *lastSeqs) accept(c *Config, src netip.Addr, seq uint64, forget func(last uint64) bool) Reason {
	i := slices.IndexFunc(*l, func(x lastSeq) bool { return x.addr == src })
	if i >= 0 {
		if last := (*l)[i].seq; !forget(last) && !seqAfter(seq, last) {
			return ReasonReplay
		}
		*l = slices.Delete(*l, i, i+1)
	} else if len(*l) >= max(maxSenders, len(c.Peers)) {
		*l = (*l)[:len(*l)-1]
	}
	*l = slices.Insert(*l, 0, lastSeq{src, seq})
	return ReasonNone
}

// maxSenders is how many senders are remembered, or as many as there are peers, as
// keepalived does. More than one sends only while a master is chosen.
const maxSenders = 4

// seqAfter compares numbers of trailers as RFC 1982 does, so that the seconds may wrap.
func seqAfter(a, b uint64) bool { return int64(a-b) > 0 }

// clockSeq is the number of a trailer made at a time of day.
func clockSeq(wall time.Time) uint64 {
	return uint64(uint32(wall.Unix()))<<32 | uint64(wall.Nanosecond())<<16/1e9<<16
}

// apart is how many seconds the time in a number is behind the clock.
func apart(wall time.Time, seq uint64) time.Duration {
	return time.Duration(int32(uint32(wall.Unix())-uint32(seq>>32))) * time.Second
}

// next returns the number for the next trailer: that of the clock if it has moved on,
// else one more than the last. A clock that was set back leaves the last number in the
// future, where receivers do not take it; so it starts again from the clock once it is
// out of their window.
func (s *hmacState) next(h *HMAC, wall time.Time) uint64 {
	now := clockSeq(wall)
	if s.seq == 0 || seqAfter(now, s.seq) || !h.Monotonic && -apart(wall, s.seq) > h.Window {
		s.seq = now
	} else {
		s.seq++
	}
	return s.seq
}

// check is the order of keepalived: the time first, since an HMAC costs more.
func (s *hmacState) check(c *Config, wall time.Time, a *Advert) Reason {
	t, h := a.Trailer, c.HMAC
	switch {
	case h == nil && t == nil:
		return ReasonNone
	case h == nil:
		return ReasonSigned
	case t == nil && h.Mode == HMACEnforce:
		return ReasonUnsigned
	case t == nil:
		return ReasonNone
	case t.Scheme != schemeSHA256 || t.Reserved != 0:
		return ReasonTrailer
	case !h.Monotonic && apart(wall, t.seq()).Abs() > h.Window:
		return ReasonStale
	}
	i := slices.IndexFunc(h.Keys, func(k Key) bool { return k.ID == t.KeyID })
	if i < 0 {
		return ReasonKey
	}
	want := a.hmac(h.Keys[i].Secret)
	if subtle.ConstantTimeCompare(t.HMAC[:], want[:]) == 0 {
		return ReasonHMAC
	}
	return s.received.accept(c, a.Src, t.seq(), func(last uint64) bool {
		// Outside the window it says nothing: a replay of it would be stale.
		return !h.Monotonic && apart(wall, last).Abs() > h.Window
	})
}

// check checks the authentication of version 2. Numbers of AHs are compared with those
// of the same sender; keepalived compares them with all that it sent and received, and
// two masters that send at the same time never hear each other. A sender that has started
// again counts from 1, and is heard once it has heard another and goes on from there.
func (s *ahState) check(c *Config, a *Advert) Reason {
	want, password := c.authType(), c.password()
	switch {
	case a.AuthType > AuthAH:
		return ReasonAuthType
	case a.AuthType != want, (a.AH != nil) != (want == AuthAH):
		return ReasonAuthDiffers
	case want == AuthPassword && subtle.ConstantTimeCompare(a.AuthData[:], password[:]) == 0:
		return ReasonPassword
	case want != AuthAH:
		return ReasonNone
	}
	icv := a.icv(password)
	if subtle.ConstantTimeCompare(a.AH.ICV[:], icv[:]) == 0 || a.AH.SPI != spi(a.Src) {
		return ReasonAH
	}
	s.seq = max(s.seq, a.AH.Seq)
	return s.received.accept(c, a.Src, uint64(a.AH.Seq), func(uint64) bool { return false })
}

// spi is the security parameters index of adverts from src.
func spi(src netip.Addr) uint32 {
	b := src.As4()
	return binary.BigEndian.Uint32(b[:])
}
