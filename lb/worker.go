package lb

import (
	"errors"
	"fmt"
	"net"
	"runtime"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/forward/afpacket"
	"github.com/golb/golb/sched"
)

// worker receives from one port and sends through any. It is one locked thread,
// and shares nothing that is written per packet with others but the connections
// themselves.
type worker struct {
	*plane
	id    int
	cpu   int    // that it is pinned to, -1 none
	in    int    // index of the port it receives from
	ports []Port // by index: where frames leave by
	macs  []forward.MAC
	mtus  []int
	batch []forward.Frame
	out   []queue // by port
	now   tick
	drops [numReasons]relaxed

	errands chan errand

	arrivals  [batchSize]arrival
	packet    *forward.Packet // the one that is being forwarded
	quoted    forward.Packet  // that it quotes
	flow      sched.Flow
	viaCache  viaCache
	segments  forward.Segmenter
	fragments forward.Fragmenter
	mergers   []merger // by port
	merging   forward.Merger

	segment, follower, probe forward.Frame // lent ones that are being made

	arena     []byte // memory of frames that it makes itself
	arenaUsed int
	ipID      uint16
	idStep    uint16

	flowHash uint64   // of the packet's tuple
	decided  decision // about a datagram whose fragments are to follow

	late     int   // number of the shard that it expires of
	answers  int64 // left in the bucket
	refilled tick
	answerAs forward.Addr // source of an answer to the packet
	mtu      int          // that the packet exceeds
	_        line
}

// batchSize is how many frames a worker takes at once at most.
const batchSize = 64

func newWorker(x *plane, id, workers, in int, ports []Port) *worker {
	w := &worker{
		plane: x, id: id, cpu: -1, in: in, ports: ports,
		batch: make([]forward.Frame, batchSize),
		arena: make([]byte, arenaSize),
		ipID:  uint16(id), idStep: uint16(workers),
		errands: make(chan errand, errandRoom),
	}
	w.packet = &w.arrivals[0].packet
	w.out = make([]queue, len(ports))
	for i, p := range ports {
		w.out[i] = newQueue()
		w.macs = append(w.macs, p.MAC())
		w.mtus = append(w.mtus, p.MTU())
		w.mergers = append(w.mergers, mergerFor(p))
	}
	return w
}

// run forwards until the port is closed.
func (w *worker) run() error {
	runtime.LockOSThread()
	if w.cpu < 0 {
		defer runtime.UnlockOSThread()
	} else if err := afpacket.Pin(w.cpu); err != nil { // the thread ends with the goroutine
		return fmt.Errorf("lb: worker %d: %w", w.id, err)
	}
	for {
		n, err := w.ports[w.in].Recv(w.batch)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		w.handle(w.batch[:n])
		w.runErrands()
	}
}

// handle forwards a batch of at most batchSize frames.
func (w *worker) handle(frames []forward.Frame) {
	snap := w.snap.Load()
	w.now = w.tick()
	if w.expiry.late.Load() {
		w.help(len(frames))
	}
	w.look(frames)
	for i := range frames {
		f := &frames[i]
		f.Port = w.in
		switch reason := w.frame(snap, f, &w.arrivals[i]); reason {
		case forwarded:
			w.received(frames, i)
		case resent:
		default:
			w.drops[reason].bump(1)
			w.answer(snap, f, reason)
		}
	}
	w.flush()
}

// frame turns one frame into what is to be sent through f.Port.
func (w *worker) frame(snap *snapshot, f *forward.Frame, s *arrival) Reason {
	w.packet = &s.packet
	if s.reason != forward.None {
		return Reason(s.reason)
	}
	if s.packet.Frag != forward.NotFrag {
		return w.fragment(snap, f, s)
	}
	return w.whole(snap, f, s)
}

// whole forwards a datagram, or the first fragment of one.
func (w *worker) whole(snap *snapshot, f *forward.Frame, s *arrival) Reason {
	p := &s.packet
	if p.IsRelated() {
		switch {
		case snap.isVIP(p.Dst) || len(snap.nat) > 0 && len(snap.tunnels) == 0:
			return w.related(snap, f)
		case len(snap.tunnels) > 0:
			reason := w.tunnelError(snap, f)
			if reason != NotVIP && reason != Reason(forward.BadEmbedded) || len(snap.nat) == 0 {
				return reason
			}
			return w.related(snap, f)
		}
	}
	w.flowHash = s.hash
	r := s.ref
	m, ok := w.table.match(r, &s.key, w.servers.all())
	if !ok {
		if r, m = w.table.findLocked(&s.key, s.hash, w.servers.all()); r == 0 {
			return w.unknown(snap, f, &s.key, s.hash)
		}
	}
	return w.known(snap, f, r, m, &s.key, s.hash)
}

// known forwards a packet of a connection, after the checks that may end the
// connection instead (ip_vs_in).
func (w *worker) known(snap *snapshot, f *forward.Frame, r ref, m meta, key *words, hash uint64) Reason {
	p, c := w.packet, r.conn()
	s := w.servers.get(m.server())
	if r.reply() {
		return w.answerNAT(snap, f, c, m, s)
	}
	if isFirst(p) {
		if w.reusable(snap, c, m, s) {
			return w.renew(snap, f, c, m, key, hash)
		}
		w.repeated(c, m, s)
	}
	if s.gone.Load() {
		if !snap.settings.expireNodest {
			return ServerGone
		}
		return w.renew(snap, f, c, m, key, hash)
	}
	return w.transmit(snap, f, w.targetOf(snap, c, m))
}

// isFirst reports whether the packet opens a connection.
func isFirst(p *forward.Packet) bool {
	switch Protocol(p.Proto) {
	case TCP:
		return p.TCPFlags&forward.FlagSYN != 0
	case SCTP:
		return p.SCTPChunk == sctpInitChunk
	}
	return false
}

// reusable reports whether the opening packet on tuple of c starts a connection of
// its own, since c is over or its server is to get no new ones (is_new_conn_expected).
func (w *worker) reusable(snap *snapshot, c uint32, m meta, s *server) bool {
	if snap.settings.expireNodest && s.Weight() == 0 {
		return true
	}
	if snap.settings.reuse == 0 || w.table.cold[c].template.Load() != 0 {
		return false
	}
	switch Protocol(w.packet.Proto) {
	case TCP:
		return m.state() == tcpTimeWait || m.state() == tcpClose ||
			snap.settings.reuse&2 != 0 && m.state() == tcpFinWait && m.has(flagNoOutput)
	case SCTP:
		return m.state() == sctpClosed
	}
	return false
}

// unknown deals with a packet of no connection: it may begin one.
func (w *worker) unknown(snap *snapshot, f *forward.Frame, key *words, hash uint64) Reason {
	p := w.packet
	if w.ftp.expected.Load() != 0 {
		if r, ok := w.fulfil(snap, f, key, hash); ok {
			return r
		}
	}
	v := snap.match(Protocol(p.Proto), p.Dst, p.DstPort)
	if v == nil {
		return w.nobodys(snap, f)
	}
	w.answerAs = p.Dst
	switch Protocol(p.Proto) {
	case TCP:
		switch {
		case p.TCPFlags&forward.FlagRST != 0:
			return NoConnection
		case v.answers(p) && w.converse(f, v, v.settings.Load().page, key):
			return resent
		case p.TCPFlags&forward.FlagSYN != 0 || snap.settings.sloppyTCP:
		case w.wasFull(v, w.now):
			return w.adopt(snap, f, v, key, hash)
		default:
			return NoConnection
		}
	case SCTP:
		if p.SCTPChunk != sctpInitChunk && (!snap.settings.sloppySCTP || p.SCTPChunk == sctpAbortChunk) {
			return NoConnection
		}
	}
	to, reason := w.schedule(snap, v, f, p, key, hash)
	if reason == NoServer {
		to, reason = w.fallBack(snap, v, f, key, hash)
	}
	if reason != forwarded {
		return reason
	}
	return w.transmit(snap, f, to)
}

// nobodys deals with a packet that no service takes.
func (w *worker) nobodys(snap *snapshot, f *forward.Frame) Reason {
	p := w.packet
	switch {
	case snap.isVIP(p.Dst):
		w.answerAs = p.Dst
		if p.IsEchoRequest() {
			return w.ping(snap, f)
		}
		return NoService
	case w.probes.active.Load() != 0 && w.probed(snap, f):
		return resent
	case snap.isNATServer(p.Src):
		if w.stumps.active.Load() != 0 && w.stumps.has(p) {
			w.answerAs = p.Dst
			return NoConnection
		}
		return w.pass(snap, f)
	}
	return NotVIP
}

// transmit counts a packet, moves its connection on, and sends it to its server.
func (w *worker) transmit(snap *snapshot, f *forward.Frame, to target) Reason {
	w.countIn(to.server)
	if w.packet.Frag != forward.NotFrag {
		w.decided = decide(to, false)
	}
	if to.conn != 0 {
		from := uint16(0)
		if to.meta.has(flagReply) {
			from = w.viaCache.number(&w.vias, f, w.in)
		}
		w.touch(to.conn, to.meta, to.server, w.packet, fromClient, from, w.now)
	}
	return w.deliver(snap, f, to, false)
}

// countIn counts the packet as one to a server.
func (w *worker) countIn(s *server) {
	count := &s.counters[w.id]
	count.inPackets.bump(1)
	count.inBytes.bump(uint64(w.packet.End - w.packet.L3))
}

// countOut counts the packet as one from a server.
func (w *worker) countOut(s *server) {
	count := &s.counters[w.id]
	count.outPackets.bump(1)
	count.outBytes.bump(uint64(w.packet.End - w.packet.L3))
}
