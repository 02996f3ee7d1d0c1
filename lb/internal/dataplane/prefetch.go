package dataplane

import "github.com/golb/golb/forward"

// rxPacket is all that a worker knows of a packet while it forwards it.
type rxPacket struct {
	packet forward.Packet // as parsed; rewriting keeps it true
	frame  *forward.Frame
	snap   *Snapshot

	parsed    forward.Reason // why it is not for golb
	key       flowKey        // of its tuple
	hash      uint64         // of key; of a packet without a tuple, any number that is its flow's
	candidate indexRef       // of its connection, most likely; 0 where there is none

	// Where it goes: a connection, or for one-packet services just a server, with conn 0.
	conn   uint32
	meta   meta
	server *Server
	dport  uint16 // at the server

	forFragments fragVerdict  // for later fragments of the datagram
	answerFrom   forward.Addr // source of an answer to the packet
	mtu          int          // bytes of IP packet that the packet exceeds, for such an answer
}

// prefetch parses a batch, and reads what its packets will need of the table. Each
// packet alone would wait for memory twice, for the index and for its connection;
// the loops here are so short that the processor waits for many at once.
func (w *Worker) prefetch(snap *Snapshot, frames []forward.Frame) {
	all, t := w.rx[:len(frames)], w.plane.table
	for i := range all {
		x := &all[i]
		x.frame, x.snap = &frames[i], snap
		if x.parsed = forward.Parse(x.frame, &x.packet); x.parsed == forward.None {
			x.key.ofPacket(&x.packet)
			x.hash = x.key.hash(t.seed)
		}
	}
	for i := range all {
		t.bucket(all[i].hash).busy.Load()
	}
	for i := range all {
		x := &all[i]
		b := t.bucket(x.hash)
		x.candidate = indexRef(b.refs[b.matching(x.hash).first()].Load())
		t.conns[x.candidate.conn()].meta.Load()
	}
	if len(w.plane.servers.all()) > fewServers {
		w.prefetchServers(all)
	}
}

// fewServers are so many that what packets read of them stays in the processor's own
// cache.
const fewServers = 512

// prefetchServers reads what packets of known connections will need of their servers.
func (w *Worker) prefetchServers(all []rxPacket) {
	var found [batchSize]*Server
	for i := range all {
		s := w.plane.servers.get(w.plane.table.conns[all[i].candidate.conn()].load().server())
		if s != nil {
			s.path.Load()
		}
		found[i] = s
	}
	for _, s := range found[:len(all)] {
		if s != nil {
			_ = s.path.Load().dst
			s.counters[w.id].inPackets.Load()
			s.service.settings.Load()
		}
	}
}
