package dataplane

import (
	"math/bits"
	"net/netip"
	"time"

	"github.com/golb/golb/forward"
)

// Entry is a connection of the table, or a persistence template.
type Entry struct {
	Proto      uint8 // IP protocol number; 0 for a template of a mark
	Client     netip.AddrPort
	VIP        netip.AddrPort // of a template of a mark: the mark, as an IPv4 address
	Server     *Server
	ServerPort uint16
	Method     Method
	State      string // as ipvsadm -Lc prints it
	Template   bool
	Clients    netip.Prefix // of a template: the clients that it serves, by the service's present mask
	CallID     bool         // of a template: Client's address is a hash of the Call-ID
	Expires    time.Duration
	Packets    uint16 // from the client, modulo 65,536

	Inactive bool // counted as inactive
	OneWay   bool // no packet of the server has been seen
	Assured  bool // it was established, or one of a template's connections was
	Orphan   bool // a template that no new connection finds
	Controls int  // connections that it controls

	id       connID
	template uint32
	end      Tick
	rearm    Tick
}

// Deadline is the tick at which the entry ends, if no packet comes.
func (e *Entry) Deadline() Tick { return e.end }

// Rearm is how long a template lives after its last new connection.
func (e *Entry) Rearm() Tick { return e.rearm }

// Controller is the entry that controls e: a connection's template, or the control
// connection of FTP's.
func (p *Plane) Controller(e *Entry) (controller Entry, ok bool) {
	if e.template == 0 {
		return Entry{}, false
	}
	return controller, p.tryReadEntry(&controller, e.template, p.tick())
}

// Service is that of the entry's server.
func (e *Entry) Service() *Service { return e.Server.service }

// ID is the id given to NewService.
func (v *Service) ID() string { return v.id }

// Entries calls yield with each entry of the table, in no order, until it returns false.
// Entries that begin or end during the call may be among them or not.
func (p *Plane) Entries(yield func(*Entry) bool) {
	now := p.tick()
	p.expire(now)
	var e Entry
	for c := uint32(1); c < p.table.used(); c++ {
		if p.tryReadEntry(&e, c, now) && !yield(&e) {
			return
		}
	}
}

// Entry finds the connection of a client with a VIP.
func (p *Plane) Entry(proto uint8, client, vip netip.AddrPort) (e Entry, ok bool) {
	now := p.tick()
	p.expire(now)
	t := tuple{
		src: forward.AddrFrom(client.Addr()), dst: forward.AddrFrom(vip.Addr()),
		srcPort: client.Port(), dstPort: vip.Port(), proto: proto,
	}
	key := t.key()
	r, _ := p.table.find(&key, key.hash(&p.table.secret), p.servers.all())
	if r == 0 {
		return Entry{}, false
	}
	return e, p.tryReadEntry(&e, r.conn(), now)
}

// tryReadEntry reads entry c; it fails where there is none, or it ends during the call.
func (p *Plane) tryReadEntry(e *Entry, c uint32, now Tick) bool {
	m := p.table.conns[c].load()
	if !m.has(flagLive) {
		return false
	}
	p.readEntry(e, c, m, now)
	return p.exists(e.id)
}

// readEntry reads entry c, whose state is m.
func (p *Plane) readEntry(e *Entry, c uint32, m meta, now Tick) {
	conn, cold := &p.table.conns[c], &p.table.cold[c]
	k, s := p.table.key(c), p.servers.get(m.server())
	t := timer(conn.timer.Load())
	*e = Entry{
		Proto: k.proto(), Client: k.source(), VIP: k.destination(), Server: s, ServerPort: conn.dport(), Method: m.method(),
		State: stateName(k.proto(), m.state()), Template: p.table.isTemplate(c), CallID: k.kind() == kindCall,
		Expires: t.end().Until(now), Packets: t.packets(),
		Inactive: m.has(flagInactive), OneWay: m.has(flagNoOutput), Assured: m.has(flagAssured), Orphan: m.has(flagOrphan),
		Controls: int(cold.controls.Load()), id: m.id(c), template: cold.template.Load(), end: t.end(),
	}
	if e.Template {
		e.rearm = Tick(cold.rearmOrBegin.Load())
		e.State = "NONE"
		if e.Assured {
			e.State = "ASSURED"
		}
		e.Clients = s.service.clients(e.Client.Addr())
	}
}

// clients is the prefix of clients that a template for a masked address serves. The
// template may be older than the service's mask: if it has bits outside the mask, it
// serves that address alone.
func (v *Service) clients(client netip.Addr) netip.Prefix {
	set := v.settings.Load()
	n := 0
	for _, b := range set.clientMask {
		n += bits.OnesCount8(b)
	}
	p, err := client.Prefix(n - 128 + client.BitLen())
	if err != nil || set.persistence == 0 || p.Addr() != client {
		return netip.PrefixFrom(client, client.BitLen())
	}
	return p
}

// DeleteConnections ends the connections that match, and returns how many. Their
// templates stay. A connection that controls others stays as long as they do.
func (p *Plane) DeleteConnections(match func(*Entry) bool) int {
	end := func(id connID) bool {
		p.deleteOne(id)
		return !p.exists(id)
	}
	// Those that were controlled by others are gone by the second round.
	return p.deleteEntries(false, match, end) + p.deleteEntries(false, match, end)
}

// DeleteTemplates ends the templates that match, and returns how many. Connections stay.
func (p *Plane) DeleteTemplates(match func(*Entry) bool) int {
	return p.deleteEntries(true, match, func(id connID) bool {
		if p.deleteOne(id); p.exists(id) {
			p.invalidate(id) // it controls connections
		}
		return true
	})
}

// deleteEntries calls end with the entries that match, and counts those that it ended.
func (p *Plane) deleteEntries(templates bool, match func(*Entry) bool, end func(connID) bool) (n int) {
	now := p.tick()
	p.expire(now)
	var e Entry
	for c := uint32(1); c < p.table.used(); c++ {
		if p.tryReadEntry(&e, c, now) && e.Template == templates && !e.Orphan && match(&e) && end(e.id) {
			n++
		}
	}
	return n
}
