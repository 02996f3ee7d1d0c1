package dataplane

import "github.com/golb/golb/forward"

// An expectation is a connection that is about to begin: an entry in state LISTEN, with
// port 0 for the peer that has not chosen one yet (IP_VS_CONN_F_NO_CPORT). Its kind keeps
// packets' tuples from finding it; newFlow looks it up with that port left out.

// expectFromServer expects the server to connect to a port of the client of control
// connection x.
func (w *Worker) expectFromServer(k *ftpControl, x *rxPacket, port uint16) {
	key := w.plane.table.key(x.conn)
	vport := key.dstPort() - 1 // that of the data connection, in the standard (RFC 959 §3.2)
	key[4] = packPorts(port, vport, forward.ProtoTCP, kindExpected)
	k.active = w.expect(k.active, x, &newConn{key: key, dport: 0, replies: true})
}

// portTries is how many ports of the VIP are tried for a server's.
const portTries = 16

// expectFromClient expects the client of control connection x to connect to a port of
// the server, and returns the port of the VIP for that: the same, unless something else
// has it.
func (w *Worker) expectFromClient(k *ftpControl, x *rxPacket, dport uint16) (vport uint16, ok bool) {
	key := w.plane.table.key(x.conn)
	vip := key.dst()
	vport = dport
	for range portTries {
		v := x.snap.services.find(forward.ProtoTCP, vip, vport)
		if v == nil || v == x.server.service || v.port == 0 && !v.grouped {
			n := newConn{key: key, dport: dport}
			n.key[4] = packPorts(0, vport, forward.ProtoTCP, kindExpected)
			if k.passive = w.expect(k.passive, x, &n); k.passive.index != 0 {
				return vport, true
			}
		}
		const dynamic = 49152 // first of the Dynamic Ports (RFC 6335 §6)
		vport = dynamic | uint16(w.plane.rand())
	}
	return 0, false
}

// expect enters an expectation of control connection x, and ends an older one. It fails,
// with the zero connID, where the table is full or has another expectation of the same
// ports.
func (w *Worker) expect(old connID, x *rxPacket, n *newConn) connID {
	p := w.plane
	if old.index != 0 {
		p.deleteOne(old)
	}
	control := x.meta.id(x.conn)
	if !p.addControlled(control) {
		return connID{}
	}
	p.ftp.expected.Add(1)
	n.server = x.server
	n.server.count(false)
	n.hash = n.key.hash(&p.table.secret)
	n.meta = flagInactive | meta(NAT)<<methodShift | meta(tcpListen)
	n.template = control.index
	n.timeout = n.server.service.settings.Load().timeouts.tcp[tcpListen]
	c, m, created := w.insert(n, anyRoom)
	if !created {
		n.server.uncount(false)
		p.ftp.expected.Add(-1)
		p.table.cold[control.index].controls.Add(-1)
		return connID{}
	}
	n.server.bind()
	return m.id(c)
}

// addControlled counts one more entry that a connection controls. It fails where the
// connection has ended (ip_vs_control_add).
func (p *Plane) addControlled(id connID) bool {
	sh := p.table.shardOf(id.index)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if !p.exists(id) {
		return false
	}
	p.table.cold[id.index].controls.Add(1)
	return true
}

// takeExpectation ends an expectation and returns the number of its control connection,
// which now counts one more for what the caller enters in its place. It fails where
// another packet was first.
func (p *Plane) takeExpectation(id connID) (control uint32, ok bool) {
	sh := p.table.shardOf(id.index)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if !p.exists(id) {
		return 0, false
	}
	control = p.table.cold[id.index].template.Load()
	p.table.cold[control].controls.Add(1)
	sh.unfile(p.table, id.index)
	p.releaseLocked(id.index)
	return control, true
}

// expected finds the expectation of a SYN, by its tuple without the source port.
func (w *Worker) expected(p *forward.Packet) (indexRef, meta) {
	if p.Proto != forward.ProtoTCP || p.TCPFlags&(forward.FlagSYN|forward.FlagACK|forward.FlagRST) != forward.FlagSYN {
		return 0, 0
	}
	t := tuple{src: p.Src, dst: p.Dst, dstPort: p.DstPort, proto: forward.ProtoTCP, kind: kindExpected}
	key := t.key()
	return w.plane.table.find(&key, key.hash(&w.plane.table.secret), w.plane.servers.all())
}

// openExpected enters the connection of a packet that an expectation matches, and
// forwards the packet. ok is false where none matches.
func (w *Worker) openExpected(x *rxPacket) (r Reason, ok bool) {
	e, m := w.expected(&x.packet)
	if e == 0 || w.plane.servers.get(m.server()).gone.Load() {
		return 0, false
	}
	if e.reply() {
		return w.openExpectedFromServer(x, e.conn(), m)
	}
	x.dport = w.plane.table.conns[e.conn()].dport()
	r, ok = w.enterExpected(x, m.id(e.conn()), m.server(), &x.key, x.hash)
	if !ok || r != forwarded {
		return r, ok
	}
	return w.toServer(x), true
}

// openExpectedFromServer is openExpected for a server that connects to a client (PORT,
// EPRT). A source port one below the server's control port (RFC 959 §3.2) becomes one
// below the service's; any other stays.
func (w *Worker) openExpectedFromServer(x *rxPacket, expected uint32, m meta) (Reason, bool) {
	p, t := &x.packet, w.plane.table
	key := t.key(expected)
	control := t.cold[expected].template.Load()
	vport := p.SrcPort
	if vport == t.conns[control].dport()-1 {
		vport = key.dstPort()
	}
	key[4] = packPorts(p.DstPort, vport, forward.ProtoTCP, kindConn)
	x.dport = p.SrcPort
	r, ok := w.enterExpected(x, m.id(expected), m.server(), &key, key.hash(&t.secret))
	if !ok || r != forwarded {
		return r, ok
	}
	// The hop of the client, which has not sent anything on this connection.
	hop := timer(t.conns[control].timer.Load()).hop()
	if e := &t.conns[x.conn]; e.load().is(x.meta.id(x.conn)) {
		e.timer.Store(uint64(newTimer(w.now+newTimeout, hop, 0)))
	}
	return w.toClient(x), true
}

// enterExpected turns an expectation of a server into the connection of packet x, to
// x.dport. ok is false where another packet was first.
func (w *Worker) enterExpected(x *rxPacket, expected connID, server uint32, key *flowKey, hash uint64) (r Reason, ok bool) {
	control, ok := w.plane.takeExpectation(expected)
	if !ok {
		return 0, false
	}
	if r = w.enter(x, key, hash, w.plane.servers.get(server), control); r != forwarded {
		return r, true
	}
	if m := x.meta.withState(tcpListen); w.plane.table.conns[x.conn].swap(x.meta, m) {
		x.meta = m
	}
	return forwarded, true
}
