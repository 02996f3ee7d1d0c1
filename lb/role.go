package lb

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb/internal/hostlock"
)

// Role is the role of a balancer for a group of VIPs. It decides whether the VIPs are
// claimed; packets that reach a balancer are forwarded as standby and as active.
type Role string

// The roles.
const (
	RoleOpening Role = "opening" // Run opens sockets, has not begun, or has ended
	RoleStandby Role = "standby" // servers are checked and packets are forwarded; the VIPs are not claimed
	RoleActive  Role = "active"  // the VIPs are claimed too: golb answers for them and announces them
)

// Roles returns the role of each group.
func (b *Balancer) Roles() map[string]Role {
	b.mu.Lock()
	defer b.mu.Unlock()
	roles := map[string]Role{}
	for _, name := range b.cfg.groupNames() {
		roles[name] = RoleOpening
		if b.net != nil && b.net.started.Load() {
			roles[name] = wantedRole(b.roles, &b.cfg, name)
		}
	}
	return roles
}

// isActive reports whether golb has the VIPs of a group.
func (b *Balancer) isActive(group string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.net != nil && b.net.started.Load() && wantedRole(b.roles, &b.cfg, group) == RoleActive
}

// SetRole makes a group of VIPs active or standby. Active claims its VIPs: SetRole asks
// whether another host has one of them (unless the setting probe_time is 0), fails if so, or
// else answers for them and announces them; ctx bounds the wait. Standby gives them up.
// Where SetRole fails, the role stays. Before Run, SetRole sets the role that the group gets
// when Run begins. The role outlasts Apply. SetRole fails with ErrNoGroup where there is no
// such group.
func (b *Balancer) SetRole(ctx context.Context, group string, role Role) error {
	if role != RoleStandby && role != RoleActive {
		return fmt.Errorf("lb: role %q of group %q: unknown; allowed: %s or %s", role, group, RoleStandby, RoleActive)
	}
	if err := b.beginChange(ctx); err != nil {
		return err
	}
	defer b.endChange()
	if !slices.Contains(b.cfg.groupNames(), group) {
		return fmt.Errorf("lb: group %q: %w", group, ErrNoGroup)
	}
	roles := maps.Clone(b.roles)
	roles[group] = role
	changed := wantedRole(b.roles, &b.cfg, group) != role
	n := b.net
	if n == nil || !changed {
		b.setRoles(roles)
		return nil
	}
	vips := n.wantedVIPs(roles, &b.cfg)
	fresh := vips.without(n.claimed)
	if err := n.becomes(ctx, &b.cfg, vips, fresh, n.wantedHolds(roles, &b.cfg)); err != nil {
		return n.reason(err)
	}
	b.setRoles(roles)
	n.announce(b, fresh)
	b.reportRole(group, role)
	return nil
}

// Announce announces the VIPs of an active group again, for switches and routers that missed
// it. It returns at once. It fails with ErrNoGroup where there is no such group, and where the
// group is not active.
func (b *Balancer) Announce(ctx context.Context, group string) error {
	if err := b.beginChange(ctx); err != nil {
		return err
	}
	defer b.endChange()
	if !slices.Contains(b.cfg.groupNames(), group) {
		return fmt.Errorf("lb: group %q: %w", group, ErrNoGroup)
	}
	n := b.net
	if role := b.Roles()[group]; n == nil || role != RoleActive {
		return fmt.Errorf("lb: group %q is %s: it has nothing to announce", group, role)
	}
	own := make(claims, len(n.claimed))
	for i, list := range n.claimed {
		own[i] = slices.DeleteFunc(slices.Clone(list), func(v LinkVIP) bool { return b.cfg.groupOf(v.Addr) != group })
	}
	n.announce(b, own)
	return nil
}

func (b *Balancer) reportRole(group string, role Role) {
	action := "its VIPs are no longer answered for"
	if role == RoleActive {
		action = "its VIPs are answered for and announced"
	}
	b.tell(Event{Kind: EventRole, Group: group, Reason: string(role), Action: action})
}

// reportRoles logs and emits the roles of those groups that had others before.
func (b *Balancer) reportRoles(before map[string]Role) {
	after := b.Roles()
	for _, name := range slices.Sorted(maps.Keys(after)) {
		if was, had := before[name]; had && was != after[name] {
			b.reportRole(name, after[name])
		}
	}
}

// becomes has the links answer for exactly these VIPs, of which fresh are new, and holds
// them, unless another host or process has one.
func (n *network) becomes(ctx context.Context, cfg *Config, vips, fresh claims, held []hostlock.VIP) error {
	ctx, cancel := n.bound(ctx)
	defer cancel()
	before := n.held
	err := n.holdToo(cfg, held)
	if err == nil {
		err = n.probe(ctx, cfg, fresh)
	}
	if err == nil {
		err = n.claim(vips)
	}
	if err != nil {
		held = before
	}
	_ = n.hold(cfg, held) // gives up only
	return err
}

func (b *Balancer) setRoles(roles map[string]Role) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.roles = roles
}

// wantedRole is the role that a group has while golb runs: that which SetRole gave it, or
// the config does.
func wantedRole(set map[string]Role, cfg *Config, group string) Role {
	if role, ok := set[group]; ok {
		return role
	}
	if g := cfg.groupNamed(group); g != nil && g.Standby {
		return RoleStandby
	}
	return RoleActive
}

// groupNames returns DefaultGroup and the groups of a config.
func (c *Config) groupNames() []string {
	names := []string{DefaultGroup}
	for _, g := range c.Groups {
		if g.Name != DefaultGroup {
			names = append(names, g.Name)
		}
	}
	return names
}

// macs are the virtual MACs of all groups, sorted.
func (c *Config) macs() []forward.MAC {
	var list []forward.MAC
	for _, g := range c.Groups {
		if !g.MAC.IsZero() && !slices.Contains(list, g.MAC) {
			list = append(list, g.MAC)
		}
	}
	slices.SortFunc(list, func(a, b forward.MAC) int { return bytes.Compare(a[:], b[:]) })
	return list
}

// groupNamed returns the group of that name; nil where the config has none.
func (c *Config) groupNamed(name string) *Group {
	i := slices.IndexFunc(c.Groups, func(g Group) bool { return g.Name == name })
	if i < 0 {
		return nil
	}
	return &c.Groups[i]
}
