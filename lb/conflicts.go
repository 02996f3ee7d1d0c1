package lb

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/golb/golb/forward"
)

// VIPConflict is another host that answers for a VIP, or claims it.
type VIPConflict struct {
	VIP       netip.Addr  `json:"vip"`
	Group     string      `json:"group"` // of the VIP
	Interface string      `json:"interface"`
	MAC       forward.MAC `json:"mac"`              // of the other host
	Server    string      `json:"server"`           // that has the MAC, by name; "" where none has
	Gateway   netip.Addr  `json:"gateway,omitzero"` // next hop of servers that has the MAC
	Since     time.Time   `json:"since"`
	Remedy    string      `json:"remedy"` // a text for people
}

// Who names the other host.
func (c *VIPConflict) Who() string {
	switch {
	case c.Server != "":
		return fmt.Sprintf("server %s (%s)", c.Server, c.MAC)
	case c.Gateway.IsValid():
		return fmt.Sprintf("the gateway %s (%s)", c.Gateway, c.MAC)
	}
	return c.MAC.String()
}

// conflicts are the conflicts of now about the VIPs that links answer for.
type conflicts struct {
	mu      sync.Mutex
	watched map[conflictAt]bool
	since   map[conflictKey]time.Time
}

// conflictAt is a VIP on an interface, conflictKey another host that claims it there.
type conflictAt struct {
	vip   netip.Addr
	iface string
}

type conflictKey struct {
	at  conflictAt
	mac [6]byte
}

// watch says what the links answer for. What is known about other VIPs is forgotten, and
// no more taken in.
func (x *conflicts) watch(interfaces []string, c claims) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.watched = map[conflictAt]bool{}
	for i, list := range c {
		for _, v := range list {
			x.watched[conflictAt{v.Addr, interfaces[i]}] = true
		}
	}
	for key := range x.since {
		if !x.watched[key.at] {
			delete(x.since, key)
		}
	}
}

// note takes in the begin or end of a conflict, and reports whether it is news.
func (x *conflicts) note(c Conflict, now time.Time) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	key := conflictKey{conflictAt{c.VIP, c.Interface}, c.MAC}
	_, had := x.since[key]
	if !x.watched[key.at] || had != c.Ended {
		return false
	}
	if c.Ended {
		delete(x.since, key)
		return true
	}
	if x.since == nil {
		x.since = map[conflictKey]time.Time{}
	}
	x.since[key] = now
	return true
}

// list returns the conflicts, without what is known of the other hosts.
func (x *conflicts) list() []VIPConflict {
	x.mu.Lock()
	defer x.mu.Unlock()
	var all []VIPConflict
	for key, since := range x.since {
		all = append(all, VIPConflict{VIP: key.at.vip, Interface: key.at.iface, MAC: key.mac, Since: since})
	}
	slices.SortFunc(all, func(a, b VIPConflict) int {
		return cmp.Or(a.VIP.Compare(b.VIP), cmp.Compare(a.Interface, b.Interface), slices.Compare(a.MAC[:], b.MAC[:]))
	})
	return all
}

// onConflict tells of a conflict about a VIP that golb answers for, as it begins or ends.
func (b *Balancer) onConflict(c Conflict) {
	b.tellConflict(c, "golb goes on answering for it, and announces it")
}

// tellConflict tells of a conflict that begins or ends, and of what golb does about it.
func (b *Balancer) tellConflict(c Conflict, action string) {
	b.mu.Lock()
	n := b.net
	if n == nil || !n.conflicts.note(c, time.Now()) {
		b.mu.Unlock()
		return
	}
	v := VIPConflict{VIP: c.VIP, Interface: c.Interface, MAC: c.MAC}
	n.describeLocked(&b.cfg, &v)
	b.mu.Unlock()
	if c.Ended {
		b.tell(Event{Kind: EventConflictEnded, VIP: c.VIP, Reason: fmt.Sprintf("%s no longer answers for it on %s", v.Who(), c.Interface)})
		return
	}
	b.tell(Event{
		Kind: EventVIPConflict, VIP: c.VIP, Reason: fmt.Sprintf("%s answers for it on %s, group %s; %s", v.Who(), c.Interface, v.Group, v.Remedy),
		Action: action,
	})
}

// conflictsLocked returns the conflicts. b.mu must be held.
func (b *Balancer) conflictsLocked() []VIPConflict {
	if b.net == nil {
		return nil
	}
	list := b.net.conflicts.list()
	for i := range list {
		b.net.describeLocked(&b.cfg, &list[i])
	}
	return list
}

// conflictsOf returns those of a list that are about VIPs of a service; never nil.
func (s *Service) conflictsOf(list []VIPConflict) []VIPConflict {
	own := []VIPConflict{}
	for _, c := range list {
		if s.hasVIP(c.VIP) {
			own = append(own, c)
		}
	}
	return own
}

func (s *Service) hasVIP(a netip.Addr) bool {
	return slices.ContainsFunc(s.matches(), func(m Match) bool { return m.VIP.Contains(a) })
}

// described is a conflict with what is known of the other host.
func (n *network) described(cfg *Config, c Conflict) VIPConflict {
	b := n.neighbors.balancer
	b.mu.Lock()
	defer b.mu.Unlock()
	v := VIPConflict{VIP: c.VIP, Interface: c.Interface, MAC: c.MAC}
	n.describeLocked(cfg, &v)
	return v
}

// describeLocked finds out who the other host is, and what helps. Balancer.mu must be held.
func (n *network) describeLocked(cfg *Config, c *VIPConflict) {
	hops := n.neighbors.atLocked(c.Interface, c.MAC)
	c.Group = cfg.groupOf(c.VIP)
	method := DSR
	for i := range cfg.Services {
		s := &cfg.Services[i]
		if !s.hasVIP(c.VIP) {
			continue
		}
		for j := range s.Servers {
			if r := &s.Servers[j]; slices.Contains(hops, r.Address) {
				c.Server, method = r.name(s), r.method(s)
			}
		}
	}
	if c.Server == "" {
		c.Server = serverAt(cfg, hops)
	}
	if c.Server == "" && len(hops) > 0 {
		c.Gateway = hops[0]
	}
	c.Remedy = c.remedy(method)
}

// serverAt returns the name of a server that has one of the addresses; "" where none has.
func serverAt(cfg *Config, addrs []netip.Addr) string {
	for i := range cfg.Services {
		s := &cfg.Services[i]
		for j := range s.Servers {
			if r := &s.Servers[j]; slices.Contains(addrs, r.Address) {
				return r.name(s)
			}
		}
	}
	return ""
}

// remedy says what to do about a conflict.
func (c *VIPConflict) remedy(method Method) string {
	switch {
	case c.Server != "" && method == NAT:
		return "take the VIP off that server: with nat it needs none"
	case c.Server != "" && c.VIP.Is4():
		return "that server must not answer ARP for the VIP. Linux: the VIP with /32 on lo, and sysctl net.ipv4.conf.all.arp_ignore=1" +
			" net.ipv4.conf.all.arp_announce=2; Windows: on a loopback adapter; BSD, macOS: on lo0"
	case c.Server != "":
		return "that server must not answer neighbor solicitations for the VIP. Linux: the VIP with /128 on lo, on no other interface;" +
			" Windows: on a loopback adapter; BSD, macOS: on lo0"
	case c.Gateway.IsValid():
		return "where that is proxy ARP, turn it off there, or set address_conflict: ignore in the VIP's group"
	}
	return "take the address off that host, or give the service another VIP. A router's proxy ARP looks the same: turn it off there, or set" +
		" address_conflict: ignore in the VIP's group"
}

// refused returns ConfigErrors about the conflicts that a config refuses; nil where it
// accepts them all.
func (n *network) refused(ctx context.Context, cfg *Config, found []Conflict) error {
	n.awaitServersOf(ctx, cfg, found)
	v := &validator{}
	for _, f := range found {
		c := n.described(cfg, f)
		if !cfg.refuses(f, &c) {
			n.logger.Warn("another host answers for a VIP, which is claimed all the same", "vip", f.VIP, "interface", f.Interface, "host", c.Who(), "remedy", c.Remedy)
			continue
		}
		v.fail(cfg.pathOfVIP(f.VIP), f.VIP, fmt.Sprintf("%s answers for it on %s; %s", c.Who(), f.Interface, c.Remedy),
			"an address that no other host has, or address_conflict: warn in group "+c.Group)
	}
	return v.result()
}

// refuses reports whether a VIP with this conflict is not to be claimed.
func (c *Config) refuses(f Conflict, about *VIPConflict) bool {
	switch c.groupNamed(about.Group).conflictPolicy() {
	case ConflictRefuse:
		return true
	case ConflictWarn, ConflictIgnore:
		return false
	}
	return f.OnLink && about.Server == ""
}

// awaitServersOf waits, for a bounded time, until it is known whether the hosts are servers
// of the config, where that matters: who has answered for a VIP answers for its own
// address too.
func (n *network) awaitServersOf(ctx context.Context, cfg *Config, found []Conflict) {
	ctx, cancel := context.WithTimeout(ctx, neighborWait)
	defer cancel()
	for _, f := range found {
		for n.described(cfg, f).Server == "" && ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
}

// groupOf returns the group of a VIP; "" where no service has it.
func (c *Config) groupOf(vip netip.Addr) string {
	for i := range c.Services {
		if c.Services[i].hasVIP(vip) {
			return c.Services[i].group()
		}
	}
	return ""
}

// pathOfVIP returns the path of the first service that has the VIP.
func (c *Config) pathOfVIP(vip netip.Addr) string {
	for i := range c.Services {
		s := &c.Services[i]
		for j, m := range s.matches() {
			if m.VIP.Contains(vip) {
				return s.matchPath(i, j)
			}
		}
	}
	return "services"
}
