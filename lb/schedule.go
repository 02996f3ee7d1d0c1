package lb

import (
	"encoding/binary"
	"net/netip"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/sched"
)

// newTimeout is how long a connection has until its first packet sets its state's
// own timeout.
const newTimeout = 3 * ticksPerSecond

// target is where a packet goes: a connection, or for one-packet services just a
// server, with conn 0.
type target struct {
	conn   uint32
	meta   meta
	server *server
	dport  uint16
}

// method is how the packet goes there: as its connection's first one did.
func (t *target) method(to *path) Method {
	if t.conn == 0 {
		return to.method
	}
	return t.meta.method()
}

// schedule finds a server for the first packet of a connection, and enters the
// connection (ip_vs_schedule).
func (w *worker) schedule(snap *snapshot, v *service, f *forward.Frame, p *forward.Packet, key *words, hash uint64) (target, Reason) {
	if p.SrcPort == ftpDataPort {
		return target{}, NoService // a server's data connection: it is known or none
	}
	set := v.settings.Load()
	if w.exceeded(v, set) {
		return target{}, RateLimited
	}
	if v.closed.Load() && (v.port != ftpPort || p.DstPort == ftpPort) { // transfers go where their control connection is
		return target{}, NoServer
	}
	if set.persistence != 0 {
		return w.scheduleSticky(snap, v, set, f, p, key, hash)
	}
	if !v.grouped && v.port != p.DstPort {
		if v.port == ftpPort {
			return target{}, NoService // other ports are its with persistence only
		}
		return target{}, NoServer
	}
	s := w.pick(snap, v, p)
	if s == nil {
		return target{}, NoServer
	}
	dport := s.Port
	if dport == 0 {
		dport = p.DstPort
	}
	if set.onePacket {
		return w.once(s, dport), forwarded
	}
	to, reason := w.enter(snap, key, hash, s, dport, 0)
	if reason == TableFull && w.reclaim() {
		to, reason = w.enter(snap, key, hash, s, dport, 0)
	}
	if reason == TableFull {
		return w.withoutTable(v)
	}
	return to, reason
}

// once is the target of a packet of a one-packet service: counted as a connection
// that is over at once.
func (w *worker) once(s *server, dport uint16) target {
	if s.upper.Load() != 0 {
		s.count(false)
		s.bind()
		s.unbind(false, true)
	}
	s.counters[w.id].conns.bump(1)
	return target{server: s, dport: dport}
}

func (w *worker) pick(snap *snapshot, v *service, p *forward.Packet) *server {
	w.flow = sched.Flow{Src: p.Src, Dst: p.Dst, SrcPort: p.SrcPort, DstPort: p.DstPort, Proto: p.Proto}
	s := v.scheduler().Pick(&w.flow)
	if s == nil {
		return nil
	}
	return w.servers.get(s.ID)
}

// enter makes the connection of a packet. Where another worker was first, its
// connection is the one.
func (w *worker) enter(snap *snapshot, key *words, hash uint64, s *server, dport uint16, template uint32) (target, Reason) {
	method := s.path.Load().method
	flags := flagInactive | meta(method)<<metaMethod
	if method != NAT {
		flags |= flagNoOutput
	} else if uint16(key[4]>>32) == ftpPort && Protocol(key[4]>>8) == TCP {
		flags |= flagFTP
	}
	s.count(false)
	c, m, fresh := w.table.insert(&birth{
		key: *key, hash: hash, server: s, dport: dport, meta: flags,
		template: template, timeout: newTimeout, replies: method == NAT,
	}, w.now, w.servers.all())
	if !fresh {
		s.uncount(false)
		if template != 0 {
			w.table.cold[template].controls.Add(-1)
		}
	}
	if c == 0 {
		return target{}, TableFull
	}
	if fresh {
		s.bind()
		s.counters[w.id].conns.bump(1)
	}
	return w.targetOf(snap, c, m), forwarded
}

func (w *worker) targetOf(snap *snapshot, c uint32, m meta) target {
	return target{c, m, w.servers.get(m.server()), w.table.conns[c].dport()}
}

// scheduleSticky is schedule for a persistent service: the client's template says
// which server, and where there is none the scheduler's pick becomes one
// (ip_vs_sched_persist).
func (w *worker) scheduleSticky(snap *snapshot, v *service, set *serviceSettings, f *forward.Frame, p *forward.Packet, key *words, hash uint64) (target, Reason) {
	t := v.templateTuple(set, p)
	if set.calls {
		call, ok := callKey(f, p, t.src)
		if !ok {
			return target{}, NoCallID
		}
		t.src, t.kind = call, kindCall
	}
	tkey := t.words()
	thash := tkey.hash(w.table.seed)
	for {
		c, m := w.template(snap, &tkey, thash)
		if c == 0 {
			s := w.pick(snap, v, p)
			if s == nil {
				return target{}, NoServer
			}
			s.count(true)
			var fresh bool
			c, m, fresh = w.table.insert(&birth{
				key: tkey, hash: thash, server: s, dport: v.templatePort(s), timeout: set.persistence,
				meta: meta(s.path.Load().method) << metaMethod,
			}, w.now, w.servers.all())
			if fresh {
				s.bind()
			} else {
				s.uncount(true)
			}
			if c == 0 {
				return target{}, TableFull
			}
		}
		if !w.hold(c, m, w.now) {
			continue // expired in between
		}
		s := w.servers.get(m.server())
		dport := p.DstPort
		if dport == v.port && s.Port != 0 {
			dport = s.Port
		}
		if set.onePacket {
			w.table.cold[c].controls.Add(-1)
			return w.once(s, dport), forwarded
		}
		return w.enter(snap, key, hash, s, dport, c)
	}
}

// template returns the template of that key whose server may be used, if there is
// one. Weight 0 and a reached threshold do not count unless the settings say so.
func (w *worker) template(snap *snapshot, key *words, hash uint64) (uint32, meta) {
	r, m := w.table.find(key, hash, w.servers.all())
	if r == 0 {
		return 0, 0
	}
	s := w.servers.get(m.server())
	if s.gone.Load() || snap.settings.expireQuiescentTemplate && s.Weight() == 0 {
		w.void(r.conn(), m)
		return 0, 0
	}
	return r.conn(), m
}

// templateTuple is the key of a client's template: its masked address; for a
// service of all ports, or FTP, any port.
func (v *service) templateTuple(set *serviceSettings, p *forward.Packet) tuple {
	t := tuple{src: p.Src, dst: p.Dst, dstPort: v.port, proto: Protocol(p.Proto), kind: kindTemplate}
	if v.grouped {
		t.proto, t.dst = 0, markAddr(v.mark)
	}
	for i := range t.src {
		t.src[i] &= set.mask[i]
	}
	if v.port == ftpPort {
		t.dstPort = 0
	}
	return t
}

// markAddr stands for a mark where a template has a VIP.
func markAddr(mark uint32) forward.Addr {
	return forward.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, mark)))
}

// MarkAddr is a mark as an IPv4 address, which stands for it where there is no VIP: in
// templates, and in the names of services to SetWeight and SetState.
func MarkAddr(mark uint32) netip.Addr { return markAddr(mark).Netip() }

func (v *service) templatePort(s *server) uint16 {
	if v.port == ftpPort || v.grouped {
		return 0
	}
	return s.Port
}
