package lb

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/health"
	"github.com/golb/golb/lb/internal/dataplane"
)

// The defaults that the zero values of a Config stand for.

func (s *Service) protocol() Protocol {
	if s.Protocol == 0 {
		return TCP
	}
	return s.Protocol
}

// matches returns Match, or its equal for VIP, Protocol and Port.
func (s *Service) matches() []Match {
	if len(s.Match) > 0 || !s.VIP.IsValid() {
		return s.Match
	}
	m := Match{VIP: VIP{netip.PrefixFrom(s.VIP, s.VIP.BitLen())}, Protocols: []Protocol{s.protocol()}}
	if s.Port != 0 {
		m.Ports = Ports{{s.Port, s.Port}}
	}
	return []Match{m}
}

// matchPath returns the path of the VIP of match j of service i in the config.
func (s *Service) matchPath(i, j int) string {
	if len(s.Match) > 0 {
		return fmt.Sprintf("services[%d].match[%d].vip", i, j)
	}
	return fmt.Sprintf("services[%d].vip", i)
}

// id returns what the service matches, by which services are told apart.
func (s *Service) id() string {
	var b strings.Builder
	for i, m := range s.matches() {
		if i > 0 {
			b.WriteString("; ")
		}
		m.write(&b)
	}
	return b.String()
}

// String returns the service's name in ServerRef, lists and logs: Name or its default.
func (s *Service) String() string { return s.name() }

// Ref names server i of the service as the balancer's methods take it.
func (s *Service) Ref(i int) ServerRef { return ServerRef{s.name(), s.Servers[i].name(s)} }

func (s *Service) name() string {
	if s.Name != "" {
		return s.Name
	}
	if s.Mark != 0 && s.anyVIP().Is6() { // beside one of IPv4, as ipvsadm lists them
		return fmt.Sprintf("mark %d IPv6", s.Mark)
	}
	if s.Mark != 0 {
		return fmt.Sprintf("mark %d", s.Mark)
	}
	return s.id()
}

// needsPort reports whether the service has no port and may not be without.
func (s *Service) needsPort() bool {
	return len(s.Match) == 0 && s.Port == 0 && s.Persistence.timeout() == 0
}

// checkedPort returns the port to check where neither check nor server has one: the lowest
// of the service.
func (s *Service) checkedPort() uint16 {
	if len(s.Match) == 0 && s.VIP.IsValid() {
		return s.Port
	}
	lowest := uint16(0)
	for _, m := range s.matches() {
		for _, r := range m.Ports {
			if lowest == 0 || r.First < lowest {
				lowest = r.First
			}
		}
	}
	return lowest
}

// anyVIP returns one of the service's addresses; all are of one family.
func (s *Service) anyVIP() netip.Addr {
	if len(s.Match) == 0 {
		return s.VIP
	}
	for _, m := range s.Match {
		if m.VIP.IsValid() {
			return m.VIP.Addr()
		}
	}
	return netip.Addr{}
}

// vips returns the VIPs of all services, each once.
func (c *Config) vips() []VIP { return c.vipsOf(func(string) bool { return true }) }

// vipsOf returns the VIPs of the services of some groups, each once.
func (c *Config) vipsOf(group func(name string) bool) []VIP {
	var list []VIP
	seen := map[VIP]bool{}
	for i := range c.Services {
		if !group(c.Services[i].group()) {
			continue
		}
		for _, m := range c.Services[i].matches() {
			if !seen[m.VIP] {
				seen[m.VIP] = true
				list = append(list, m.VIP)
			}
		}
	}
	return list
}

// maxAnswered is the size of the largest prefix whose every address golb answers for.
const maxAnswered = 256

// answered returns the addresses that golb answers ARP and neighbor solicitations for.
func answered(vips []VIP) []netip.Addr {
	var list []netip.Addr
	seen := map[netip.Addr]bool{}
	for _, v := range vips {
		if 1<<min(v.Addr().BitLen()-v.Bits(), 30) > maxAnswered {
			continue
		}
		for a := v.Addr(); v.Contains(a); a = a.Next() {
			if !seen[a] {
				seen[a] = true
				list = append(list, a)
			}
		}
	}
	return list
}

func (s *Service) scheduler() string {
	if s.Scheduler == "" {
		return defaultScheduler
	}
	return s.Scheduler
}

// schedulerKey tells schedulers of the same name with other flags apart.
func (s *Service) schedulerKey() string {
	key := s.scheduler()
	for _, flag := range []string{flagFallback, flagPort} {
		if slices.Contains(s.SchedulerFlags, flag) {
			key += " " + flag
		}
	}
	return key
}

// policy returns the part of the config that the control plane needs at run time.
func (s *Service) policy(global *Settings) servicePolicy {
	return servicePolicy{
		quiescent: s.Quiescent, keepsClients: s.Quiescent && !orElse(global.ExpireQuiescentTemplate, false),
		slowStart: s.SlowStart, quorum: cmp.Or(s.Quorum, 1), hysteresis: s.Hysteresis, whenDown: s.WhenDown,
		cutFailed: s.CutFailed, hasPage: s.Fallback.Page != "", passive: s.PassiveCheck.withDefaults(), datagrams: s.takes(UDP), detection: s.detection(), timeout: s.longestCheck(),
	}
}

// dataplane returns the service's config for the data plane.
func (s *Service) dataplane(global Timeouts) dataplane.ServiceConfig {
	set := dataplane.ServiceConfig{
		Persistence: s.Persistence.timeout(), CallID: s.Persistence.Engine == EngineSIP, OnePacket: s.OnePacket,
		Rate: uint32(s.MaxRate), ClientRate: uint32(s.MaxClientRate), RefuseWhenDown: s.WhenDown == DownRefuse, Page: s.Fallback.response(),
		Timeouts: []dataplane.Timeouts{dataplane.Timeouts(global), dataplane.Timeouts(s.Timeouts)},
		Allow:    prefixes(s.Allow), Deny: prefixes(s.Deny),
	}
	length := s.anyVIP().BitLen()
	bits := cmp.Or(s.Persistence.Prefix, length) + 128 - length
	if set.CallID && s.Persistence.Prefix == 0 {
		bits = 0
	}
	for i := range set.ClientMask {
		set.ClientMask[i] = ^byte(0xff >> max(0, min(8, bits-8*i)))
	}
	return set
}

func prefixes(list []Prefix) []netip.Prefix {
	plain := make([]netip.Prefix, len(list))
	for i, p := range list {
		plain[i] = p.Prefix
	}
	return plain
}

// dataplane returns the tunnel for the data plane.
func (t Tunnel) dataplane() dataplane.Tunnel {
	kinds := [...]forward.TunnelKind{IPIP: forward.IPIP, GUE: forward.GUE, GRE: forward.GRE}
	return dataplane.Tunnel{Kind: kinds[t.Type], Port: t.Port, Checksum: t.Checksum}
}

// dataplane returns the settings for the data plane.
func (s *Settings) dataplane() dataplane.Settings {
	return dataplane.Settings{
		ExpireNodestConn:        orElse(s.ExpireNodestConn, !s.IPVSCompat),
		ExpireQuiescentTemplate: orElse(s.ExpireQuiescentTemplate, !s.IPVSCompat),
		SloppyTCP:               s.SloppyTCP,
		SloppySCTP:              s.SloppySCTP,
		ConnReuseMode:           orElse(s.ConnReuseMode, reuseMode(s.IPVSCompat)),
		PMTUDisc:                orElse(s.PMTUDisc, true),
		ClampMSS:                s.ClampMSS,
		AnswerRate:              cmp.Or(s.AnswerRate, defaultAnswerRate),
		ReplyByRoute:            s.ReplyByRoute,
		Merge:                   orElse(s.Merge, true),
		KeepPorts:               s.IPVSCompat,
	}
}

// probeTime returns LinkConfig.ProbeTime.
func (s *Settings) probeTime() time.Duration {
	switch {
	case s.ProbeTime == nil:
		return 0
	case *s.ProbeTime == 0:
		return -1
	}
	return *s.ProbeTime
}

func orElse[T any](v *T, other T) T {
	if v == nil {
		return other
	}
	return *v
}

// detection returns the longest time from a server's death until one of the service's
// checks notices.
func (s *Service) detection() time.Duration {
	longest := time.Duration(0)
	for _, c := range s.checks() {
		c.Timeout = max(c.Timeout, c.ConnectTimeout)
		longest = max(longest, c.settings().Detection())
	}
	return longest
}

// longestCheck returns how long any of the service's checks may take.
func (s *Service) longestCheck() (d time.Duration) {
	for _, c := range s.checks() {
		d = max(d, cmp.Or(max(c.Timeout, c.ConnectTimeout), health.DefaultTimeout))
	}
	return d
}

// timeout returns how long clients are remembered; 0 where they are not.
func (p Persistence) timeout() time.Duration {
	if p.Prefix != 0 || p.Engine != "" {
		return cmp.Or(p.Timeout, defaultPersistence)
	}
	return p.Timeout
}

// EngineSIP names the persistence engine for SIP over UDP: packets with the same
// Call-ID go to the same server (ip_vs_pe_sip).
const EngineSIP = "sip"

func (s *Service) group() string { return cmp.Or(s.Group, DefaultGroup) }

// takes reports whether the service has a protocol.
func (s *Service) takes(p Protocol) bool {
	if len(s.Match) == 0 {
		return s.VIP.IsValid() && s.protocol() == p
	}
	return slices.ContainsFunc(s.Match, func(m Match) bool { return slices.Contains(m.protocols(), p) })
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

func (r *Server) state() ServerState { return cmp.Or(r.State, StateActive) }

func (r *Server) weight() int32 {
	if r.Weight == nil {
		return defaultWeight
	}
	return int32(*r.Weight)
}

// reuseMode returns ip_vs's default for conn_reuse_mode, or golb's: with DSR and TUN, where
// golb does not see replies, a connection stays in FIN_WAIT for two minutes after its client
// has closed it.
func reuseMode(compat bool) int {
	if compat {
		return 1
	}
	return 3
}
