package lb

import (
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/health"
	"github.com/golb/golb/health/printable"
	"github.com/golb/golb/lb/internal/fields"
	"github.com/golb/golb/sched"
)

// The bounds of settings that have any.
const (
	maxWorkers         = 64
	maxWeight          = math.MaxUint16
	minConnections     = 1 << 10
	maxConnections     = 100_000_000 // a server counts at most 2^27-1 active ones (package sched)
	maxPersistence     = 31 * 24 * time.Hour
	defaultPersistence = 5 * time.Minute
	maxCheckDuration   = 24 * time.Hour
	minCheckDuration   = 10 * time.Millisecond
	maxRate            = 100_000_000
	maxProbeTime       = time.Minute
	maxChecksInARow    = 1000
	maxName            = 255 // bytes
	maxShown           = 40  // bytes of a name that is refused
	defaultScheduler   = "wlc"
	defaultWeight      = 1
	defaultConnections = 1 << 20
	defaultAnswerRate  = 1000
)

// Validate finds every mistake that can be seen in the Config alone, where env has the
// checks and schedulers that it may name; it returns nil or ConfigErrors. ValidateHost
// finds those that show on this host only.
func (c *Config) Validate(env Env) error {
	v := &validator{cfg: c, checks: env.Checks, schedulers: env.schedulerNames(), compat: c.Settings.IPVSCompat, right: map[string]*rightCheck{}, pinned: map[netip.Addr]forward.MAC{}}
	if v.checks == nil {
		v.checks = health.NewRegistry(health.Builtin()...)
	}
	v.interfaces(c.Interfaces)
	if c.Workers < 0 || c.Workers > maxWorkers {
		v.fail("workers", c.Workers, "out of range", fmt.Sprintf("0 (one per processor) to %d", maxWorkers))
	}
	v.cpus(c.CPUs)
	if n := c.MaxConnections; n != 0 && (n < minConnections || n > maxConnections) {
		v.fail("max_connections", n, "out of range", fmt.Sprintf("%d to %d", minConnections, maxConnections))
	}
	v.settings("settings", &c.Settings)
	v.alerts("alerts", &c.Alerts, c.Alerts)
	v.announce("announce", &c.Announce)
	v.groups(c.Groups, c.Interfaces)
	v.vips = map[netip.Addr]bool{}
	for _, vip := range c.vips() {
		if vip.IsSingleIP() {
			v.vips[vip.Addr()] = true
		}
	}
	v.services(c.Services)
	return v.result()
}

// validator collects mistakes.
type validator struct {
	cfg        *Config
	errs       ConfigErrors
	checks     *health.Registry
	schedulers []string
	groupNames map[string]bool
	compat     bool                       // what ip_vs takes is no mistake, though of no use
	right      map[string]*rightCheck     // by type, the last one
	pinned     map[netip.Addr]forward.MAC // MACs of servers
	vips       map[netip.Addr]bool        // that are one address
}

// fail notes a mistake; value nil means that there is none to show.
func (v *validator) fail(path string, value any, problem, allowed string) {
	s := ""
	if d, ok := value.(time.Duration); ok {
		s = fields.Duration(d)
	} else if value != nil {
		s = fmt.Sprint(value)
	}
	v.errs = append(v.errs, ConfigError{Path: path, Value: s, Problem: problem, Allowed: allowed})
}

// result is nil where there was no mistake.
func (v *validator) result() error {
	if len(v.errs) == 0 {
		return nil
	}
	return v.errs
}

func (v *validator) cpus(list []int) {
	for i, n := range list {
		path := fmt.Sprintf("cpus[%d]", i)
		switch {
		case n < 0:
			v.fail(path, n, "out of range", "the number of a processor, from 0 on")
		case slices.Contains(list[:i], n):
			v.fail(path, n, "named twice", "each processor once")
		case i == maxWorkers:
			v.fail(path, n, "too many processors", fmt.Sprintf("at most %d", maxWorkers))
		}
	}
}

func (v *validator) interfaces(names []string) {
	if len(names) == 0 {
		v.fail("interfaces", nil, "no interface", "at least one name, as ip link shows it")
	}
	for i, name := range names {
		path := fmt.Sprintf("interfaces[%d]", i)
		switch {
		case name == "":
			v.fail(path, nil, "empty name", "a name, as ip link shows it")
		case slices.Index(names, name) < i:
			v.fail(path, name, "named twice", "")
		}
	}
}

// groups checks the groups, which services may name.
func (v *validator) groups(list []Group, interfaces []string) {
	first := map[string]named{}
	v.groupNames = map[string]bool{DefaultGroup: true}
	for i, g := range list {
		v.group(fmt.Sprintf("groups[%d]", i), &g, interfaces)
		if g.Name == "" {
			v.fail(fmt.Sprintf("groups[%d].name", i), nil, "no name", "one that services name, or "+DefaultGroup)
			continue
		}
		v.uniqueName(first, i, "groups", g.Name, true)
		v.groupNames[g.Name] = true
	}
}

// services checks each, and that no two take the same packets.
func (v *validator) services(list []Service) {
	type claim struct {
		vip   VIP
		proto Protocol
		ports PortRange
	}
	type mark struct {
		number uint32
		is6    bool
	}
	first, marks, names := map[claim]int{}, map[mark]int{}, map[string]named{}
	groups := map[VIP]int{} // the first service of a VIP
	for i := range list {
		s := &list[i]
		v.service(fmt.Sprintf("services[%d]", i), s)
		v.uniqueName(names, i, "services", s.name(), s.Name != "")
		if m := (mark{s.Mark, s.anyVIP().Is6()}); s.Mark != 0 {
			if other, dup := marks[m]; dup {
				v.fail(fmt.Sprintf("services[%d].mark", i), s.Mark, fmt.Sprintf("services[%d] has the same mark", other), "a number of its own in each IP version")
			}
			marks[m] = i
		}
		for j, m := range s.matches() {
			if !m.VIP.IsValid() || s.needsPort() {
				continue
			}
			if other, shared := groups[m.VIP]; shared && list[other].group() != s.group() {
				v.fail(fmt.Sprintf("services[%d].group", i), s.group(),
					fmt.Sprintf("services[%d] has %s in group %s", other, m.VIP, list[other].group()), "one group for all services of a VIP")
			} else if !shared {
				groups[m.VIP] = i
			}
			ports := m.Ports
			if len(ports) == 0 {
				ports = Ports{{0, math.MaxUint16}}
			}
			for _, proto := range m.protocols() {
				for _, r := range ports {
					c := claim{m.VIP, proto, r}
					if other, dup := first[c]; dup && other != i {
						v.fail(s.matchPath(i, j), m, fmt.Sprintf("services[%d] has the same VIP, protocol and port", other), "")
					}
					first[c] = i
				}
			}
		}
	}
}

// named is who has a name, and whether the config gives it.
type named struct {
	index int
	given bool
}

// uniqueName checks that a name, by which logs, alerts and calls tell things apart, is
// not another's of its list. Two that default to one name have another mistake.
func (v *validator) uniqueName(first map[string]named, i int, list, name string, given bool) {
	other, dup := first[name]
	if dup && (given || other.given) {
		v.fail(fmt.Sprintf("%s[%d].name", list, i), name, fmt.Sprintf("%s[%d] has the same name", list, other.index), "a name of its own")
	}
	if given && (len(name) > maxName || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) })) {
		v.fail(fmt.Sprintf("%s[%d].name", list, i), printable.Line(name, maxShown), "not a name", fmt.Sprintf("at most %d bytes of printable text", maxName))
	}
	if !dup {
		first[name] = named{i, given}
	}
}

// destination checks what a service takes.
func (v *validator) destination(path string, s *Service) {
	if s.Mark != 0 && len(s.Match) == 0 {
		v.fail(path+".mark", s.Mark, "a mark of nothing", "only with match, which says what has the mark")
	}
	if len(s.Match) > 0 {
		if s.VIP.IsValid() || s.Port != 0 || s.Protocol != 0 {
			v.fail(path+".match", nil, "beside vip, protocol or port", "either match, or these three")
		}
		for i, m := range s.Match {
			v.match(fmt.Sprintf("%s.match[%d]", path, i), m)
		}
		return
	}
	v.address(path, "vip", s.VIP)
	if _, ok := protocolNames[s.protocol()]; !ok {
		v.fail(path+".protocol", s.Protocol, "unknown protocol", "tcp, udp or sctp")
	}
	if s.needsPort() {
		v.fail(path+".port", s.Port, "no port", "1 to 65535; with persistence also 0, all ports")
	}
}

func (v *validator) match(path string, m Match) {
	switch {
	case !m.VIP.IsValid():
		v.fail(path+".vip", nil, "no address", "an address, or a prefix without host bits")
	case m.VIP.Prefix != m.VIP.Masked():
		v.fail(path+".vip", m.VIP.Prefix, "prefix with host bits", m.VIP.Masked().String())
	case m.VIP.IsSingleIP():
		v.address(path, "vip", m.VIP.Addr())
	}
	for i, p := range m.Protocols {
		if _, ok := protocolNames[p]; !ok {
			v.fail(fmt.Sprintf("%s.protocols[%d]", path, i), p, "unknown protocol", "tcp, udp or sctp")
		}
	}
	for _, r := range m.Ports {
		if r.First > r.Last {
			v.fail(path+".ports", m.Ports, "range that ends before it begins", "")
		}
	}
}

func (v *validator) timeouts(path string, t *Timeouts) {
	for _, x := range []struct {
		key   string
		value time.Duration
	}{
		{"tcp", t.Established}, {"tcp_fin", t.FinWait}, {"tcp_syn", t.SynRecv}, {"tcp_time_wait", t.TimeWait},
		{"tcp_close", t.Close}, {"udp", t.UDP}, {"sctp", t.SCTP},
	} {
		if x.value != 0 && (x.value < time.Second || x.value > maxPersistence) {
			v.fail(path+"."+x.key, x.value, "out of range", fmt.Sprintf("1s to %s (31 days)", fields.Duration(maxPersistence)))
		}
	}
}

// access checks the lists of clients.
func (v *validator) access(path string, s *Service) {
	seen := make(map[netip.Prefix]string, len(s.Allow)+len(s.Deny))
	for _, list := range []struct {
		key      string
		prefixes []Prefix
	}{{"allow", s.Allow}, {"deny", s.Deny}} {
		for i, p := range list.prefixes {
			at := fmt.Sprintf("%s.%s[%d]", path, list.key, i)
			switch {
			case !p.IsValid():
				v.fail(at, nil, "no address", "an address, or a prefix without host bits")
			case p.Prefix != p.Masked():
				v.fail(at, p, "prefix with host bits", p.Masked().String())
			case p.Addr().Is4In6():
				v.fail(at, p, "IPv4-mapped IPv6 address", "the IPv4 address itself")
			case seen[p.Prefix] != "" && seen[p.Prefix] != list.key:
				v.fail(at, p, "allowed as well", "each prefix in one list")
			}
			seen[p.Prefix] = list.key
		}
	}
}

func (v *validator) rates(path string, s *Service) {
	if s.SlowStart < 0 || s.SlowStart > maxCheckDuration {
		v.fail(path+".slow_start", s.SlowStart, "out of range", fmt.Sprintf("up to %s, 0 for none", fields.Duration(maxCheckDuration)))
	}
	for _, r := range []struct {
		key   string
		value int
	}{{"max_conn_rate", s.MaxRate}, {"max_client_conn_rate", s.MaxClientRate}} {
		if r.value < 0 || r.value > maxRate {
			v.fail(path+"."+r.key, r.value, "out of range", fmt.Sprintf("connections a second up to %d, 0 for no bound", maxRate))
		}
	}
}

func (v *validator) service(path string, s *Service) {
	v.destination(path, s)
	if !v.groupNames[s.group()] {
		v.fail(path+".group", s.Group, "no such group", strings.Join(slices.Sorted(maps.Keys(v.groupNames)), ", "))
	}
	v.timeouts(path+".timeouts", &s.Timeouts)
	v.access(path, s)
	v.rates(path, s)
	v.scheduler(path, s)
	v.persistence(path+".persistence", s)
	if s.OnePacket && (s.takes(TCP) || s.takes(SCTP)) {
		v.fail(path+".one_packet", s.OnePacket, "not for tcp and sctp", "true for udp only")
	}
	v.method(path+".method", s.Method)
	v.tunnel(path+".tunnel", &s.Tunnel)
	v.check(path, s)
	v.agent(path+".agent", &s.Agent)
	v.alerts(path+".alerts", &s.Alerts, v.cfg.alertsOf(s))
	v.quorum(path, s)
	v.passive(path+".passive", &s.PassiveCheck)
	v.fallback(path+".fallback", s)
	seen, names := map[netip.AddrPort]int{}, map[string]named{}
	for i := range s.Servers {
		r := &s.Servers[i]
		spath := path + ".servers[" + strconv.Itoa(i) + "]"
		v.server(spath, s, r)
		if first, dup := seen[r.addrPort(s)]; dup && r.Address.IsValid() {
			v.fail(spath+".address", r.addrPort(s), fmt.Sprintf("%s.servers[%d] has the same address and port", path, first), "")
			continue
		}
		v.uniqueName(names, i, path+".servers", r.name(s), r.Name != "")
		seen[r.addrPort(s)] = i
	}
}

// address checks one that packets are to go to.
func (v *validator) address(path, key string, a netip.Addr) {
	const allowed = "a unicast IPv4 or IPv6 address"
	fail := func(value any, problem, allowed string) { v.fail(path+"."+key, value, problem, allowed) }
	switch {
	case !a.IsValid():
		fail(nil, "no address", allowed)
	case a.Zone() != "":
		fail(a, "address with a zone", allowed+" without a zone")
	case a.Is4In6():
		fail(a, "IPv4-mapped IPv6 address", "the IPv4 address itself: "+a.Unmap().String())
	case a.IsLoopback():
		fail(a, ErrOwnHost.Error(), "the address of another host")
	case a.IsUnspecified(), a.IsMulticast(), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		fail(a, "not an address of a host on the network", allowed)
	}
}

func (v *validator) scheduler(path string, s *Service) {
	if !slices.Contains(v.schedulers, s.scheduler()) {
		problem := "unknown scheduler"
		if meant, ok := fields.Meant(s.Scheduler, v.schedulers); ok {
			problem += ": golb says " + meant
		}
		v.fail(path+".scheduler", s.Scheduler, problem, strings.Join(v.schedulers, ", "))
		return
	}
	for i, flag := range s.SchedulerFlags {
		at := fmt.Sprintf("%s.scheduler_flags[%d]", path, i)
		switch {
		case flag != flagFallback && flag != flagPort:
			v.fail(at, flag, "unknown flag", flagFallback+" or "+flagPort)
		case !sched.TakesFlags(s.scheduler()):
			v.fail(at, flag, "scheduler "+s.scheduler()+" has no flags", "flags with "+strings.Join(slices.DeleteFunc(sched.Names(), func(name string) bool { return !sched.TakesFlags(name) }), " and ")+" only")
		}
	}
}

// The flags of schedulers.
const (
	flagFallback = "fallback"
	flagPort     = "port"
)

func (v *validator) persistence(path string, s *Service) {
	p := &s.Persistence
	if p.Timeout < 0 || p.Timeout > maxPersistence || p.Timeout%time.Second != 0 {
		v.fail(path+".timeout", p.Timeout, "out of range", fmt.Sprintf("whole seconds up to %s (31 days), 0 for none", fields.Duration(maxPersistence)))
	}
	if vip := s.anyVIP(); vip.IsValid() && (p.Prefix < 0 || p.Prefix > vip.BitLen()) {
		v.fail(path+".prefix", p.Prefix, "out of range", fmt.Sprintf("1 to %d, 0 for %[1]d", vip.BitLen()))
	}
	switch {
	case p.Engine == "":
	case p.Engine != EngineSIP:
		v.fail(path+".engine", p.Engine, "unknown engine", EngineSIP)
	case s.takes(TCP) || s.takes(SCTP):
		v.fail(path+".engine", p.Engine, "not for "+s.id(), EngineSIP+" with udp only")
	}
}

func (v *validator) settings(path string, s *Settings) {
	v.timeouts(path+".timeouts", &s.Timeouts)
	if m := s.ConnReuseMode; m != nil && (*m < 0 || *m > 3) {
		v.fail(path+".conn_reuse_mode", *m, "out of range", "0 to 3")
	}
	if d := s.ProbeTime; d != nil && (*d < 0 || *d > maxProbeTime) {
		v.fail(path+".probe_time", *d, "out of range", fmt.Sprintf("0 (do not ask) to %v", maxProbeTime))
	}
	if s.AnswerRate < 0 {
		v.fail(path+".answer_rate", s.AnswerRate, "out of range", "packets a second, 0 for 1000")
	}
}
