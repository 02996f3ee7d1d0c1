package dataplane

import (
	"math/bits"

	"github.com/golb/golb/forward"
)

// When the table is full, a new connection takes the place of one that is worth less. What a
// connection is worth follows from what it has cost its client: whoever forges addresses
// sends first packets and handshakes at no cost, but is not answered. Of equal ones that goes
// first which has been silent for longest.
//
// None is searched for: a few entries drawn at random are compared, which costs the same
// whatever the size of the table, touches no list while there is room, and finds one that is
// among the oldest tenth. It is fair between shards.

// worth is what a connection is worth, the least first.
type worth uint8

const (
	worthOver        worth = iota // closed, or a template of connections that were never established
	worthHalfOpen                 // its handshake is under way
	worthOneWay                   // datagrams without an answer that was followed by more; see flagProven
	worthNoData                   // a handshake without data, or a template of such; see flagProven
	worthClosing                  // one side has closed it
	worthYoung                    // proven, and younger than establishedAge
	worthEstablished              // proven and older
	numWorths
)

// establishedAge is how long whoever establishes connections in earnest, with addresses of
// his own, has to wait until they count as much as those that were there before.
const establishedAge = 30 * TicksPerSecond

// haste is how much sooner connections of one worth go than those of another, among those
// that pass: one that is half-open goes before a datagram's which has been silent for half as
// long again. It is little, since new clients are half-open too, while floods of datagrams
// and forged handshakes are not.
var haste = [numWorths]int64{worthOver: 6, worthHalfOpen: 3, worthOneWay: 2, worthNoData: 2, worthClosing: 1, worthYoung: 1, worthEstablished: 1}

const (
	sampleStep = 16             // entries looked at at a time
	sampleMost = 8 * sampleStep // by one new connection
	enough     = sampleStep / 2 // of those that may go

	// passingShare is the part of the table, as 1 in so many, that connections which are
	// neither young nor established may keep, where new ones need room: else those that
	// are about to be established would end each other.
	passingShare = 8

	// searchRest is how many connections do without an entry after one that found nothing to
	// give up, before a worker searches again.
	searchRest = 32
)

// room says what may be given up for a new connection.
type room uint8

const (
	freeRoom    room = iota // nothing: it needs a free entry
	passingRoom             // what is not established: it can do without
	anyRoom                 // in the last resort, what is established
)

// roomFor is what may be given up for a connection of a method. One without NAT can do
// without an entry (see forwardStateless), but not go on at another server.
func roomFor(m Method) room {
	if m == NAT {
		return anyRoom
	}
	return passingRoom
}

// passes reports whether connections of a worth go for each new one.
func (r room) passes(v worth) bool {
	if r == passingRoom {
		return v <= worthOneWay
	}
	return v <= worthClosing
}

// insertTries bounds how often a connection tries again where others took what was given up
// for it.
const insertTries = 4

// insert enters a connection, for which others may be given up. The number is 0 where there
// is no room; created is false where it is, or where another worker was first.
func (w *Worker) insert(n *newConn, r room) (c uint32, m meta, created bool) {
	t := w.plane.table
	for range insertTries {
		c, m, result := t.insert(n, w.now, w.plane.servers.all())
		if result != tableFull {
			return c, m, result == inserted
		}
		w.plane.noteShort(w.now)
		if r == passingRoom && w.searchRest > 0 {
			w.searchRest--
			break
		}
		if r == freeRoom || !w.giveUpOne(r, t.shard(uint32(n.hash))) {
			break
		}
	}
	return 0, 0, false
}

// giveUpOne ends the connection that should go first, and gives its number to a shard. It
// fails where none may go.
func (w *Worker) giveUpOne(r room, to *shard) bool {
	x := w.sample(r).choose(r)
	if x.score < 0 {
		w.searchRest = searchRest
		return false
	}
	p := w.plane
	m := p.table.conns[x.id.index].load()
	template, from := p.table.isTemplate(x.id.index), p.table.shardOf(x.id.index)
	p.delete(x.id, flagProven)
	if p.exists(x.id) {
		return true // it has come to control others; there are more
	}
	p.table.moveFree(from, to)
	if template {
		w.givenUp[numWorths].bump(1)
	} else {
		w.givenUp[x.worth].bump(1)
	}
	if x.worth >= worthNoData && m.method() != NAT {
		p.noteFull(w.now)
	}
	return true
}

// candidate is an entry that may be given up.
type candidate struct {
	id    connID
	worth worth
	score int64 // the highest goes first; -1 where there is none
}

// sample is what random entries are: of each worth the one that should go first.
type sample struct {
	best           [numWorths]candidate
	looked         int // at entries, also at those that control others
	seen           int // entries that could go at all
	passing, young int // of these
}

// sample looks at random entries, at few where many of them may go.
func (w *Worker) sample(r room) *sample {
	s := &w.sampled
	*s = sample{}
	for i := range s.best {
		s.best[i] = candidate{worth: worth(i), score: -1}
	}
	for s.looked < sampleMost && !s.suffices(r) {
		for _, c := range w.drawEntries() {
			s.add(w.plane, c, w.now, r)
		}
	}
	return s
}

// suffices reports whether there is enough to choose from.
func (s *sample) suffices(r room) bool {
	return s.passing >= enough || r == anyRoom && s.seen >= 4*sampleStep && s.passing*passingShare < s.seen && s.young >= enough
}

// drawEntries returns random entries, and has their cache lines loaded: in loops so short that
// the processor waits for many at once.
func (w *Worker) drawEntries() (list [sampleStep]uint32) {
	t := w.plane.table
	n := uint64(t.used() - 1)
	for i := range list {
		w.random = w.random*6364136223846793005 + 1442695040888963407 // a linear congruential generator
		hi, _ := bits.Mul64(w.random, n)
		list[i] = uint32(hi) + 1
		t.conns[list[i]].meta.Load()
	}
	for _, c := range list {
		if t.conns[c].load().has(flagProven) {
			t.cold[c].rearmOrBegin.Load()
		}
	}
	return list
}

// add takes entry c into account.
func (s *sample) add(p *Plane, c uint32, now Tick, r room) {
	s.looked++
	m := p.table.conns[c].load()
	v, silent, ok := p.worth(c, m, now)
	if !ok {
		return
	}
	s.seen++
	switch {
	case r.passes(v):
		s.passing++
	case v == worthYoung:
		s.young++
	}
	if score := int64(silent) * haste[v]; score > s.best[v].score {
		s.best[v] = candidate{m.id(c), v, score}
	}
}

// choose returns what should go first.
func (s *sample) choose(r room) candidate {
	passing := candidate{score: -1}
	for v, x := range s.best {
		if r.passes(worth(v)) && x.score > passing.score {
			passing = x
		}
	}
	switch {
	case s.passing > 0 && s.passing*passingShare >= s.seen:
		return passing
	case r == passingRoom:
		return candidate{score: -1}
	}
	for _, x := range []candidate{s.best[worthYoung], passing, s.best[worthEstablished]} {
		if x.score >= 0 {
			return x
		}
	}
	return candidate{score: -1}
}

// worth is what entry c in state m is worth, and for how long its client has been silent. ok
// is false where it cannot be given up.
func (p *Plane) worth(c uint32, m meta, now Tick) (v worth, silent Tick, ok bool) {
	e, cold, s := &p.table.conns[c], &p.table.cold[c], p.servers.get(m.server())
	if !m.has(flagLive) || s == nil {
		return 0, 0, false
	}
	proto, template, timeout := e.proto(), p.table.isTemplate(c), Tick(0)
	if template {
		v, timeout = templateWorth(m), Tick(cold.rearmOrBegin.Load())
	} else {
		v, timeout = m.worth(proto), s.service.settings.Load().timeouts.of(proto, m.state())
	}
	if (template || m.has(flagFTP)) && cold.controls.Load() > 0 {
		return 0, 0, false
	}
	last := e.deadline() - timeout
	if last.before(now) {
		silent = now - last
	}
	if v == worthYoung && !template {
		since := now
		if proto == forward.ProtoUDP {
			since = last // no end of it is seen
		}
		if Tick(cold.rearmOrBegin.Load() + establishedAge).before(since) {
			v = worthEstablished
		}
	}
	return v, silent, true
}

// templateWorth is what a template without connections is worth.
func templateWorth(m meta) worth {
	switch {
	case m.has(flagProven):
		return worthYoung
	case m.has(flagAssured):
		return worthNoData
	}
	return worthOver
}

// worth is what a connection is worth, whatever its age.
func (m meta) worth(proto uint8) worth {
	v, unproven := worthYoung, worthNoData
	switch proto {
	case forward.ProtoTCP:
		v = tcpWorth[m.state()]
	case forward.ProtoSCTP:
		v = sctpWorth(m.state())
	default:
		unproven = worthOneWay
	}
	if v > unproven && !m.has(flagProven) {
		return unproven
	}
	return v
}

var tcpWorth = [tcpStates]worth{
	tcpNone: worthHalfOpen, tcpSynSent: worthHalfOpen, tcpSynRecv: worthHalfOpen, tcpSynAck: worthHalfOpen, tcpListen: worthHalfOpen,
	tcpEstablished: worthYoung, tcpFinWait: worthClosing, tcpCloseWait: worthClosing,
	tcpTimeWait: worthOver, tcpClose: worthOver, tcpLastAck: worthOver,
}

func sctpWorth(s state) worth {
	switch s {
	case sctpEstablished:
		return worthYoung
	case sctpShutdownSent, sctpShutdownReceived, sctpShutdownAckSent:
		return worthClosing
	case sctpRejected, sctpClosed:
		return worthOver
	}
	return worthHalfOpen
}
