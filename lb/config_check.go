package lb

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"time"

	"github.com/golb/golb/health"
)

// check finds the mistakes in a service's check and in what its servers change of it.
func (v *validator) check(path string, s *Service) {
	c, at := &s.Check, path+".check"
	v.duration(at+".interval", c.Interval, minCheckDuration)
	v.duration(at+".fast_interval", c.Fast, minCheckDuration)
	v.duration(at+".timeout", c.Timeout, minCheckDuration)
	for _, n := range []struct {
		key   string
		value int
	}{{"fall", c.Fall}, {"rise", c.Rise}} {
		if n.value < 0 || n.value > maxChecksInARow {
			v.fail(at+"."+n.key, n.value, "out of range", fmt.Sprintf("1 to %d", maxChecksInARow))
		}
	}
	v.checkAddress(at+".address", c.Address)
	servers := s.Servers
	if len(servers) == 0 {
		servers = []Server{{Address: s.anyVIP()}} // its parameters can still be wrong
	}
	told, plain := map[health.ParamError]bool{}, map[uint16]bool{}
	for i := range servers {
		r := &servers[i]
		own := fmt.Sprintf("%s.servers[%d].check", path, i)
		v.checkAddress(own+".address", r.Check.Address)
		if len(r.Check.Params) == 0 {
			if plain[r.Port] {
				continue // nothing new
			}
			plain[r.Port] = true
		}
		v.checkParams(at, own, s, r, told)
	}
}

// duration checks a time that has a default where it is 0.
func (v *validator) duration(path string, d, least time.Duration) {
	if d != 0 && (d < least || d > maxCheckDuration) {
		v.fail(path, d, "out of range", fmt.Sprintf("%v to %v", least, maxCheckDuration))
	}
}

// checkParams finds the mistakes that a check's type sees, each once where it is the
// service's, and at the server's where that says something of its own.
func (v *validator) checkParams(at, own string, s *Service, r *Server, told map[health.ParamError]bool) {
	peer := s.peer(r)
	if s.needsPort() { // told already, as are addresses that are missing
		peer.Addr = netip.AddrPortFrom(peer.Addr.Addr(), max(peer.Addr.Port(), 1))
	}
	if !peer.Addr.Addr().IsValid() {
		peer.Addr = netip.AddrPortFrom(netip.IPv6Unspecified(), peer.Addr.Port())
	}
	_, _, err := s.newCheck(v.checks, r, peer)
	var wrong health.ParamErrors
	if !errors.As(err, &wrong) {
		return
	}
	for _, e := range wrong {
		where, keys := at, reflect.TypeFor[Check]()
		if _, given := r.Check.Params[e.Key]; given {
			where, keys = own, reflect.TypeFor[ServerCheck]()
		} else if told[e] {
			continue
		} else {
			told[e] = true
		}
		if e.Key != keyOfNone {
			where += "." + e.Key
		}
		if e.Problem == "unknown" {
			e.Problem, e.Allowed = "unknown key", strings.TrimSuffix(strings.Join(append(keysOf(keys), e.Allowed), ", "), ", ")
		}
		var value any
		if e.Value != "" {
			value = e.Value
		}
		v.fail(where, value, e.Problem, e.Allowed)
	}
}

// keysOf are the names that a config has for the fields of a struct.
func keysOf(t reflect.Type) (names []string) {
	for i := range t.NumField() {
		if name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ","); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// keyOfNone is what package health calls a mistake that no single key has made.
const keyOfNone = "check"

// checkAddress checks an address that only checks go to, which may be this host.
func (v *validator) checkAddress(path string, a netip.Addr) {
	if a.IsValid() && (a.IsUnspecified() || a.IsMulticast() || a.Is4In6() || a.Zone() != "") {
		v.fail(path, a, "not an address to ask", "a unicast IPv4 or IPv6 address without a zone")
	}
}
