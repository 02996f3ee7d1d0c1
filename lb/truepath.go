package lb

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/health"
)

// The true path to a server is that of clients' packets: to the VIP, by golb's own
// rewriting, and back from the VIP. A check of a server's own address does not see that
// a server of DSR or TUN lacks the VIP. A probe of the true path is a SYN from the
// host's own address, which a worker rewrites and sends like any other; the answer
// comes to the host, and a worker that sees it resets the connection. Neither is
// scheduled, counted, or entered into the table. The host's own stack may answer with
// a reset as well, which harms nothing.

// throughVIP is Check.Through for the true path.
const throughVIP = "vip"

// The ports that probes come from, above those that Linux gives to connections
// (32768 to 60999).
const (
	probePortsFrom = 61000
	probePorts     = 1<<16 - probePortsFrom
	probeRepeat    = time.Second // when a SYN is taken for lost (RFC 6298 §2)
	probeWindow    = 1024
)

// probes are the probes that wait for an answer.
type probes struct {
	active atomic.Int32
	mu     sync.Mutex
	byPort map[uint16]*probe
}

// probe is a SYN that is on its way.
type probe struct {
	server       *server
	source, vip  forward.Addr
	port, vport  uint16
	peer         forward.Addr // whose answer it is: the VIP, or with NAT the server
	dport        uint16       // the server's
	iss          uint32
	answer       chan probeAnswer // room for one
	acceptsReset bool             // no port is asked for: that the VIP is answered for is enough
}

type probeAnswer uint8

const (
	probeAccepted probeAnswer = iota
	probeReset
)

// begin enters a probe, and gives it a port.
func (x *probes) begin(p *probe) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.byPort == nil {
		x.byPort = map[uint16]*probe{}
	}
	for range 64 {
		port := uint16(probePortsFrom + rand.IntN(probePorts))
		if x.byPort[port] == nil {
			p.port = port
			x.byPort[port] = p
			x.active.Add(1)
			return nil
		}
	}
	return errors.New("too many probes at a time")
}

func (x *probes) end(p *probe) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.byPort, p.port)
	x.active.Add(-1)
}

// find returns the probe that a segment answers, or nil.
func (x *probes) find(p *forward.Packet, ack uint32) *probe {
	x.mu.Lock()
	defer x.mu.Unlock()
	b := x.byPort[p.DstPort]
	if b == nil || b.source != p.Dst || b.peer != p.Src || b.iss+1 != ack ||
		p.SrcPort != b.dport && p.SrcPort != b.vport {
		return nil
	}
	return b
}

// probed deals with an answer to a probe; ok is false for any other packet.
func (w *worker) probed(snap *snapshot, f *forward.Frame) (ok bool) {
	p := w.packet
	if p.Proto != forward.ProtoTCP || p.Frag != forward.NotFrag || p.TCPFlags&forward.FlagACK == 0 ||
		p.TCPFlags&(forward.FlagSYN|forward.FlagRST) == 0 || !forward.ChecksumOK(f, p) {
		return false
	}
	_, ack := forward.Sequence(f, p)
	b := w.probes.find(p, ack)
	if b == nil {
		return false
	}
	answer := probeReset
	if p.TCPFlags&forward.FlagRST == 0 {
		answer = probeAccepted
		_ = w.sendProbe(snap, b, forward.FlagRST, b.iss+1)
	}
	select {
	case b.answer <- answer:
	default: // answered again
	}
	return true
}

// sendProbe sends a segment of a probe to its server; it returns why not.
func (w *worker) sendProbe(snap *snapshot, b *probe, flags uint8, seq uint32) Reason {
	s := forward.TCPSegment{
		Src: b.source, Dst: b.vip, SrcPort: b.port, DstPort: b.vport,
		Seq: seq, Flags: flags, Window: probeWindow,
	}
	f := &w.probe
	*f = w.lend(forward.MaxSegmentHeaders)
	if !s.Build(f) {
		return Reason(forward.BadLength)
	}
	if r := forward.Parse(f, w.packet); r != forward.None {
		return Reason(r)
	}
	w.flowHash = uint64(b.port)
	reason := w.deliver(snap, f, target{server: b.server, dport: b.dport}, false)
	if reason == forwarded {
		w.send(f)
	}
	return reason
}

// pathCheck is the check of the true path to one server.
type pathCheck struct {
	balancer     *Balancer
	server       *server
	name         string // the server's
	vip          netip.AddrPort
	acceptsReset bool
}

// Check sends a SYN, again each second, until something answers it.
func (c *pathCheck) Check(ctx context.Context) error {
	x := c.balancer
	p, err := c.probe()
	if err == nil {
		err = x.probes.begin(p)
	}
	if err != nil {
		return fmt.Errorf("SYN through %s: %w", c.vip, err)
	}
	defer x.probes.end(p)
	repeat := time.NewTicker(probeRepeat)
	defer repeat.Stop()
	for {
		sent, err := x.errand(ctx, func(w *worker) Reason { return w.sendProbe(w.snap.Load(), p, forward.FlagSYN, p.iss) })
		if err == nil && sent != forwarded && sent != resent {
			return fmt.Errorf("SYN through %s to %s: not sent: %s", c.vip, c.name, sent)
		}
		select {
		case <-ctx.Done():
			return c.silent()
		case a := <-p.answer:
			if a == probeReset && !p.acceptsReset {
				return fmt.Errorf("SYN through %s: %s resets it: nothing listens there", c.vip, c.name)
			}
			return nil
		case <-repeat.C:
		}
	}
}

// silent says what no answer means.
func (c *pathCheck) silent() error {
	switch c.server.path.Load().method {
	case NAT:
		return fmt.Errorf("SYN through %s: no answer from %s in time", c.vip, c.name)
	case TUN:
		return fmt.Errorf("SYN through %s: no answer in time: %s is dead, takes no packets out of the tunnel, or none for the VIP: is it on its loopback?",
			c.vip, c.name)
	}
	return fmt.Errorf("SYN through %s: no answer in time: %s is dead, or takes no packets for the VIP: is it on its loopback?", c.vip, c.name)
}

// probe makes the probe of a server as it is reached now.
func (c *pathCheck) probe() (*probe, error) {
	b, to := c.balancer, c.server.path.Load()
	p := &probe{
		server: c.server, vip: forward.AddrFrom(c.vip.Addr()), vport: c.vip.Port(), dport: c.vip.Port(),
		source: to.source, iss: rand.Uint32(), answer: make(chan probeAnswer, 1), acceptsReset: c.acceptsReset,
	}
	p.peer = p.vip
	if to.method == NAT {
		p.peer = c.server.Addr
		if c.server.Port != 0 {
			p.dport = c.server.Port
		}
	}
	if p.source.Is4() == p.vip.Is4() && p.source != (forward.Addr{}) {
		return p, nil
	}
	b.mu.Lock()
	n := b.net
	b.mu.Unlock()
	if n == nil {
		return nil, errors.New("golb does not run")
	}
	r, err := n.route(c.vip.Addr())
	if err != nil || !r.Source.IsValid() || r.Source.Is4() != c.vip.Addr().Is4() {
		return nil, fmt.Errorf("no address of this host to send it from: allowed: %s on its interface", familyOf(c.vip.Addr()))
	}
	p.source = forward.AddrFrom(r.Source)
	return p, nil
}

// watchPath adds the check of the true path to a server, where the service wants it.
// The lock is held.
func (b *Balancer) watchPath(targets []health.Target, s *Service, r *server) []health.Target {
	c := &s.Check
	if c.Through != throughVIP {
		if r.says[byPath] != "" {
			b.learn(r, byPath, false, "", time.Time{})
		}
		return targets
	}
	check := &pathCheck{balancer: b, server: r, name: r.name, vip: netip.AddrPortFrom(s.anyVIP(), s.checkedPort()), acceptsReset: !s.takes(TCP)}
	key := fmt.Sprintf("path %s to %s of %s, every %v %v, timeout %v, fall %d, rise %d", check.vip, r.addrPort(), s.id(), c.Interval, c.Fast, c.Timeout, c.Fall, c.Rise)
	b.paths[key] = r
	return append(targets, health.Target{Key: key, Checker: check, Settings: health.Settings{
		Interval: c.Interval, FastInterval: c.Fast, Timeout: c.Timeout, Fall: c.Fall, Rise: c.Rise,
	}})
}

// checkedBy are the servers that a check is about, and what it says of them.
func (b *Balancer) checkedBy(key string) ([]*server, source) {
	if r := b.paths[key]; r != nil {
		return []*server{r}, byPath
	}
	return b.checked[key], byCheck
}

func (v *validator) through(path string, s *Service) {
	switch {
	case s.Check.Through == "":
	case s.Check.Through != throughVIP:
		v.fail(path, s.Check.Through, "unknown way", throughVIP+", or nothing")
	case s.checkedPort() == 0:
		v.fail(path, s.Check.Through, "a service of all ports has none to ask for", "nothing")
	}
}
