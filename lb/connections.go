package lb

import (
	"encoding/binary"
	"encoding/hex"
	"math/bits"
	"net/netip"
	"time"

	"github.com/golb/golb/forward"
)

// Connection is an entry of the connection table: a connection, or a persistence
// template.
type Connection struct {
	Protocol Protocol // 0 for a template of a mark
	Client   netip.AddrPort
	VIP      netip.AddrPort // of a template of a mark: the mark, as an IPv4 address
	Server   netip.AddrPort
	Method   Method
	State    string // ESTABLISHED, UDP, … as ipvsadm -Lc prints it
	Template bool
	Clients  netip.Prefix  // of a template: whom it is for, as the service's prefix now is
	Void     bool          // of a template: no new connection finds it, and it ends by and by
	Call     string        // of a template of engine sip, in place of Client: a hash of the Call-ID, in hex
	Expires  time.Duration // until it is dropped, if nothing comes
	Packets  uint16        // from the client, modulo 65,536
}

// Connections calls yield with each entry of the table, in no order, until it
// returns false. Entries that come or go meanwhile may be among them or not.
func (b *Balancer) Connections(yield func(Connection) bool) {
	now := b.tick()
	b.expire(now)
	for c := uint32(1); c < b.table.used(); c++ {
		if conn, ok := b.connection(c, now); ok && !yield(conn) {
			return
		}
	}
}

// Connection finds the one connection of a client with a VIP.
func (b *Balancer) Connection(p Protocol, client, vip netip.AddrPort) (Connection, bool) {
	now := b.tick()
	b.expire(now)
	t := tuple{
		src: forward.AddrFrom(client.Addr()), dst: forward.AddrFrom(vip.Addr()),
		srcPort: client.Port(), dstPort: vip.Port(), proto: p,
	}
	key := t.words()
	r, _ := b.table.findLocked(&key, key.hash(b.table.seed), b.servers.all())
	if r == 0 {
		return Connection{}, false
	}
	return b.connection(r.conn(), now)
}

// connection reads an entry; ok is false where there is none.
func (b *Balancer) connection(c uint32, now tick) (conn Connection, ok bool) {
	e := &b.table.conns[c]
	m := e.load()
	if !m.has(flagLive) {
		return conn, false
	}
	key, s := b.table.key(c), b.servers.get(m.server())
	t := timer(e.timer.Load())
	conn = Connection{
		Protocol: Protocol(key[4] >> 8),
		Client:   addrPort(key[0], key[1], uint16(key[4]>>48)),
		VIP:      addrPort(key[2], key[3], uint16(key[4]>>32)),
		Server:   netip.AddrPortFrom(s.address, e.dport()),
		Method:   m.method(),
		Template: b.table.isTemplate(c),
		Expires:  t.end().until(now),
		Packets:  t.packets(),
	}
	if connKind(key[4]) == kindCall {
		call := addrOf(key[0], key[1])
		conn.Client, conn.Call = netip.AddrPort{}, hex.EncodeToString(call[:])
	}
	conn.State = stateName(conn.Protocol, m.state())
	if conn.Template {
		conn.State = "NONE"
		if m.has(flagAssured) {
			conn.State = "ASSURED"
		}
		conn.Void = m.has(flagOrphan)
		conn.Clients = s.service.clients(conn.Client.Addr())
		if conn.Protocol == 0 {
			conn.VIP = netip.AddrPortFrom(MarkAddr(s.service.shown.Load()), 0)
		}
	}
	return conn, e.load().sameLife(m)
}

// clients are those whom a template of that client is for. The template may be older
// than the service's prefix: where it has bits beyond that, it is for that client.
func (v *service) clients(client netip.Addr) netip.Prefix {
	set := v.settings.Load()
	n := 0
	for _, b := range set.mask {
		n += bits.OnesCount8(b)
	}
	p, err := client.Prefix(n - 128 + client.BitLen())
	if err != nil || set.persistence == 0 || p.Addr() != client {
		return netip.PrefixFrom(client, client.BitLen())
	}
	return p
}

func addrPort(hi, lo uint64, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(addrOf(hi, lo).Netip(), port)
}

// addrOf is the address of two words of a tuple.
func addrOf(hi, lo uint64) (a forward.Addr) {
	putAddr(&a, hi, lo)
	return a
}

// putAddr is addrOf in place: what was just written in halves is slow to copy whole.
func putAddr(a *forward.Addr, hi, lo uint64) {
	binary.LittleEndian.PutUint64(a[:8], hi)
	binary.LittleEndian.PutUint64(a[8:], lo)
}
