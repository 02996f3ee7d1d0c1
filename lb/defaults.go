package lb

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/golb/golb/forward"
)

// What the zero values of a Config mean.

func (s *Service) protocol() Protocol {
	if s.Protocol == 0 {
		return TCP
	}
	return s.Protocol
}

func (s *Service) key() serviceKey {
	return serviceKey{vip: forward.AddrFrom(s.VIP), port: s.Port, protocol: s.protocol()}
}

func (s *Service) name() string {
	if s.Name != "" {
		return s.Name
	}
	return s.key().String()
}

func (s *Service) scheduler() string {
	if s.Scheduler == "" {
		return defaultScheduler
	}
	return s.Scheduler
}

// schedulerKey tells schedulers of the same name with other flags apart.
func (s *Service) schedulerKey() string {
	return fmt.Sprint(s.scheduler(), slices.Contains(s.SchedulerFlags, flagFallback), slices.Contains(s.SchedulerFlags, flagPort))
}

// settings is what an edit may change while packets flow.
func (s *Service) settings() *serviceSettings {
	set := &serviceSettings{persistence: ticksOf(s.Persistence.Timeout), onePacket: s.OnePacket, timeouts: defaultTimeouts()}
	bits := s.Persistence.Prefix
	if bits == 0 {
		bits = s.VIP.BitLen()
	}
	bits += 128 - s.VIP.BitLen()
	for i := range set.mask {
		set.mask[i] = ^byte(0xff >> max(0, min(8, bits-8*i)))
	}
	return set
}

// resolve says what the settings mean to a packet.
func (s *Settings) resolve() settings {
	return settings{
		expireNodest:            orElse(s.ExpireNodestConn, !s.IPVSCompat),
		expireQuiescentTemplate: orElse(s.ExpireQuiescentTemplate, !s.IPVSCompat),
		sloppyTCP:               s.SloppyTCP,
		sloppySCTP:              s.SloppySCTP,
		reuse:                   orElse(s.ConnReuseMode, reuseMode(s.IPVSCompat)),
		pmtuDisc:                orElse(s.PMTUDisc, true),
		clampMSS:                s.ClampMSS,
		answerRate:              cmp.Or(s.AnswerRate, defaultAnswerRate),
		replyByRoute:            s.ReplyByRoute,
	}
}

func orElse[T any](v *T, other T) T {
	if v == nil {
		return other
	}
	return *v
}

func (s *Service) checkType() string {
	switch {
	case s.Check.Type != "":
		return s.Check.Type
	case s.protocol() == TCP:
		return checkTCP
	}
	return checkNone
}

func (r *Server) method(s *Service) Method {
	switch {
	case r.Method != 0:
		return r.Method
	case s.Method != 0:
		return s.Method
	}
	return DSR
}

func (r *Server) tunnel(s *Service) Tunnel {
	if r.Tunnel == (Tunnel{}) {
		return s.Tunnel
	}
	return r.Tunnel
}

func (r *Server) addrPort(s *Service) netip.AddrPort {
	if r.Port == 0 {
		return netip.AddrPortFrom(r.Address, s.Port)
	}
	return netip.AddrPortFrom(r.Address, r.Port)
}

func (r *Server) name(s *Service) string {
	if r.Name != "" {
		return r.Name
	}
	return r.addrPort(s).String()
}

func (r *Server) weight() int32 {
	if r.Weight == nil {
		return defaultWeight
	}
	return int32(*r.Weight)
}

// reuseMode is that of ip_vs, or golb's: with DSR and TUN a connection whose client
// has closed it is in FIN_WAIT, and stays there for two minutes.
func reuseMode(compat bool) int {
	if compat {
		return 1
	}
	return 3
}
