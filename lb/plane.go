package lb

import (
	"sync/atomic"
	"time"

	"github.com/golb/golb/forward"
)

// plane is the data plane: what all workers share.
type plane struct {
	snap    atomic.Pointer[snapshot]
	table   *table
	servers numbers
	now     func() time.Time
	start   time.Time
	rand    func() uint64
	pageKey cookieKey

	mtuLearnt atomic.Uint32 // tick of the last path MTU learnt, 0 never
	fullAt    atomic.Uint32 // tick at which the table was last full, 0 never

	_ line // what follows has locks

	expiry expiry
	orphan atomic.Bool // a server left its service: its connections may have to end
	frags  fragments
	vias   vias
	ftp    ftp
	probes probes
	stumps stumps
	router router
	_      line
}

// snapshot is a configuration as packets see it. It is never changed; Apply makes
// a new one and swaps it in.
type snapshot struct {
	services matcher
	nat      map[forward.Addr]struct{} // addresses of servers of method NAT
	tunnels  map[forward.Addr]struct{} // and of method TUN
	settings settings
}

// settings are Settings with nothing left to default.
type settings struct {
	expireNodest            bool
	expireQuiescentTemplate bool
	sloppyTCP, sloppySCTP   bool
	reuse                   int
	pmtuDisc                bool
	clampMSS                bool
	answerRate              int
	replyByRoute            bool
	merge                   bool
}

// match returns the service for a packet, or nil.
func (s *snapshot) match(proto Protocol, vip forward.Addr, port uint16) *service {
	v := s.services.find(proto, vip, port)
	if v == nil || v.port == 0 && !v.grouped {
		if ftp := s.matchFTP(proto, vip, port); ftp != nil {
			return ftp
		}
	}
	return v
}

func (s *snapshot) isVIP(a forward.Addr) bool { return s.services.isVIP(a) }

func (s *snapshot) isNATServer(a forward.Addr) bool {
	_, ok := s.nat[a]
	return ok
}

// tick reads the clock. The table's time starts at 1, so that 0 is never.
func (x *plane) tick() tick { return ticksOf(x.now().Sub(x.start)) + 1 }

// due looks at a connection in the slot of its tick: it may have been prolonged, or
// be a template that connections still hang on; else it goes. The shard is held.
func (x *plane) due(sh *shard, c uint32, now tick) {
	e, cold := &x.table.conns[c], &x.table.cold[c]
	sh.unfile(x.table, c)
	if now.before(e.deadline()) {
		x.file(sh, c)
		return
	}
	if cold.controls.Load() > 0 {
		cold.timeout.Store(uint32(templateStep))
		e.rearm(now + templateStep)
		sh.file(x.table, c, now+templateStep)
		return
	}
	x.bury(c)
}

// bury ends a connection that is not in the wheel any more. The shard is held.
func (x *plane) bury(c uint32) {
	s, m := x.unlist(c)
	s.unbind(x.table.isTemplate(c), m.has(flagInactive))
}

// unlist is bury, but that the server still counts the connection.
func (x *plane) unlist(c uint32) (*server, meta) {
	e, cold := &x.table.conns[c], &x.table.cold[c]
	m := e.load()
	for !e.swap(m, m&^flagLive) {
		m = e.load()
	}
	s := x.servers.get(m.server())
	x.table.remove(c, m, s)
	switch {
	case m.has(flagFTP):
		x.ftp.forget(c, m)
	case connKind(e.ports.Load()) == kindExpected:
		x.ftp.expected.Add(-1)
	}
	if t := cold.template.Load(); t != 0 {
		x.table.cold[t].controls.Add(-1)
	}
	x.table.release(x.table.shardOf(c), c)
	return s, m
}

// kill ends a connection before its time, if it still lives the life of m. A
// template that it was the only one of goes too, unless it is assured
// (ip_vs_conn_del).
func (x *plane) kill(c uint32, m meta) {
	if t, tm := x.killOne(c, m); t != 0 && !tm.has(flagAssured) {
		x.killOne(t, tm)
	}
}

// killOne returns the template that controlled the connection, if any. It spares
// what controls others.
func (x *plane) killOne(c uint32, m meta) (template uint32, tm meta) {
	sh := x.table.shardOf(c)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if !x.takeOut(sh, c, m) {
		return 0, 0
	}
	template = x.table.cold[c].template.Load()
	if template != 0 {
		tm = x.table.conns[template].load() // while c keeps it alive
	}
	x.bury(c)
	return template, tm
}

// takeOut takes a connection that is to end before its time out of the wheel, if it
// still lives the life of m, and controls no others. The shard is held.
func (x *plane) takeOut(sh *shard, c uint32, m meta) bool {
	if !x.table.conns[c].load().sameLife(m) || x.table.cold[c].controls.Load() > 0 {
		return false
	}
	sh.unfile(x.table, c)
	return true
}

// void makes a template unfindable, if it still lives the life of was; its timer runs
// on (ip_vs_check_template).
func (x *plane) void(c uint32, was meta) {
	sh := x.table.shardOf(c)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e := &x.table.conns[c]
	for m := e.load(); m.sameLife(was) && !m.has(flagOrphan); m = e.load() {
		if e.swap(m, m|flagOrphan) {
			key := x.table.key(c)
			x.table.unlink(key.hash(x.table.seed), makeRef(c, false))
			return
		}
	}
}

// hold adds a connection to those that a template controls, and starts its timer
// anew: a tick longer than a connection of that time, so that one which ends with it
// does not hold it up. It fails where the template is gone.
func (x *plane) hold(c uint32, m meta, now tick) bool {
	cold := &x.table.cold[c]
	sh := x.table.shardOf(c)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e := &x.table.conns[c]
	if !e.load().sameLife(m) {
		return false
	}
	cold.controls.Add(1)
	if end := now + tick(cold.timeout.Load()) + 1; e.deadline().before(end) { // not with a slower worker's clock
		e.rearm(end)
	}
	return true
}

// touch moves a connection on for a packet: state, counts, timer.
//
// The timer is written without asking whether another worker has just written it, or
// whether the connection has ended meanwhile and its entry lives anew. The deadline of
// two packets at once is that of either, and in the rarest of cases an entry is looked
// at by the longer of both; never is one lost, and none is taken for another.
func (x *plane) touch(c uint32, m meta, s *server, p *forward.Packet, d direction, via uint16, now tick) {
	e := &x.table.conns[c]
	next := m
	for !m.steady(p, d) {
		next = m.after(p, d)
		if next == m {
			break
		}
		if e.swap(m, next) {
			x.entered(c, s, m, next)
			break
		}
		if cur := e.load(); cur.sameLife(m) {
			m = cur
			continue
		}
		return
	}
	v := s.service.settings.Load()
	end := now + v.timeouts.of(Protocol(p.Proto), next.state())
	old := timer(e.timer.Load())
	t := newTimer(end, via, old.packets()+1)
	if d == fromServer {
		t = newTimer(end, old.via(), old.packets())
	}
	if !end.before(old.end()) {
		e.timer.set(uint64(t))
		return
	}
	// With a barrier, so that the due that is read next is not older.
	e.timer.Store(uint64(t))
	if end.before(tick(x.table.cold[c].due.Load())) {
		x.refile(c, next)
	}
}

// steady reports whether the packet is one of those, most by far, of which after
// would find that they change nothing.
func (m meta) steady(p *forward.Packet, d direction) bool {
	const mask, established = 0xff | flagInactive | flagAssured, meta(tcpEstablished) | flagAssured
	const ending = forward.FlagFIN | forward.FlagSYN | forward.FlagRST
	switch Protocol(p.Proto) {
	case TCP:
		return m&mask == established && p.TCPFlags&(ending|forward.FlagACK) == forward.FlagACK &&
			(d == fromClient || !m.has(flagNoOutput))
	case UDP:
		return d == fromClient && m.has(flagInactive)
	}
	return false
}

// after is the state word after a packet.
func (m meta) after(p *forward.Packet, d direction) meta {
	next := m
	if d == fromServer {
		next = next&^flagNoOutput | flagAnswered
	} else if m.has(flagNoOutput) {
		d = fromClientOnly
	}
	active, assured := false, false
	switch Protocol(p.Proto) {
	case TCP:
		s := nextTCP(m.state(), d, p.TCPFlags)
		next, active, assured = next.withState(s), tcpActive[s], s == tcpEstablished
	case SCTP:
		s := sctpTable[d][chunkEvent(p.SCTPChunk)][m.state()]
		next, active, assured = next.withState(s), s == sctpEstablished, s == sctpEstablished
	case UDP:
		assured = d == fromServer
	}
	if assured {
		next |= flagAssured
	}
	if active {
		return next &^ flagInactive
	}
	return next | flagInactive
}

// entered does what a changed state brings about.
func (x *plane) entered(c uint32, s *server, old, m meta) {
	if old.has(flagInactive) != m.has(flagInactive) {
		s.activate(!m.has(flagInactive))
	}
	if old.state() == tcpSynRecv && m.state() != tcpSynRecv {
		x.halfOpen(c, s, old, m)
	}
	if t := x.table.cold[c].template.Load(); t != 0 && m.has(flagAssured) && !old.has(flagAssured) {
		e := &x.table.conns[t]
		for tm := e.load(); !tm.has(flagAssured) && !e.swap(tm, tm|flagAssured); tm = e.load() {
		}
	}
}

// refile moves a connection to an earlier slot of the wheel.
func (x *plane) refile(c uint32, m meta) {
	sh := x.table.shardOf(c)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if x.table.conns[c].load().sameLife(m) {
		sh.unfile(x.table, c)
		x.file(sh, c)
	}
}

// file enters a connection into the wheel by its deadline. A worker that brings that
// forward looks only then at where the connection is filed: so do we, the other way
// round. The shard is held.
func (x *plane) file(sh *shard, c uint32) {
	e := &x.table.conns[c]
	for {
		end := e.deadline()
		sh.file(x.table, c, end)
		if !e.deadline().before(end) {
			return
		}
		sh.unfile(x.table, c)
	}
}
