package lb

import "github.com/golb/golb/forward"

// An expectation is a connection that is about to be: in state LISTEN, with port 0
// where the peer has not chosen one yet (IP_VS_CONN_F_NO_CPORT). No packet's tuple
// finds it; unknown looks for it with that port left out.

// expectFromServer expects the server to connect to a port of the client.
func (w *worker) expectFromServer(k *ftpControl, control target, port uint16) {
	key := w.table.key(control.conn)
	vport := uint16(key[4]>>32) - 1 // that of the data connection, in the standard (RFC 959 §3.2)
	key[4] = packPorts(port, vport, TCP, kindExpected)
	k.active = w.expect(k.active, entry{control.conn, control.meta}, &birth{
		key: key, server: control.server, dport: 0, replies: true,
	})
}

// portTries is how many ports of the VIP are tried for a server's.
const portTries = 16

// expectFromClient expects the client to connect to a port of the server, and says
// by which port of the VIP: the same, unless something else has it.
func (w *worker) expectFromClient(snap *snapshot, k *ftpControl, control entry, key *words, dport uint16) (vport uint16, ok bool) {
	s := w.servers.get(control.meta.server())
	vip := addrOf(key[2], key[3])
	vport = dport
	for range portTries {
		if v := snap.services.find(TCP, vip, vport); v == nil || v == s.service || v.port == 0 && !v.grouped {
			b := birth{key: *key, server: s, dport: dport}
			b.key[4] = packPorts(0, vport, TCP, kindExpected)
			if k.passive = w.expect(k.passive, control, &b); k.passive.conn != 0 {
				return vport, true
			}
		}
		const dynamic = 49152 // first of the ports that nobody has for good (RFC 6335 §6)
		vport = dynamic | uint16(w.rand())
	}
	return 0, false
}

// expect enters an expectation in the place of an older one of the same control
// connection. It fails, with entry 0, where the table is full, or has another
// expectation of the same ports.
func (w *worker) expect(old, control entry, b *birth) entry {
	if old.conn != 0 {
		w.killOne(old.conn, old.meta)
	}
	if !w.attach(control) {
		return entry{}
	}
	w.ftp.expected.Add(1)
	b.server.count(false)
	b.hash = b.key.hash(w.table.seed)
	b.meta = flagInactive | meta(NAT)<<metaMethod | meta(tcpListen)
	b.template = control.conn
	b.timeout = b.server.service.settings.Load().timeouts.tcp[tcpListen]
	c, m, fresh := w.table.insert(b, w.now, w.servers.all())
	if !fresh {
		b.server.uncount(false)
		w.ftp.expected.Add(-1)
		w.table.cold[control.conn].controls.Add(-1)
		return entry{}
	}
	b.server.bind()
	return entry{c, m}
}

// attach has a connection control one more, unless it is over.
func (x *plane) attach(e entry) bool {
	sh := x.table.shardOf(e.conn)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if !x.table.conns[e.conn].load().sameLife(e.meta) {
		return false
	}
	x.table.cold[e.conn].controls.Add(1)
	return true
}

// claim ends an expectation that has come true, and passes its hold of the control
// connection on to the caller. It fails where another packet was first.
func (x *plane) claim(e entry) (control uint32, ok bool) {
	sh := x.table.shardOf(e.conn)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if !x.table.conns[e.conn].load().sameLife(e.meta) {
		return 0, false
	}
	control = x.table.cold[e.conn].template.Load()
	x.table.cold[control].controls.Add(1)
	sh.unfile(x.table, e.conn)
	x.bury(e.conn)
	return control, true
}

// expected finds the expectation of a packet that opens a connection, by its tuple
// without the sender's port.
func (w *worker) expected() (ref, meta) {
	p := w.packet
	if Protocol(p.Proto) != TCP || p.TCPFlags&(forward.FlagSYN|forward.FlagACK|forward.FlagRST) != forward.FlagSYN {
		return 0, 0
	}
	t := tuple{src: p.Src, dst: p.Dst, dstPort: p.DstPort, proto: TCP, kind: kindExpected}
	key := t.words()
	return w.table.findLocked(&key, key.hash(w.table.seed), w.servers.all())
}

// fulfil makes a packet's connection of what was expected of its control
// connection. ok is false where nothing was.
func (w *worker) fulfil(snap *snapshot, f *forward.Frame, key *words, hash uint64) (r Reason, ok bool) {
	e, m := w.expected()
	if e == 0 || w.servers.get(m.server()).gone.Load() {
		return 0, false
	}
	if e.reply() {
		return w.fulfilFromServer(snap, f, entry{e.conn(), m})
	}
	dport := w.table.conns[e.conn()].dport()
	to, r, ok := w.replace(snap, entry{e.conn(), m}, key, hash, dport)
	if !ok || r != forwarded {
		return r, ok
	}
	return w.transmit(snap, f, to), true
}

// fulfilFromServer is fulfil for a server that connects to a client. The client
// sees it come from the port below the service's, if it does come from the one
// below the server's, or else from the server's own.
func (w *worker) fulfilFromServer(snap *snapshot, f *forward.Frame, e entry) (Reason, bool) {
	p := w.packet
	key := w.table.key(e.conn)
	control := w.table.cold[e.conn].template.Load()
	vport := p.SrcPort
	if vport == w.table.conns[control].dport()-1 {
		vport = uint16(key[4] >> 32)
	}
	key[4] = packPorts(p.DstPort, vport, TCP, kindConn)
	to, r, ok := w.replace(snap, e, &key, key.hash(w.table.seed), p.SrcPort)
	if !ok || r != forwarded {
		return r, ok
	}
	// The way to the client, which has not sent anything on this connection.
	from := timer(w.table.conns[control].timer.Load()).via()
	if e := &w.table.conns[to.conn]; e.load().sameLife(to.meta) {
		e.timer.Store(uint64(newTimer(w.now+newTimeout, from, 0)))
	}
	return w.answerNAT(snap, f, to.conn, to.meta, to.server), true
}

// replace turns an expectation into a connection. ok is false where another packet
// was first.
func (w *worker) replace(snap *snapshot, e entry, key *words, hash uint64, dport uint16) (to target, r Reason, ok bool) {
	control, ok := w.claim(e)
	if !ok {
		return target{}, 0, false
	}
	to, r = w.enter(snap, key, hash, w.servers.get(e.meta.server()), dport, control)
	if r != forwarded {
		return target{}, r, true
	}
	if m := to.meta.withState(tcpListen); w.table.conns[to.conn].swap(to.meta, m) {
		to.meta = m
	}
	return to, forwarded, true
}
