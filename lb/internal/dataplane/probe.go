package dataplane

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/golb/golb/forward"
)

// A path probe is a SYN from the host's own address, or a VIP, to the VIP on one server, which
// a worker rewrites and sends like a client's; the answer comes to the host, and a worker
// that sees it resets the connection. Neither is scheduled, counted, or entered into the
// table. The host's own stack may answer with a reset as well, which harms nothing.

// ProbePortsFrom is the first of the ports that probes come from, above those that Linux
// gives to connections (32768 to 60999).
const ProbePortsFrom = 61000

const (
	probePorts  = 1<<16 - ProbePortsFrom
	probeWindow = 1024
)

// probes are the probes that wait for an answer.
type probes struct {
	active atomic.Int32
	mu     sync.Mutex
	byPort map[uint16]*Probe
}

// Probe is a path probe that waits for an answer.
type Probe struct {
	config ProbeConfig
	port   uint16
	peer   forward.Addr // whose answer it is: the VIP, or with NAT the server
	dport  uint16       // the server's
	iss    uint32
	answer chan ProbeAnswer // room for one
}

// ProbeConfig is the path that a probe takes.
type ProbeConfig struct {
	Server *Server
	Source forward.Addr // the host's own or a VIP, of the VIP's family
	VIP    forward.Addr
	Port   uint16
}

// ProbeAnswer is the kind of an answer to a SYN.
type ProbeAnswer uint8

// The answers to a SYN.
const (
	ProbeAccepted ProbeAnswer = iota + 1 // SYN and ACK
	ProbeReset
)

// NewProbe makes a probe and reserves its source port until EndProbe.
func (p *Plane) NewProbe(c ProbeConfig) (*Probe, error) {
	b := &Probe{config: c, peer: c.VIP, dport: c.Port, iss: rand.Uint32(), answer: make(chan ProbeAnswer, 1)}
	if c.Server.Method() == NAT {
		b.peer = c.Server.Addr
		if c.Server.Port != 0 {
			b.dport = c.Server.Port
		}
	}
	return b, p.probes.begin(b)
}

// EndProbe frees the probe's port. Later answers are ignored.
func (p *Plane) EndProbe(b *Probe) { p.probes.end(b) }

// SendProbe has a worker send the probe's SYN, or send it again. sent is false where it
// could not be sent, for the reason why.
func (p *Plane) SendProbe(ctx context.Context, b *Probe) (sent bool, why Reason, err error) {
	r, err := p.do(ctx, func(w *Worker) Reason { return w.sendProbe(b, forward.FlagSYN, b.iss) })
	return err == nil && (r == forwarded || r == consumed), r, err
}

// Answer receives the answer to the SYN, once.
func (b *Probe) Answer() <-chan ProbeAnswer { return b.answer }

// begin enters a probe, and gives it a port.
func (x *probes) begin(b *Probe) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.byPort == nil {
		x.byPort = map[uint16]*Probe{}
	}
	for range 64 {
		port := uint16(ProbePortsFrom + rand.IntN(probePorts))
		if x.byPort[port] == nil {
			b.port = port
			x.byPort[port] = b
			x.active.Add(1)
			return nil
		}
	}
	return errors.New("too many probes at a time")
}

func (x *probes) end(b *Probe) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.byPort, b.port)
	x.active.Add(-1)
}

// find returns the probe that a segment answers, or nil.
func (x *probes) find(p *forward.Packet, ack uint32) *Probe {
	x.mu.Lock()
	defer x.mu.Unlock()
	b := x.byPort[p.DstPort]
	if b == nil || b.config.Source != p.Dst || b.peer != p.Src || b.iss+1 != ack ||
		p.SrcPort != b.dport && p.SrcPort != b.config.Port {
		return nil
	}
	return b
}

// probeAnswered handles an answer to a probe; ok is false for any other packet.
func (w *Worker) probeAnswered(x *rxPacket) (ok bool) {
	p := &x.packet
	if p.Proto != forward.ProtoTCP || p.Frag != forward.NotFrag || p.TCPFlags&forward.FlagACK == 0 ||
		p.TCPFlags&(forward.FlagSYN|forward.FlagRST) == 0 || !forward.ChecksumOK(x.frame, p) {
		return false
	}
	_, ack := forward.Sequence(x.frame, p)
	b := w.plane.probes.find(p, ack)
	if b == nil || b.peer == b.config.Server.Addr && !w.isSentBy(x, b.config.Server) {
		return false // with NAT, answers that come by another way would reach clients untranslated
	}
	answer := ProbeReset
	if p.TCPFlags&forward.FlagRST == 0 {
		answer = ProbeAccepted
		_ = w.sendProbe(b, forward.FlagRST, b.iss+1)
	}
	select {
	case b.answer <- answer:
	default: // answered again
	}
	return true
}

// sendProbe sends a segment of a probe to its server; it returns why not.
func (w *Worker) sendProbe(b *Probe, flags uint8, seq uint32) Reason {
	s := forward.TCPSegment{
		Src: b.config.Source, Dst: b.config.VIP, SrcPort: b.port, DstPort: b.config.Port,
		Seq: seq, Flags: flags, Window: probeWindow,
	}
	x, f := &w.scratch, &w.probe
	*f = w.lend(forward.MaxSegmentHeaders)
	if !s.Build(f) {
		return Reason(forward.BadLength)
	}
	if r := forward.Parse(f, &x.packet); r != forward.None {
		return Reason(r)
	}
	x.frame, x.snap, x.hash = f, w.plane.snap.Load(), uint64(b.port)
	x.conn, x.meta, x.server, x.dport = 0, 0, b.config.Server, b.dport
	reason := w.deliver(x, false)
	if reason == forwarded {
		w.send(f)
	}
	return reason
}
