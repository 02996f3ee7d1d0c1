package lb

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/sched"
)

// The bounds of settings that have any.
const (
	maxWorkers        = 64
	maxWeight         = math.MaxUint16
	minConnections    = 1 << 10
	maxConnections    = 1 << 30
	maxCheckDuration  = 24 * time.Hour
	minCheckDuration  = 10 * time.Millisecond
	maxChecksInARow   = 1000
	defaultScheduler  = "wlc"
	defaultWeight     = 1
	defaultConnection = 1 << 20
)

// Validate finds every mistake that can be seen in the Config alone; it returns
// nil or ConfigErrors. ValidateHost finds those that show on this host only.
func (c *Config) Validate() error {
	v := &validator{}
	v.interfaces(c.Interfaces)
	if c.Workers < 0 || c.Workers > maxWorkers {
		v.fail("workers", c.Workers, "out of range", fmt.Sprintf("0 (one per processor) to %d", maxWorkers))
	}
	if n := c.MaxConnections; n != 0 && (n < minConnections || n > maxConnections) {
		v.fail("max_connections", n, "out of range", fmt.Sprintf("%d to %d", minConnections, maxConnections))
	}
	if len(c.Services) == 0 {
		v.fail("services", nil, "no service", "at least one")
	}
	seen := map[serviceKey]int{}
	for i := range c.Services {
		path := fmt.Sprintf("services[%d]", i)
		s := &c.Services[i]
		v.service(path, s)
		if first, dup := seen[s.key()]; dup && s.VIP.IsValid() {
			v.fail(path+".vip", s.key(), fmt.Sprintf("services[%d] has the same VIP, protocol and port", first), "")
			continue
		}
		seen[s.key()] = i
	}
	return v.result()
}

// validator collects mistakes.
type validator struct{ errs ConfigErrors }

// fail notes a mistake; value nil means that there is none to show.
func (v *validator) fail(path string, value any, problem, allowed string) {
	s := ""
	if value != nil {
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

func (v *validator) service(path string, s *Service) {
	v.address(path+".vip", s.VIP)
	if _, ok := protocolNames[s.protocol()]; !ok {
		v.fail(path+".protocol", s.Protocol, "unknown protocol", "tcp, udp or sctp")
	}
	if s.Port == 0 {
		v.fail(path+".port", s.Port, "no port", "1 to 65535")
	}
	v.scheduler(path+".scheduler", s.Scheduler)
	v.method(path+".method", s.Method)
	v.check(path+".check", s)
	if len(s.Servers) == 0 {
		v.fail(path+".servers", nil, "no server", "at least one")
	}
	seen := map[netip.AddrPort]int{}
	for i := range s.Servers {
		r := &s.Servers[i]
		spath := fmt.Sprintf("%s.servers[%d]", path, i)
		v.server(spath, s, r)
		if first, dup := seen[r.addrPort(s)]; dup && r.Address.IsValid() {
			v.fail(spath+".address", r.addrPort(s), fmt.Sprintf("%s.servers[%d] has the same address and port", path, first), "")
			continue
		}
		seen[r.addrPort(s)] = i
	}
}

// address checks one that packets are to go to.
func (v *validator) address(path string, a netip.Addr) {
	const allowed = "a unicast IPv4 or IPv6 address"
	switch {
	case !a.IsValid():
		v.fail(path, nil, "no address", allowed)
	case a.Zone() != "":
		v.fail(path, a, "address with a zone", allowed+" without a zone")
	case a.Is4In6():
		v.fail(path, a, "IPv4-mapped IPv6 address", "the IPv4 address itself: "+a.Unmap().String())
	case a.IsUnspecified(), a.IsMulticast(), a.IsLoopback(), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		v.fail(path, a, "not an address of a host on the network", allowed)
	}
}

func (v *validator) scheduler(path, name string) {
	if name == "" || slices.Contains(sched.Names(), name) {
		return
	}
	v.fail(path, name, "unknown scheduler", strings.Join(sched.Names(), ", "))
}

func (v *validator) method(path string, m Method) {
	if m != 0 && m != DSR {
		v.fail(path, m, "method that golb does not have yet", "dsr")
	}
}

func (v *validator) server(path string, s *Service, r *Server) {
	v.address(path+".address", r.Address)
	v.method(path+".method", r.Method)
	if r.Address.IsValid() && s.VIP.IsValid() {
		switch {
		case r.Address == s.VIP:
			v.fail(path+".address", r.Address, "the VIP itself", "the server's own address")
		case r.Address.Is4() != s.VIP.Is4():
			v.fail(path+".address", r.Address, "not of the VIP's family", familyOf(s.VIP))
		}
	}
	if r.Port != 0 && r.Port != s.Port && r.method(s) != NAT {
		v.fail(path+".port", r.Port, fmt.Sprintf("with method %s the port stays the service's", r.method(s)), strconv.Itoa(int(s.Port)))
	}
	if r.Weight != nil && (*r.Weight < 0 || *r.Weight > maxWeight) {
		v.fail(path+".weight", *r.Weight, "out of range", fmt.Sprintf("0 to %d", maxWeight))
	}
}

func familyOf(a netip.Addr) string {
	if a.Is4() {
		return "an IPv4 address"
	}
	return "an IPv6 address"
}

func (v *validator) check(path string, s *Service) {
	c := &s.Check
	switch {
	case c.Type != "" && c.Type != checkTCP && c.Type != checkNone:
		v.fail(path+".type", c.Type, "unknown check", checkTCP+" or "+checkNone)
	}
	for _, d := range []struct {
		key   string
		value time.Duration
	}{{"interval", c.Interval}, {"timeout", c.Timeout}} {
		if d.value != 0 && (d.value < minCheckDuration || d.value > maxCheckDuration) {
			v.fail(path+"."+d.key, d.value, "out of range", fmt.Sprintf("%v to %v", minCheckDuration, maxCheckDuration))
		}
	}
	for _, n := range []struct {
		key   string
		value int
	}{{"fall", c.Fall}, {"rise", c.Rise}} {
		if n.value < 0 || n.value > maxChecksInARow {
			v.fail(path+"."+n.key, n.value, "out of range", fmt.Sprintf("1 to %d", maxChecksInARow))
		}
	}
}

// The types of checks.
const (
	checkTCP  = "tcp"
	checkNone = "none"
)

// The accessors below say what zero values mean.

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
