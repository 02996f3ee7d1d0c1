package dataplane

import (
	"fmt"
	"runtime"
	"slices"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/sched"
)

// Port is one queue of one interface: frames in, frames out. Recv and Send are called by
// one worker; the other methods by anyone at any time.
type Port interface {
	// Recv fills frames with what has arrived, waiting for the first. It returns 0
	// and no error after Wake, and an error once the port is closed. The frames are
	// lent until the next call.
	Recv(frames []forward.Frame) (int, error)
	// Send passes frames on, whatever port lent them, and returns how many were
	// taken. It keeps none of them.
	Send(frames []forward.Frame) (int, error)
	// Wake makes a Recv return.
	Wake()
}

// Interface is what packets need to know of the interface of a port.
type Interface struct {
	MAC forward.MAC // that frames leave with
	MTU int         // bytes of IP packet
	// GSOTCP and GSOUDP say that its ports take super-packets that golb has merged.
	GSOTCP, GSOUDP bool
}

// SetInterfaces replaces what is known of the interfaces, by index of the port, for all
// workers from their next batch on. It is called before AddWorker.
func (p *Plane) SetInterfaces(list []Interface) {
	list = slices.Clone(list)
	p.ifaces.Store(&list)
}

// Worker receives from one port and sends through any. It runs on one locked thread. Of
// what it writes per packet, it shares only connections with other workers.
type Worker struct {
	plane  *Plane
	id     int
	pin    func() error
	in     int         // index of the port it receives from
	ports  []Port      // by index: where frames leave by
	ifaces []Interface // by index, as of this batch
	batch  []forward.Frame
	out    []txQueue // by port
	now    Tick
	drops  [NumReasons]relaxed

	random     uint64                 // state of the generator that draws samples of the table
	sampled    sample                 // see Worker.sample
	searchRest int                    // see the constant
	givenUp    [numWorths + 1]relaxed // by worth, and templates
	stateless  relaxed                // packets forwarded without an entry, since there is no room

	tasks chan task

	rx       [batchSize]rxPacket
	scratch  rxPacket       // for a packet that is not of the batch
	quoted   forward.Packet // the packet that an ICMP error quotes
	flow     sched.Flow     // see flowOf
	hopCache hopCache

	splitter  forward.Splitter
	segments  forward.Segmenter
	fragments forward.Fragmenter
	mergers   []merger // by port
	merging   forward.Merger

	segment, waitingFragment, probe forward.Frame // frames that are being made

	arena     []byte // memory of frames that it makes itself (see lend)
	arenaUsed int
	ipID      uint16
	idStep    uint16

	expireShard int // number of the shard that expireShare is at
	answers     answerBudgets
	_           line
}

// batchSize is how many frames a worker takes at once at most.
const batchSize = 64

// WorkerConfig says what a worker is made of.
type WorkerConfig struct {
	Ports []Port       // by index, one on each interface; only this worker uses them
	In    int          // index of the port to receive from
	Pin   func() error // called on the worker's thread before it receives; nil does nothing
}

// AddWorker makes a worker. All are made before the first runs.
func (p *Plane) AddWorker(c WorkerConfig) *Worker {
	workers := *p.workers.Load()
	w := &Worker{
		plane: p, id: len(workers), pin: c.Pin, in: c.In, ports: c.Ports, ifaces: *p.ifaces.Load(),
		batch: make([]forward.Frame, batchSize),
		arena: make([]byte, arenaSize),
		ipID:  uint16(len(workers)), idStep: uint16(p.workerCount),
		tasks: make(chan task, maxTasks), random: p.table.secret[0] + uint64(len(workers)),
	}
	w.out, w.mergers = make([]txQueue, len(c.Ports)), make([]merger, len(c.Ports))
	for i := range w.out {
		w.out[i] = newTxQueue()
	}
	workers = append(workers, w)
	p.workers.Store(&workers)
	return w
}

// Run forwards until its port fails, which includes that it is closed, and returns the
// port's error.
func (w *Worker) Run() error {
	runtime.LockOSThread()
	if w.pin == nil {
		defer runtime.UnlockOSThread()
	} else if err := w.pin(); err != nil { // the thread ends with the goroutine
		return fmt.Errorf("worker %d: %w", w.id, err)
	}
	for {
		n, err := w.ports[w.in].Recv(w.batch)
		if err != nil {
			return err
		}
		w.Handle(w.batch[:n])
		w.runTasks()
	}
}

// Handle forwards a batch of at most 64 frames. Run calls it for what it receives; tests
// call it directly. The frames are not used after it returns.
func (w *Worker) Handle(frames []forward.Frame) {
	snap := w.plane.snap.Load()
	w.ifaces = *w.plane.ifaces.Load()
	w.now = w.plane.tick()
	if w.plane.expiry.behind.Load() {
		w.expireShare(len(frames))
	}
	w.prefetch(snap, frames)
	for i := range frames {
		x := &w.rx[i]
		x.frame.Port = w.in
		switch reason := w.forward(x); reason {
		case forwarded:
			w.queueReceived(frames, i)
		case consumed:
		default:
			w.drop(x, reason)
		}
	}
	w.flush()
}

// forward rewrites a frame and sets frame.Port to the port to send it through, or returns
// why it is not sent.
func (w *Worker) forward(x *rxPacket) Reason {
	if x.parsed != forward.None {
		return Reason(x.parsed)
	}
	if forward.DstMAC(x.frame).IsGroup() {
		return GroupMAC
	}
	switch {
	case x.packet.Frag != forward.NotFrag:
		return w.fragment(x)
	case x.packet.Oversized:
		return w.oversized(x)
	}
	return w.datagram(x)
}

// oversized forwards a super-packet of BIG TCP as shorter ones. They are made where it lies,
// one after the other, so each has to be sent before the next.
func (w *Worker) oversized(x *rxPacket) Reason {
	if r := w.splitter.Start(x.frame, &x.packet); r != forward.None {
		return Reason(r)
	}
	for w.splitter.Next(x.frame, &x.packet) {
		switch reason := w.datagram(x); reason {
		case forwarded:
			w.send(x.frame)
		case consumed:
		default:
			w.drop(x, reason)
		}
		w.flush()
	}
	return consumed
}

// drop counts a packet that is not forwarded, and answers it.
func (w *Worker) drop(x *rxPacket, reason Reason) {
	w.drops[reason].bump(1)
	w.answer(x, reason)
}

// datagram forwards a whole datagram, or the first fragment of one.
func (w *Worker) datagram(x *rxPacket) Reason {
	if x.packet.IsRelated() {
		if reason, done := w.icmpError(x); done {
			return reason
		}
	}
	t, r := w.plane.table, x.candidate
	m, ok := t.match(r, &x.key, w.plane.servers.all())
	if !ok {
		if r, m = t.find(&x.key, x.hash, w.plane.servers.all()); r == 0 {
			return w.newFlow(x)
		}
	}
	x.conn, x.meta, x.server = r.conn(), m, w.plane.servers.get(m.server())
	switch {
	case r.reply():
		return w.toClient(x)
	case isOpening(&x.packet) || x.server.gone.Load():
		return w.renewOrForward(x)
	}
	x.dport = w.plane.table.conns[x.conn].dport()
	return w.toServer(x)
}

// newFlow handles a packet of no connection: it may begin one.
func (w *Worker) newFlow(x *rxPacket) Reason {
	p := &x.packet
	if w.plane.ftp.expected.Load() != 0 {
		if r, ok := w.openExpected(x); ok {
			return r
		}
	}
	v := x.snap.match(p.Proto, p.Dst, p.DstPort)
	if v == nil {
		return w.noService(x)
	}
	if !v.settings.Load().access.allows(p.Src) {
		v.denied.Add(1)
		return Denied
	}
	x.answerFrom = p.Dst
	switch p.Proto {
	case forward.ProtoTCP:
		if p.TCPFlags&forward.FlagRST != 0 {
			return NoConnection
		}
		if v.mayBePage(p) {
			if reason, ok := w.pageSegment(x, v, v.settings.Load().page); ok {
				return reason
			}
		}
		switch {
		case p.TCPFlags&forward.FlagSYN != 0 || x.snap.settings.SloppyTCP:
		case w.plane.wasFull(v, w.now):
			return w.pickupMidstream(x, v)
		default:
			return NoConnection
		}
	case forward.ProtoSCTP:
		if p.SCTPChunk != sctpInitChunk && (!x.snap.settings.SloppySCTP || p.SCTPChunk == sctpAbortChunk) {
			return NoConnection
		}
	}
	reason := w.schedule(x, v)
	if reason == NoServer {
		reason = w.scheduleFallback(x, v)
	}
	if reason != forwarded {
		return reason
	}
	return w.toServer(x)
}

// noService handles a packet that no service matches.
func (w *Worker) noService(x *rxPacket) Reason {
	p := &x.packet
	switch {
	case w.plane.probes.active.Load() != 0 && w.probeAnswered(x):
		return consumed
	case x.snap.isVIP(p.Dst):
		x.answerFrom = p.Dst
		if p.IsEchoRequest() {
			return w.ping(x)
		}
		return NoService
	}
	return w.fromNATServer(x)
}
