package lb

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/golb/golb/health"
	"github.com/golb/golb/lb/internal/fields"
)

// maxChecks bounds the checks of one server.
const maxChecks = 16

// givenCheck is a check and its place in the config.
type givenCheck struct {
	Check
	path string
}

// givenChecks returns the checks of a service or server as the config has them.
func (v *validator) givenChecks(path string, first Check, more []Check) []givenCheck {
	path += ".check"
	if more == nil {
		return []givenCheck{{first, path}}
	}
	if len(more) >= maxChecks {
		v.fail(path, len(more)+1, "too many checks", fmt.Sprintf("1 to %d", maxChecks))
	}
	all := []givenCheck{{first, path + "[0]"}}
	for i, c := range more {
		all = append(all, givenCheck{c, fmt.Sprintf("%s[%d]", path, i+1)})
	}
	return all
}

// gives reports whether a check itself has a key of package health.
func (c *givenCheck) gives(key string) bool {
	_, param := c.Params[key]
	return param || key == "source" && c.Source.IsValid() || key == "interface" && c.Interface != ""
}

// check finds the mistakes in a service's checks and its servers' own.
func (v *validator) check(path string, s *Service) {
	given := v.givenChecks(path, s.Check, s.MoreChecks)
	through := ""
	for _, c := range given {
		v.checkSettings(&c)
		v.through(c.path+".through", s, &c.Check, through)
		through = cmp.Or(through, c.Through)
	}
	servers := s.Servers
	if len(servers) == 0 {
		servers = []Server{{Address: s.anyVIP()}} // its parameters can still be wrong
	}
	reported := map[string]bool{}
	var plain []uint16 // ports of servers without checks of their own
	for i := range servers {
		r := &servers[i]
		if r.hasChecks() {
			v.serverChecks(fmt.Sprintf("%s.servers[%d]", path, i), s, r, given, reported)
			continue
		}
		if slices.Contains(plain, r.Port) {
			continue // checked already
		}
		plain = append(plain, r.Port)
		for k, c := range s.checks() {
			v.checkParams(s, r, &c, given[k].path, &given[k], reported)
		}
	}
}

// serverChecks finds the mistakes in a server's own checks; given are its service's.
func (v *validator) serverChecks(path string, s *Service, r *Server, given []givenCheck, reported map[string]bool) {
	all := s.checks()
	for _, own := range v.givenChecks(path, r.Check, r.MoreChecks) {
		v.checkSettings(&own)
		if own.Through != "" {
			v.fail(own.path+".through", own.Through, "the true path is checked for all servers or none", "in the service's check")
		}
		if own.Type == "" && len(all) > 1 {
			v.fail(own.path+".type", nil, "no type, and the service has several checks", "the type of one of them, or another")
			continue
		}
		c, inherited := own.Check, own.path
		if i := c.inherit(all, v.checks); i >= 0 {
			inherited = given[i].path
		}
		v.checkParams(s, r, &c, inherited, &own, reported)
	}
}

// checkSettings finds the mistakes in what all types of checks have.
func (v *validator) checkSettings(c *givenCheck) {
	v.duration(c.path, "interval", c.Interval, minCheckDuration)
	v.duration(c.path, "fast_interval", c.Fast, minCheckDuration)
	v.duration(c.path, "timeout", c.Timeout, minCheckDuration)
	v.duration(c.path, "connect_timeout", c.ConnectTimeout, minCheckDuration)
	for _, n := range []struct {
		key   string
		value int
	}{{"fall", c.Fall}, {"rise", c.Rise}} {
		if n.value < 0 || n.value > maxChecksInARow {
			v.fail(c.path+"."+n.key, n.value, "out of range", fmt.Sprintf("1 to %d", maxChecksInARow))
		}
	}
	if u := c.Unchecked; u != "" && u != uncheckedUp && u != uncheckedDown {
		v.fail(c.path+".unchecked", u, "unknown word", uncheckedDown+" or "+uncheckedUp)
	}
	v.checkAddress(c.path, "address", c.Address)
	v.source(c.path, c.Source, c.Interface)
}

// source checks where the packets of a check or agent come from.
func (v *validator) source(path string, addr netip.Addr, dev string) {
	if addr.IsValid() && !isHostAddr(addr) {
		v.fail(path+".source", addr, "not an address of a host", "a unicast IPv4 or IPv6 address without a zone")
	}
	if len(dev) > maxInterfaceName || strings.ContainsAny(dev, " \t\n/:") {
		v.fail(path+".interface", dev, "not the name of an interface", "a name, as ip link shows it")
	}
}

// maxInterfaceName is the length of the longest name of an interface (IFNAMSIZ).
const maxInterfaceName = 15

// duration checks a time that has a default where it is 0.
func (v *validator) duration(path, key string, d, least time.Duration) {
	if d != 0 && (d < least || d > maxCheckDuration) {
		v.fail(path+"."+key, d, "out of range", fields.Duration(least)+" to "+fields.Duration(maxCheckDuration))
	}
}

// checkParams finds the mistakes that the type of a server's check c finds: at the place of
// own for what that gives, at the path inherited for all else. Each is reported once.
func (v *validator) checkParams(s *Service, r *Server, c *Check, inherited string, own *givenCheck, reported map[string]bool) {
	peer := s.peer(r, c)
	if s.needsPort() { // reported already, as are addresses that are missing
		peer.Addr = netip.AddrPortFrom(peer.Addr.Addr(), max(peer.Addr.Port(), 1))
	}
	if !peer.Addr.Addr().IsValid() {
		peer.Addr = netip.AddrPortFrom(netip.IPv6Unspecified(), peer.Addr.Port())
	}
	same := rightCheck{is4: peer.Addr.Addr().Is4(), port: peer.Addr.Port() != 0, source: peer.Source, params: c.Params}
	if v.right[c.Type].equal(same) {
		return
	}
	_, _, err := v.checks.New(c.Type, peer, c.Params)
	var wrong health.ParamErrors
	if !errors.As(err, &wrong) {
		v.right[c.Type] = &same
		return
	}
	for _, e := range wrong {
		where := inherited
		if own.gives(e.Key) {
			where = own.path
		}
		if e.Key != keyOfNone {
			where += "." + e.Key
		}
		if reported[where+e.Error()] {
			continue
		}
		reported[where+e.Error()] = true
		if e.Problem == "unknown" {
			names := fields.TypeOf(reflect.TypeFor[Check]()).Names()
			e.Problem, e.Allowed = "unknown key", strings.TrimSuffix(strings.Join(append(names, e.Allowed), ", "), ", ")
		}
		var value any
		if e.Value != "" {
			value = e.Value
		}
		v.fail(where, value, e.Problem, e.Allowed)
	}
}

// rightCheck are parameters in which the check's type has found no mistake. Thousands of
// services mostly have the same check, and making one takes longer than all other
// validation. Mistakes that depend on more of an address than this are found by planCheck.
type rightCheck struct {
	is4, port bool // of the address: IPv4, and with a port
	source    health.Source
	params    map[string]any
}

func (c *rightCheck) equal(o rightCheck) bool {
	return c != nil && c.is4 == o.is4 && c.port == o.port && c.source == o.source && reflect.DeepEqual(c.params, o.params)
}

// keyOfNone is package health's key for a mistake that is not about one key.
const keyOfNone = "check"

// checkAddress checks an address that only checks go to, which may be this host.
func (v *validator) checkAddress(path, key string, a netip.Addr) {
	if a.IsValid() && !isHostAddr(a) {
		v.fail(path+"."+key, a, "not an address to ask", "a unicast IPv4 or IPv6 address without a zone")
	}
	v.notVIP(path+"."+key, a)
}

// isHostAddr reports whether a host can have an address, whatever its link.
func isHostAddr(a netip.Addr) bool {
	return !a.IsUnspecified() && !a.IsMulticast() && !a.Is4In6() && a.Zone() == ""
}
