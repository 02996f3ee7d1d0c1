package forward

import (
	"testing"
)

// traffic returns one frame of each kind that a balancer receives, with its offload
// state. Super-packets have super bytes of payload.
func traffic(t tb, super int) (fs []*Frame) {
	long := func(s spec, n int) spec { s.payload = pattern(n, 1); return s }
	opt := tcp4Spec
	opt.options = []byte{1, 1, 1, 0}
	for _, s := range []spec{
		tcp4Spec, udp4Spec, tcp6Spec, udp6Spec, echo4, echo6, sctpSpec, opt,
		long(tcp4Spec, 1400), long(udp6Spec, 1400),
		tcp6Spec.with(extHopByHop, ProtoTCP, 0, 1, 4, 0, 0, 0, 0),
		udp6Spec.with(extFragment, ProtoUDP, 0, 0, 0, 0, 0, 0, 1),
	} {
		fs = append(fs, frameOf(s.build(), 0))
	}
	for _, s := range []spec{tcp4Spec, udp4Spec, tcp6Spec, udp6Spec, sctpSpec} {
		f := frameOf(s.build(), 0)
		makePartial(t, f)
		fs = append(fs, f)
	}
	for _, s := range []spec{long(tcp4Spec, super), long(tcp6Spec, super), long(udp4Spec, super)} {
		f := frameOf(s.build(), 0)
		makePartial(t, f)
		f.Offload.GSO, f.Offload.GSOSize = s.gsoType(), uint16(super/20)
		fs = append(fs, f)
	}
	fs = append(fs, fragmentFrame(udp4Spec, 0, 800, true), fragmentFrame(udp4Spec, 800, 800, true), fragmentFrame(udp6Spec, 0, 800, true), fragmentFrame(udp6Spec, 800, 80, false))
	back := spec{src: vip4, dst: client4, sport: 80, dport: 40001, proto: ProtoTCP}
	fs = append(fs, frameOf(errorAbout(back.build(), addr("172.31.0.1"), vip4).build(), 0))
	back.src, back.dst = vip6, client6
	fs = append(fs, frameOf(errorAbout(back.build(), addr("2001:db8:ffff::1"), vip6).build(), 0))
	return fs
}

// exerciser passes a copy of each frame of traffic to every function.
type exerciser struct {
	frames  []*Frame
	work    Frame
	reply   Frame
	table   *FragTable
	tunnels []Tunnel
	now     uint32
	sent    int
}

func newExerciser(t tb) *exerciser {
	e := &exerciser{frames: traffic(t, 30000), table: NewFragTable(FragConfig{MaxDatagrams: 64})}
	e.work.Buf = make([]byte, Headroom+MaxFrame)
	e.reply.Buf = make([]byte, Headroom+MaxFrame)
	for _, k := range []TunnelKind{IPIP, GUE, GRE} {
		e.tunnels = append(e.tunnels,
			Tunnel{Kind: k, Csum: true, Local: local4, Remote: server4, Port: guePort},
			Tunnel{Kind: k, Local: local6, Remote: server6, Port: guePort})
	}
	return e
}

// load puts a copy of f into the working frame and parses it.
func (e *exerciser) load(f *Frame, p *Packet) {
	e.work.Head, e.work.Offload = Headroom, f.Offload
	e.work.Tail = Headroom + copy(e.work.Buf[Headroom:], f.Bytes())
	if Parse(&e.work, p) != None {
		panic("traffic does not parse")
	}
	e.reply.Head = Headroom
}

func (e *exerciser) run() {
	var p, q Packet
	for _, f := range e.frames {
		e.load(f, &p)
		DSR(&e.work, &p, macC, macB)
		e.load(f, &p)
		to := server4
		if p.Version == 6 {
			to = server6
		}
		if ParseEmbedded(&e.work, &p, &q) == None {
			NATEmbeddedRequest(&e.work, &p, &q, to, 8080)
			NATEmbeddedReply(&e.work, &p, &q, to, 8080)
			ParseTunneled(&e.work, &q, new(Packet))
		}
		e.load(f, &p)
		NATRequest(&e.work, &p, &to, 8080)
		NATReply(&e.work, &p, &to, 80)
		ClampMSS(&e.work, &p, 1000)
		ChecksumOK(&e.work, &p)
		TimeExceeded(&e.reply, &e.work, &p, to, 1)
		TooBig(&e.reply, &e.work, &p, to, 1, 1400)
		PortUnreachable(&e.reply, &e.work, &p, to, 1)
		TCPReset(&e.reply, &e.work, &p, to)
		e.load(f, &p)
		EchoReply(&e.work, &p, 1)
		e.cut(f)
		for i := range e.tunnels {
			e.load(f, &p)
			Encapsulate(&e.work, &p, &e.tunnels[i], 1, 2)
		}
		e.fragments(f)
	}
}

func (e *exerciser) cut(f *Frame) {
	var p, q Packet
	var s Segmenter
	var g Fragmenter
	e.load(f, &p)
	if s.Start(&e.work, &p, 0) == None {
		for s.Next(&e.reply, &q) {
			e.sent++
		}
	}
	e.load(f, &p)
	FinishChecksum(&e.work, &p)
	if g.Start(&e.work, &p, 200, 1) == None {
		for g.Next(&e.reply, &q) {
			e.sent++
		}
	}
}

func (e *exerciser) fragments(f *Frame) {
	var p Packet
	e.load(f, &p)
	e.now++
	switch p.Frag {
	case FirstFrag:
		e.table.First(&p, e.now, 1)
		for e.table.Take(&p, &e.reply) {
			e.sent++
		}
	case LaterFrag:
		e.table.Later(&e.work, &p, e.now)
	}
}

// Not parallel: AllocsPerRun counts every goroutine's.
func TestNothingIsAllocatedPerPacket(t *testing.T) {
	e := newExerciser(t)
	if n := testing.AllocsPerRun(100, e.run); n != 0 {
		t.Errorf("%v allocations in a run over %d frames", n, len(e.frames))
	}
	if e.sent == 0 {
		t.Error("nothing was cut")
	}
}
