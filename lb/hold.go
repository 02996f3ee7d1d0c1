package lb

import (
	"errors"
	"fmt"
	"slices"

	"github.com/golb/golb/lb/internal/hostlock"
)

// wantedHolds are the VIPs of the active groups of a config, on the interfaces that are
// there: what this process is to hold, so that no other one balances it too.
func (n *network) wantedHolds(roles map[string]Role, cfg *Config) (list []hostlock.VIP) {
	if n.locks == nil || !n.claiming {
		return nil
	}
	for _, name := range cfg.groupNames() {
		if wantedRole(roles, cfg, name) != RoleActive {
			continue
		}
		g := cfg.groupNamed(name)
		for _, vip := range cfg.vipsOf(func(group string) bool { return group == name }) {
			for _, f := range n.interfaces {
				if f.seen.found && g.claimsOn(f.name) {
					list = append(list, hostlock.VIP{Index: f.seen.host.Index, Prefix: vip.Prefix})
				}
			}
		}
	}
	return list
}

// hold has this process hold exactly these VIPs. It fails, and holds what it did before,
// where another process of the network namespace has one; cfg is for the error. A host that
// lacks what that needs is no mistake: it is logged.
func (n *network) hold(cfg *Config, vips []hostlock.VIP) error {
	if n.locks == nil {
		return nil
	}
	err := n.inNamespace(func() error { return n.locks.Hold(vips) })
	var taken *hostlock.TakenError
	switch {
	case err == nil:
		n.held = vips
		return nil
	case n.ctx.Err() != nil:
		return n.ctx.Err()
	case !errors.As(err, &taken):
		n.logger.Warn("another golb for a VIP on this host would not be noticed", "reason", err.Error())
		return nil
	}
	v := &validator{}
	v.fail(cfg.pathOfVIP(taken.VIP.Prefix.Addr()), VIP{taken.VIP.Prefix}, fmt.Sprintf("balanced on %s already, by %s", n.nameOf(taken.VIP.Index), taken.Holder()),
		"a VIP that no other process on this host balances on the same interface")
	return v.result()
}

// holdToo has this process hold more VIPs.
func (n *network) holdToo(cfg *Config, more []hostlock.VIP) error {
	return n.hold(cfg, slices.Concat(n.held, more))
}

// nameOf returns the name in the config of an interface.
func (n *network) nameOf(index int) string {
	for _, f := range n.interfaces {
		if f.seen.found && f.seen.host.Index == index {
			return f.name
		}
	}
	return fmt.Sprintf("interface %d", index)
}
