package lb

import (
	"cmp"
	"fmt"
	"net/netip"
	"reflect"
	"slices"

	"github.com/golb/golb/health"
)

// Which checks a server has: those of its service, or its own in place of them.

// The types that need no check, as package health calls them.
const (
	checkOn  = "on"
	checkOff = "off"
)

// checks returns the checks of a service's servers that have none of their own. All have
// a Type.
func (s *Service) checks() []Check {
	all := append([]Check{s.Check}, s.MoreChecks...)
	for i := range all {
		all[i].Type = cmp.Or(all[i].Type, s.defaultCheckType())
	}
	return all
}

// defaultCheckType returns the type of a service's check that names none.
func (s *Service) defaultCheckType() string {
	if s.takes(TCP) {
		return "tcp"
	}
	return checkOn
}

// hasChecks reports whether a server has checks in place of its service's.
func (r *Server) hasChecks() bool {
	return r.MoreChecks != nil || !reflect.ValueOf(r.Check).IsZero()
}

// checksOf returns the checks of a server: its own, with what they leave to the service's,
// or the service's.
func (s *Service) checksOf(r *Server, types *health.Registry) []Check {
	all := s.checks()
	if r.hasChecks() {
		own := append([]Check{r.Check}, r.MoreChecks...)
		for i := range own {
			own[i].inherit(all, types)
		}
		all = own
	}
	for i := range all {
		all[i].chooseTimeout(types)
	}
	return all
}

// chooseTimeout sets Timeout to that of the check's type (ldirectord: checktimeout and
// negotiatetimeout).
func (c *Check) chooseTimeout(types *health.Registry) {
	typ, _ := types.Find(c.Type)
	switch typ.Name {
	case "tcp", "syn", "ping", "external":
		c.Timeout = cmp.Or(c.ConnectTimeout, c.Timeout)
	default:
		c.Timeout = cmp.Or(c.Timeout, c.ConnectTimeout)
	}
}

// inherit takes what c does not say from the service's checks. It returns the number of the
// one that has c's type, or -1.
func (c *Check) inherit(all []Check, types *health.Registry) int {
	c.Type = cmp.Or(c.Type, all[0].Type)
	i := slices.IndexFunc(all, func(other Check) bool { return sameType(types, c.Type, other.Type) })
	like := &all[max(i, 0)]
	if i >= 0 {
		if typ, ok := types.Find(c.Type); ok && len(c.Params) > 0 {
			c.Params = typ.Merge(like.Params, c.Params)
		} else {
			c.Params = like.Params
		}
		if !c.Address.IsValid() {
			c.Address = like.Address
		}
		c.Port = cmp.Or(c.Port, like.Port)
	}
	if c.Source == (netip.Addr{}) && c.Interface == "" { // they are one setting
		c.Source, c.Interface = like.Source, like.Interface
	}
	c.Interval, c.Fast, c.Timeout = cmp.Or(c.Interval, like.Interval), cmp.Or(c.Fast, like.Fast), cmp.Or(c.Timeout, like.Timeout)
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, like.ConnectTimeout)
	c.Fall, c.Rise, c.Unchecked = cmp.Or(c.Fall, like.Fall), cmp.Or(c.Rise, like.Rise), cmp.Or(c.Unchecked, like.Unchecked)
	return i
}

// sameType reports whether two names are of one type.
func sameType(types *health.Registry, a, b string) bool {
	x, ok := types.Find(a)
	y, _ := types.Find(b)
	return a == b || ok && x.Name == y.Name
}

// peer returns the address that a check of a server goes to. c is of checksOf.
func (s *Service) peer(r *Server, c *Check) health.Peer {
	addr := r.Address
	if c.Address.IsValid() {
		addr = c.Address
	}
	return health.Peer{
		Addr:    netip.AddrPortFrom(addr, cmp.Or(c.Port, r.Port, s.checkedPort())),
		Service: netip.AddrPortFrom(s.anyVIP(), s.Port), ConnectTimeout: c.ConnectTimeout,
		Source: health.Source{Addr: c.Source, Interface: c.Interface},
	}
}

// awaited reports whether a server gets no clients before the check has passed.
func (c *Check) awaited() bool { return c.Unchecked != uncheckedUp }

// settings returns when to make a check, and how many results count.
func (c *Check) settings() health.Settings {
	return health.Settings{Interval: c.Interval, FastInterval: c.Fast, Timeout: c.Timeout, Fall: c.Fall, Rise: c.Rise}
}

// schedule is settings as part of a check's key.
func (c *Check) schedule() string {
	return fmt.Sprintf("every %v %v, timeout %v %v, fall %d, rise %d", c.Interval, c.Fast, c.Timeout, c.ConnectTimeout, c.Fall, c.Rise)
}
