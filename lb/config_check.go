package lb

import (
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

// check finds the mistakes in a service's check and its servers' parts of it.
func (v *validator) check(path string, s *Service) {
	c, at := &s.Check, path+".check"
	v.duration(at, "interval", c.Interval, minCheckDuration)
	v.duration(at, "fast_interval", c.Fast, minCheckDuration)
	v.duration(at, "timeout", c.Timeout, minCheckDuration)
	for _, n := range []struct {
		key   string
		value int
	}{{"fall", c.Fall}, {"rise", c.Rise}} {
		if n.value < 0 || n.value > maxChecksInARow {
			v.fail(at+"."+n.key, n.value, "out of range", fmt.Sprintf("1 to %d", maxChecksInARow))
		}
	}
	if c.Unchecked != "" && c.Unchecked != uncheckedUp && c.Unchecked != uncheckedDown {
		v.fail(at+".unchecked", c.Unchecked, "unknown word", uncheckedDown+" or "+uncheckedUp)
	}
	v.checkAddress(at, "address", c.Address)
	servers := s.Servers
	if len(servers) == 0 {
		servers = []Server{{Address: s.anyVIP()}} // its parameters can still be wrong
	}
	reported := map[health.ParamError]bool{}
	var plain []uint16 // ports of servers without a parameter of their own
	for i := range servers {
		r := &servers[i]
		if r.Check.Address.IsValid() {
			v.checkAddress(fmt.Sprintf("%s.servers[%d].check", path, i), "address", r.Check.Address)
		}
		if len(r.Check.Params) == 0 {
			if slices.Contains(plain, r.Port) {
				continue // checked already
			}
			plain = append(plain, r.Port)
		}
		v.checkParams(path, i, s, r, reported)
	}
}

// duration checks a time that has a default where it is 0.
func (v *validator) duration(path, key string, d, least time.Duration) {
	if d != 0 && (d < least || d > maxCheckDuration) {
		v.fail(path+"."+key, d, "out of range", fields.Duration(least)+" to "+fields.Duration(maxCheckDuration))
	}
}

// checkParams finds the mistakes that a check's type finds: each once for the service, and
// at the server for parameters of its own.
func (v *validator) checkParams(path string, i int, s *Service, r *Server, reported map[health.ParamError]bool) {
	peer := s.peer(r)
	if s.needsPort() { // reported already, as are addresses that are missing
		peer.Addr = netip.AddrPortFrom(peer.Addr.Addr(), max(peer.Addr.Port(), 1))
	}
	if !peer.Addr.Addr().IsValid() {
		peer.Addr = netip.AddrPortFrom(netip.IPv6Unspecified(), peer.Addr.Port())
	}
	same := rightCheck{is4: peer.Addr.Addr().Is4(), port: peer.Addr.Port() != 0, params: s.Check.Params}
	if len(r.Check.Params) == 0 && v.right[s.checkType()].equal(same) {
		return
	}
	_, _, err := s.newCheck(v.checks, r, peer)
	var wrong health.ParamErrors
	if !errors.As(err, &wrong) {
		if len(r.Check.Params) == 0 {
			v.right[s.checkType()] = &same
		}
		return
	}
	for _, e := range wrong {
		where, keys := path+".check", reflect.TypeFor[Check]()
		if _, given := r.Check.Params[e.Key]; given {
			where, keys = fmt.Sprintf("%s.servers[%d].check", path, i), reflect.TypeFor[ServerCheck]()
		} else if reported[e] {
			continue
		} else {
			reported[e] = true
		}
		if e.Key != keyOfNone {
			where += "." + e.Key
		}
		if e.Problem == "unknown" {
			e.Problem, e.Allowed = "unknown key", strings.TrimSuffix(strings.Join(append(fields.TypeOf(keys).Names(), e.Allowed), ", "), ", ")
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
	params    map[string]any
}

func (c *rightCheck) equal(o rightCheck) bool {
	return c != nil && c.is4 == o.is4 && c.port == o.port && reflect.DeepEqual(c.params, o.params)
}

// keyOfNone is package health's key for a mistake that is not about one key.
const keyOfNone = "check"

// checkAddress checks an address that only checks go to, which may be this host.
func (v *validator) checkAddress(path, key string, a netip.Addr) {
	if a.IsValid() && (a.IsUnspecified() || a.IsMulticast() || a.Is4In6() || a.Zone() != "") {
		v.fail(path+"."+key, a, "not an address to ask", "a unicast IPv4 or IPv6 address without a zone")
	}
}
