package dataplane

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golb/golb/forward"
)

// The next segment of a connection that was cut is answered by a reset. An end that sends
// nothing gets a SYN with any sequence number: on an established connection it answers
// with a challenge ACK (RFC 5961 §4.2), which holds the sequence number that the reset
// needs. With NAT both ends get one; with DSR and TUN only the client does, since the
// server's segments do not pass through golb.

const (
	maxCut      = 1 << 16             // connections whose ends are still to be reset
	closedFor   = 30 * TicksPerSecond // how long a server's segments are reset
	resetTries  = 12                  // calls of SendResets, while the client's MAC is not known
	resetWindow = 1024
	// answer_rate/resetShare is how many SYNs are sent a second: the resets that follow
	// share their budget with others.
	resetShare = 2
)

// cutList is the connections that were cut and whose ends get a SYN next.
type cutList struct {
	mu    sync.Mutex
	conns []cutConn
}

// cutConn is a connection that was cut.
type cutConn struct {
	client, vip  forward.Addr
	cport, vport uint16
	nat          bool
	server       *Server
	dport        uint16
	hop          uint16
	tries        int
}

// resetTable is the connections that were cut with NAT, as their servers see them.
type resetTable struct {
	active atomic.Int32
	mu     sync.Mutex
	until  map[flowKey]Tick
}

// has reports whether a server's segment is of a connection that was cut.
func (x *resetTable) has(p *forward.Packet) bool {
	k := keyOf(p)
	x.mu.Lock()
	defer x.mu.Unlock()
	_, ok := x.until[k]
	return ok
}

func (x *resetTable) add(c *cutConn, until Tick) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.until == nil {
		x.until = map[flowKey]Tick{}
	}
	t := tuple{src: c.server.Addr, dst: c.client, srcPort: c.dport, dstPort: c.cport, proto: forward.ProtoTCP}
	if len(x.until) < maxCut {
		x.until[t.key()] = until
	}
	x.active.Store(int32(len(x.until)))
}

// expire drops those whose time is over.
func (x *resetTable) expire(now Tick) {
	if x.active.Load() == 0 {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for t, until := range x.until {
		if !now.before(until) {
			delete(x.until, t)
		}
	}
	x.active.Store(int32(len(x.until)))
}

// Cut ends all connections of a server, then those that controlled others, and then
// the templates that led to it. SendResets resets the ends of the connections.
func (p *Plane) Cut(s *Server) {
	for _, templates := range []bool{false, false, true} {
		for c := uint32(1); c < p.table.used(); c++ {
			m := p.table.conns[c].load()
			if !m.has(flagLive) || m.server() != s.ID || p.table.isTemplate(c) != templates {
				continue
			}
			end, wanted := p.resettable(c, m, s)
			p.delete(m.id(c), flagAssured)
			if wanted && !p.exists(m.id(c)) {
				p.queueReset(end)
			}
		}
	}
}

// resettable copies what a reset of connection c needs; wanted is false where its ends
// need none: it is no TCP connection, or not established.
func (p *Plane) resettable(c uint32, m meta, s *Server) (end cutConn, wanted bool) {
	key := p.table.key(c)
	if key.proto() != forward.ProtoTCP || key.kind() != kindConn {
		return end, false
	}
	switch m.state() {
	case tcpEstablished, tcpFinWait, tcpCloseWait, tcpLastAck:
	default:
		return end, false
	}
	return cutConn{
		client: key.src(), vip: key.dst(), cport: key.srcPort(), vport: key.dstPort(),
		nat: m.method() == NAT, server: s, dport: p.table.conns[c].dport(), hop: timer(p.table.conns[c].timer.Load()).hop(),
	}, true
}

// queueReset queues the resets of a connection that was cut.
func (p *Plane) queueReset(end cutConn) {
	if end.nat {
		p.closedNAT.add(&end, p.tick()+closedFor)
	}
	p.cut.mu.Lock()
	defer p.cut.mu.Unlock()
	if len(p.cut.conns) < maxCut {
		p.cut.conns = append(p.cut.conns, end)
	}
}

// SendResets sends SYNs to the ends of connections that were cut, as many as the setting
// answer_rate allows for every, the time since the last call.
func (p *Plane) SendResets(every time.Duration) {
	p.closedNAT.expire(p.tick())
	rate := p.snap.Load().settings.AnswerRate / resetShare
	p.cut.mu.Lock()
	n := min(len(p.cut.conns), max(1, rate*int(every/time.Millisecond)/1000))
	batch := p.cut.conns[:n:n]
	p.cut.conns = p.cut.conns[n:]
	p.cut.mu.Unlock()
	if n == 0 {
		return
	}
	var again []cutConn
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, err := p.do(ctx, func(w *Worker) Reason {
		for _, end := range batch {
			if !w.sendChallengeSYN(&end) {
				again = append(again, end)
			}
		}
		return consumed
	})
	if err != nil {
		return // the workers have stopped
	}
	p.cut.mu.Lock()
	p.cut.conns = append(p.cut.conns, again...)
	p.cut.mu.Unlock()
}

// sendChallengeSYN sends a SYN to the ends of a connection. done is false where the next
// hop to the client is not known, up to resetTries times.
func (w *Worker) sendChallengeSYN(end *cutConn) (done bool) {
	t := tuple{src: end.client, dst: end.vip, srcPort: end.cport, dstPort: end.vport, proto: forward.ProtoTCP}
	key := t.key()
	if r, _ := w.plane.table.find(&key, key.hash(&w.plane.table.secret), w.plane.servers.all()); r != 0 {
		return true // the client has opened a new connection
	}
	if end.nat && end.tries == 0 {
		to := end.server.path.Load()
		w.sendSYN(&forward.TCPSegment{DstMAC: to.dst, Src: end.client, Dst: end.server.Addr, SrcPort: end.cport, DstPort: end.dport}, to.port)
	}
	hop := w.plane.hopTo(end.hop, end.client, w.plane.snap.Load().settings.ReplyByRoute, w.now)
	if hop == nil {
		end.tries++
		return end.tries == resetTries
	}
	w.sendSYN(&forward.TCPSegment{DstMAC: hop.MAC, Src: end.vip, Dst: end.client, SrcPort: end.vport, DstPort: end.cport}, hop.Port)
	return true
}

// sendSYN sends a SYN that is answered by a challenge ACK.
func (w *Worker) sendSYN(s *forward.TCPSegment, port int) {
	if s.DstMAC.IsZero() {
		return
	}
	s.SrcMAC, s.Flags, s.Seq, s.Window = w.ifaces[port].MAC, forward.FlagSYN, uint32(w.plane.rand()), resetWindow
	f := w.lend(forward.MaxSegmentHeaders)
	if s.Build(&f) {
		f.Port = port
		w.send(&f)
	}
}
