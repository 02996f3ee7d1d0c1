package lb

import "net/netip"

// ConnectionFilter says which connections or templates are meant. Each zero field
// means any; the zero value is all.
type ConnectionFilter struct {
	Protocol Protocol
	Client   netip.Prefix   // that the client's address is in, or some that a template is for; one of engine sip has none
	VIP      netip.AddrPort // port 0: any; templates of all ports have 0 themselves
	Server   netip.AddrPort // port 0: any
}

// Match reports whether c is meant.
func (f *ConnectionFilter) Match(c *Connection) bool {
	return (f.Protocol == 0 || f.Protocol == c.Protocol) &&
		(!f.Client.IsValid() || f.Client.Contains(c.Client.Addr()) || f.Client.Overlaps(c.Clients)) &&
		matchAddrPort(f.VIP, c.VIP) && matchAddrPort(f.Server, c.Server)
}

func matchAddrPort(want, got netip.AddrPort) bool {
	return (!want.Addr().IsValid() || want.Addr() == got.Addr()) && (want.Port() == 0 || want.Port() == got.Port())
}

// DeleteConnections ends connections and returns how many. A packet that follows is
// one of no connection: it may start one anew, a TCP segment is answered by a
// reset. Their templates stay. A connection that controls others, as FTP's does,
// stays as long as they do.
func (b *Balancer) DeleteConnections(f ConnectionFilter) int {
	// Those that others controlled free them for the second round.
	return b.remove(&f, false, b.killed) + b.remove(&f, false, b.killed)
}

// DeleteTemplates ends persistence and returns for how many templates: the next
// new connection of such a client is scheduled. The connections that there are stay.
func (b *Balancer) DeleteTemplates(f ConnectionFilter) int {
	return b.remove(&f, true, func(c uint32, m meta) bool {
		if b.killed(c, m) {
			return true
		}
		b.void(c, m) // connections hang on it
		return true
	})
}

// remove calls end with the entries that are meant, and counts those that it ended.
func (b *Balancer) remove(f *ConnectionFilter, templates bool, end func(c uint32, m meta) bool) (n int) {
	now := b.tick()
	b.expire(now)
	for c := uint32(1); c < b.table.used(); c++ {
		m := b.table.conns[c].load()
		if m.has(flagOrphan) || b.table.isTemplate(c) != templates {
			continue
		}
		if conn, ok := b.connection(c, now); ok && f.Match(&conn) && end(c, m) {
			n++
		}
	}
	return n
}

// killed ends an entry that still lives the life of m and controls no other.
func (b *Balancer) killed(c uint32, m meta) bool {
	b.killOne(c, m)
	return !b.table.conns[c].load().sameLife(m)
}
