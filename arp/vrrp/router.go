package vrrp

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Router is the instances of one host: a VRRP router in the words of RFC 9568 §2. It
// gives adverts to the instance that they are for, has one deadline for all and moves
// sync groups together. As an Instance, it is for one goroutine at a time; the instances
// may be called directly.
type Router struct {
	instances []*Instance
}

// group is a sync group: instances that are master, backup and in fault together.
type group struct{ members []*Instance }

// NewRouter returns a router whose instances are not started. It refuses instances that
// adverts do not tell apart: those with one interface, family and VRID, unless they use
// unicast and have no peer in common.
func NewRouter(host Host, configs ...Config) (*Router, error) {
	r := &Router{}
	var errs []error
	groups := map[string]*group{}
	for _, c := range configs {
		in, err := New(c, host)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, other := range r.instances {
			if other.confusedWith(in) {
				errs = append(errs, fmt.Errorf("vrrp: %s: VRID %d: is that of %s on the same interface", in.Name(), c.VRID, other.Name()))
			}
		}
		r.instances = append(r.instances, in)
		if c.Group == "" {
			continue
		}
		if groups[c.Group] == nil {
			groups[c.Group] = &group{}
		}
		in.group = groups[c.Group]
		in.group.members = append(in.group.members, in)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return r, nil
}

// sameWire reports whether adverts on the interface may be for both instances.
func (in *Instance) sameWire(other *Instance) bool {
	return in.cfg.VRID == other.cfg.VRID && in.cfg.Interface == other.cfg.Interface &&
		in.cfg.Source.Is4() == other.cfg.Source.Is4()
}

func (in *Instance) confusedWith(other *Instance) bool {
	if !in.sameWire(other) {
		return false
	}
	if !in.cfg.unicast() || !other.cfg.unicast() {
		return true
	}
	return slices.ContainsFunc(in.cfg.Peers, other.hasPeer)
}

func (in *Instance) hasPeer(p Peer) bool {
	return slices.ContainsFunc(in.cfg.Peers, func(q Peer) bool { return q.Addr == p.Addr })
}

// Instances returns the instances in the order of their configurations. The slice is
// the router's.
func (r *Router) Instances() []*Instance { return r.instances }

// Start starts all instances.
func (r *Router) Start(now time.Time) {
	for _, in := range r.instances {
		in.start(in.clock(now))
	}
	r.Tick(now)
}

// Receive gives a packet that arrived on an interface to its instance, as
// [Instance.Receive] does.
func (r *Router) Receive(now time.Time, ifname string, packet []byte) Reason {
	a, reason := Decode(packet)
	if a.VRID == 0 && reason != ReasonNone {
		return reason
	}
	var to *Instance
	for _, in := range r.instances {
		if in.cfg.VRID != a.VRID || in.cfg.Interface != ifname || in.cfg.Source.Is4() != a.Src.Is4() {
			continue
		}
		if to == nil || in.hasPeer(Peer{Addr: a.Src}) {
			to = in
		}
	}
	if to == nil {
		return ReasonVRID
	}
	return to.receive(now, &a, reason)
}

// Tick calls that of all instances.
func (r *Router) Tick(now time.Time) {
	for _, in := range r.instances {
		in.Tick(now)
	}
}

// Deadline returns when Tick is to be called; the zero time is never.
func (r *Router) Deadline() time.Time {
	var d time.Time
	for _, in := range r.instances {
		d = earliest(d, in.Deadline())
	}
	return d
}

// Shutdown shuts all instances down.
func (r *Router) Shutdown(now time.Time) {
	for _, in := range r.instances {
		in.Shutdown(now)
	}
}
