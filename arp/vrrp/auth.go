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
	seq     uint64       // of the last trailer sent
	senders []hmacSender // the last that were heard, the latest first
}

// hmacSender is the highest number in a trailer of one sender.
type hmacSender struct {
	addr netip.Addr
	seq  uint64
}

// maxSenders is how many senders are remembered beside the peers, as keepalived does.
// More than one sends only while a master is chosen.
const maxSenders = 4

// after compares numbers of trailers as RFC 1982 does, so that the seconds may wrap.
func after(a, b uint64) bool { return int64(a-b) > 0 }

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
	if s.seq == 0 || after(now, s.seq) || !h.Monotonic && -apart(wall, s.seq) > h.Window {
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
	return s.accept(c, wall, a.Src, t.seq())
}

// accept takes a number of a sender if it has grown. It is for adverts with the right
// HMAC only, so that forged ones neither raise a number nor push out a sender.
func (s *hmacState) accept(c *Config, wall time.Time, src netip.Addr, seq uint64) Reason {
	i := slices.IndexFunc(s.senders, func(x hmacSender) bool { return x.addr == src })
	if i >= 0 {
		last := s.senders[i].seq
		// A number outside the window says nothing: a replay of it would not be taken.
		expired := !c.HMAC.Monotonic && apart(wall, last).Abs() > c.HMAC.Window
		if !expired && !after(seq, last) {
			return ReasonReplay
		}
		s.senders = slices.Delete(s.senders, i, i+1)
	} else if len(s.senders) >= max(maxSenders, len(c.Peers)) {
		s.senders = s.senders[:len(s.senders)-1]
	}
	s.senders = slices.Insert(s.senders, 0, hmacSender{src, seq})
	return ReasonNone
}

// checkAuth2 checks the authentication of version 2. ahSeq is the highest sequence
// number of an AH that was sent or received. It is one number for all routers, as
// keepalived has it: whoever becomes master goes on from there.
func (c *Config) checkAuth2(a *Advert, ahSeq *uint32) Reason {
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
	if a.AH.Seq <= *ahSeq {
		return ReasonReplay
	}
	*ahSeq = a.AH.Seq
	return ReasonNone
}

// spi is the security parameters index of adverts from src.
func spi(src netip.Addr) uint32 {
	b := src.As4()
	return binary.BigEndian.Uint32(b[:])
}
