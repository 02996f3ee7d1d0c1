package lb

import (
	"encoding/binary"

	"github.com/golb/golb/forward"
)

// arrival is what a worker found out about a frame before it forwards the batch.
type arrival struct {
	packet forward.Packet
	reason forward.Reason
	key    words
	hash   uint64
	ref    ref // of the connection, most likely; 0 where there is none
}

// look parses a batch, and reads what its packets will need of the table. Each
// packet alone would wait for memory twice, for the index and for its connection;
// the loops here are so short that the processor waits for many at once.
func (w *worker) look(frames []forward.Frame) {
	all, t := w.arrivals[:len(frames)], w.table
	for i := range all {
		s := &all[i]
		if s.reason = forward.Parse(&frames[i], &s.packet); s.reason == forward.None {
			s.key.ofPacket(&s.packet)
			s.hash = s.key.hash(t.seed)
		}
	}
	for i := range all {
		t.bucket(all[i].hash).busy.Load()
	}
	for i := range all {
		s := &all[i]
		b := t.bucket(s.hash)
		s.ref = ref(b.refs[b.matching(s.hash).first()].Load())
		t.conns[s.ref.conn()].meta.Load()
	}
	if len(w.servers.all()) > fewServers {
		w.lookFarther(all)
	}
}

// fewServers are so many that what packets read of them stays in the processor's own
// cache.
const fewServers = 512

// lookFarther reads what packets of known connections will need of their servers.
func (w *worker) lookFarther(all []arrival) {
	var found [batchSize]*server
	for i := range all {
		s := w.servers.get(w.table.conns[all[i].ref.conn()].load().server())
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

// ofPacket makes the key of the packet's tuple. It reads and writes whole words, each
// as it was written and will be read: a processor waits long for what it has just
// written in other pieces.
func (w *words) ofPacket(p *forward.Packet) {
	w[0] = binary.LittleEndian.Uint64(p.Src[:8])
	w[1] = binary.LittleEndian.Uint64(p.Src[8:])
	w[2] = binary.LittleEndian.Uint64(p.Dst[:8])
	w[3] = binary.LittleEndian.Uint64(p.Dst[8:])
	w[4] = packPorts(p.SrcPort, p.DstPort, Protocol(p.Proto), kindConn)
}
