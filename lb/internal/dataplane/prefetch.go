package dataplane

import "github.com/golb/golb/forward"

// rxPacket is the state of a packet while a worker handles it.
type rxPacket struct {
	packet forward.Packet // as parsed; rewriters update it
	frame  *forward.Frame
	snap   *Snapshot

	parsed    forward.Reason // None, or why golb does not take it
	key       flowKey        // of its tuple
	hash      uint64         // of key; of a later fragment, a number that is the same for the datagram
	candidate indexRef       // first ref with the hash's tag; datagram compares its key

	// Where it goes: a connection, or for one-packet services just a server, with conn 0.
	conn   uint32
	meta   meta
	server *Server
	dport  uint16 // at the server

	forFragments fragVerdict  // for later fragments of the datagram
	answerFrom   forward.Addr // source of an answer to the packet
	mtu          int          // of the next hop, in bytes of IP packet, for MTUExceeded
}

// prefetch parses a batch, and loads the cache lines of the table that its packets will
// need. One packet alone waits for memory twice, for the index and for its connection;
// these loops are so short that the processor waits for many lines at once.
func (w *Worker) prefetch(snap *Snapshot, frames []forward.Frame) {
	all, t := w.rx[:len(frames)], w.plane.table
	for i := range all {
		x := &all[i]
		x.frame, x.snap = &frames[i], snap
		if x.parsed = forward.Parse(x.frame, &x.packet); x.parsed == forward.None {
			x.key.setPacket(&x.packet)
			x.hash = x.key.hash(&t.secret)
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

// fewServers is how many servers' lines stay in a processor's own cache.
const fewServers = 512

// prefetchServers loads the lines of servers that packets of a batch will need.
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
