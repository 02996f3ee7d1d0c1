package dataplane

import (
	"encoding/binary"

	"github.com/golb/golb/forward"
)

// schedulePersistent is schedule for a persistent service: the server is that of the
// client's template, which is made for the scheduler's pick where there is none
// (ip_vs_core.c, ip_vs_sched_persist).
func (w *Worker) schedulePersistent(x *rxPacket, v *Service, set *serviceSettings) Reason {
	tuple, ok := w.templateTuple(x, v, set)
	if !ok {
		return NoCallID
	}
	p, key := &x.packet, tuple.key()
	hash := key.hash(&w.plane.table.secret)
	closed := v.Gate() == GateClosed && (v.port != ftpPort || p.DstPort == ftpPort)
	for {
		c, m := w.template(x, &key, hash)
		if closed && (c == 0 || !w.plane.servers.get(m.server()).keepsClients.Load()) {
			return NoServer
		}
		if c == 0 {
			s := w.pick(x, v)
			if s == nil {
				return NoServer
			}
			if c, m = w.enterTemplate(v, set, s, &key, hash); c == 0 {
				return TableFull
			}
		}
		if !w.plane.addControlledAndRearm(m.id(c), w.now) {
			continue // expired in between
		}
		s := w.plane.servers.get(m.server())
		x.server, x.dport = s, p.DstPort
		if x.dport == v.port || v.port == 0 && !x.snap.settings.KeepPorts { // of FTP's service, data connections keep theirs
			x.dport = s.dport(p)
		}
		if set.onePacket {
			w.plane.table.cold[c].controls.Add(-1)
			return w.scheduleOnePacket(x)
		}
		return w.enter(x, &x.key, x.hash, s, c)
	}
}

// enterTemplate makes a client's template for a server; its number is 0 where the table
// is full.
func (w *Worker) enterTemplate(v *Service, set *serviceSettings, s *Server, key *flowKey, hash uint64) (uint32, meta) {
	s.count(true)
	method := s.path.Load().method
	c, m, created := w.insert(&newConn{
		key: *key, hash: hash, server: s, dport: v.templatePort(s), timeout: set.persistence,
		meta: meta(method) << methodShift,
	}, roomFor(method))
	if created {
		s.bind()
	} else {
		s.uncount(true)
	}
	return c, m
}

// template returns the template of that key whose server may be used, if there is
// one. Weight 0 and a reached threshold do not count unless the settings say so; weight 0
// never does for a server that keeps its clients.
func (w *Worker) template(x *rxPacket, key *flowKey, hash uint64) (uint32, meta) {
	r, m := w.plane.table.peek(key, hash, w.plane.servers.all())
	if r == 0 {
		return 0, 0
	}
	s := w.plane.servers.get(m.server())
	if s.gone.Load() || x.snap.settings.ExpireQuiescentTemplate && s.Weight() == 0 && !s.keepsClients.Load() {
		w.plane.invalidate(m.id(r.conn()))
		return 0, 0
	}
	return r.conn(), m
}

// templateTuple is the tuple of a client's template: the client's masked address, or what
// Hooks.ClientKey or the Call-ID gives in place of it; and the service's port, 0 for FTP
// and services with several. ok is false for a packet without the Call-ID that it needs.
func (w *Worker) templateTuple(x *rxPacket, v *Service, set *serviceSettings) (t tuple, ok bool) {
	p := &x.packet
	t = tuple{src: p.Src, dst: p.Dst, dstPort: v.port, proto: p.Proto, kind: kindTemplate}
	if w.plane.hooks.ClientKey != nil {
		t.src = w.plane.hooks.ClientKey(w.flowOf(x))
	}
	if v.grouped {
		t.proto, t.dst = 0, markAddr(v.mark)
	}
	for i := range t.src {
		t.src[i] &= set.clientMask[i]
	}
	if v.port == ftpPort {
		t.dstPort = 0
	}
	if set.callID {
		t.kind = kindCall
		t.src, ok = callKey(x.frame, p, t.src)
		return t, ok
	}
	return t, true
}

// markAddr stands for a mark where a template has a VIP.
func markAddr(mark uint32) forward.Addr {
	return forward.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, mark)))
}

func (v *Service) templatePort(s *Server) uint16 {
	if v.port == ftpPort || v.grouped {
		return 0
	}
	return s.Port
}
