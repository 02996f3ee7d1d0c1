package lb

import (
	"encoding/hex"
	"net/netip"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb/internal/dataplane"
)

// Connection is an entry of the connection table: a connection, or a persistence
// template.
type Connection struct {
	Service  string         `json:"service"`  // its name, or what it was when the service was removed
	Protocol Protocol       `json:"protocol"` // 0, "" in JSON, for a template of a mark
	Client   netip.AddrPort `json:"client"`   // of a template: the zero port
	VIP      netip.AddrPort `json:"vip"`      // of a template of a mark: invalid
	Mark     uint32         `json:"mark"`     // of a template of a mark: the mark
	Server   netip.AddrPort `json:"server"`
	Method   Method         `json:"method"`
	State    string         `json:"state"` // ESTABLISHED, UDP, … as ipvsadm -Lc prints it
	Template bool           `json:"template"`
	Clients  netip.Prefix   `json:"clients"`    // of a template: its clients, by the service's present prefix length
	Void     bool           `json:"void"`       // of a template: no new connection uses it; it expires with its connections
	Call     string         `json:"call"`       // of a template of engine sip, in place of Client: a hash of the Call-ID, in hex
	Expires  time.Duration  `json:"expires_ns"` // the time until it expires, if no packet comes
	Packets  uint16         `json:"packets"`    // from the client, modulo 65,536
}

// ConnectionEvent is the begin or the end of a connection.
type ConnectionEvent struct {
	Removed    bool // from the table: the connection has ended
	Connection Connection
}

// Connections calls yield with each entry of the table, in no order, until it returns
// false. Entries that are added or removed meanwhile may be missing.
func (b *Balancer) Connections(yield func(Connection) bool) {
	b.plane.Entries(func(e *dataplane.Entry) bool { return yield(connectionOf(e)) })
}

// Connection finds the one connection of a client with a VIP.
func (b *Balancer) Connection(p Protocol, client, vip netip.AddrPort) (Connection, bool) {
	e, ok := b.plane.Entry(uint8(p), client, vip)
	if !ok {
		return Connection{}, false
	}
	return connectionOf(&e), true
}

func connectionOf(e *dataplane.Entry) Connection {
	label := e.Service().Label()
	c := Connection{
		Service: label.Name, Protocol: Protocol(e.Proto), Client: e.Client, VIP: e.VIP,
		Server: netip.AddrPortFrom(forward.Addr(e.Server.Addr).Netip(), e.ServerPort), Method: Method(e.Method), State: e.State,
		Template: e.Template, Clients: e.Clients, Void: e.Template && e.Orphan, Expires: e.Expires, Packets: e.Packets,
	}
	if e.CallID {
		call := e.Client.Addr().As16()
		c.Client, c.Call = netip.AddrPort{}, hex.EncodeToString(call[:])
	}
	if e.Template && e.Proto == 0 {
		c.VIP, c.Mark = netip.AddrPort{}, label.Mark
	}
	return c
}

// ConnectionFilter chooses connections or templates. A zero field matches any.
type ConnectionFilter struct {
	Protocol Protocol
	Client   netip.Prefix   // contains the client's address, or overlaps a template's clients; templates of engine sip have none
	VIP      netip.AddrPort // port 0: any port; a template of all ports has port 0 itself
	Server   netip.AddrPort // port 0: any port
	Service  string         // its name
}

// Match reports whether the filter chooses c.
func (f *ConnectionFilter) Match(c *Connection) bool {
	return (f.Protocol == 0 || f.Protocol == c.Protocol) &&
		(!f.Client.IsValid() || f.Client.Contains(c.Client.Addr()) || f.Client.Overlaps(c.Clients)) &&
		matchAddrPort(f.VIP, c.VIP) && matchAddrPort(f.Server, c.Server) && (f.Service == "" || f.Service == c.Service)
}

func matchAddrPort(want, got netip.AddrPort) bool {
	return (!want.Addr().IsValid() || want.Addr() == got.Addr()) && (want.Port() == 0 || want.Port() == got.Port())
}

// DeleteConnections ends connections and returns how many. A packet that follows belongs to
// no connection: a SYN or datagram starts a new one, another TCP segment is answered by a
// reset. Templates stay. A connection that controls others, as FTP's does, stays as long as
// they do.
func (b *Balancer) DeleteConnections(f ConnectionFilter) int {
	return b.plane.DeleteConnections(f.entries())
}

// DeleteTemplates ends templates and returns how many: the next new connection of their
// clients is scheduled anew. Existing connections stay.
func (b *Balancer) DeleteTemplates(f ConnectionFilter) int {
	return b.plane.DeleteTemplates(f.entries())
}

func (f *ConnectionFilter) entries() func(*dataplane.Entry) bool {
	return func(e *dataplane.Entry) bool {
		c := connectionOf(e)
		return f.Match(&c)
	}
}
