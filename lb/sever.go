package lb

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golb/golb/forward"
)

// A connection that is cut is answered by a reset with its next segment. An end that
// waits for the other sends none, so it is asked for one: a SYN on a connection that is
// established is answered by an ACK, whatever its number (challenge ACK, RFC 5961 §4.2),
// and that by the reset, which so has the right number. With NAT both ends are asked; with
// DSR and TUN the client alone, since what servers send does not come by.

const (
	maxSevered  = 1 << 16             // connections that wait to be asked, or with NAT to be answered
	severFor    = 30 * ticksPerSecond // how long a server's segments are answered
	severTries  = 12                  // times expireEvery, while the client's MAC is not known
	severWindow = 1024
	// severShare of answer_rate is what is asked a second, so that there is room for
	// the resets that follow.
	severShare = 2
)

// severed is a connection that was cut.
type severed struct {
	client, vip  forward.Addr
	cport, vport uint16
	nat          bool
	server       *server
	dport        uint16
	via          uint16
	tries        int
}

// stumps are the connections that were cut with NAT, as their servers see them.
type stumps struct {
	active atomic.Int32
	mu     sync.Mutex
	until  map[words]tick
}

// has reports whether a server's segment is of a connection that was cut.
func (x *stumps) has(p *forward.Packet) bool {
	t := tuple{src: p.Src, dst: p.Dst, srcPort: p.SrcPort, dstPort: p.DstPort, proto: Protocol(p.Proto)}
	x.mu.Lock()
	defer x.mu.Unlock()
	_, ok := x.until[t.words()]
	return ok
}

func (x *stumps) add(c *severed, until tick) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.until == nil {
		x.until = map[words]tick{}
	}
	t := tuple{src: c.server.Addr, dst: c.client, srcPort: c.dport, dstPort: c.cport, proto: TCP}
	if len(x.until) < maxSevered {
		x.until[t.words()] = until
	}
	x.active.Store(int32(len(x.until)))
}

// forget drops those whose time is over.
func (x *stumps) forget(now tick) {
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

// cut ends all connections of a server, then those that controlled others, and then
// the templates that led to it. The lock is held.
func (b *Balancer) cut(r *server) {
	for _, templates := range []bool{false, false, true} {
		for c := uint32(1); c < b.table.used(); c++ {
			m := b.table.conns[c].load()
			if !m.has(flagLive) || m.server() != r.ID || b.table.isTemplate(c) != templates {
				continue
			}
			end, wanted := b.severable(c, m, r)
			b.kill(c, m)
			if wanted && !b.table.conns[c].load().sameLife(m) {
				b.sever(end)
			}
		}
	}
}

// severable notes what has to be known of a connection once it is cut; wanted is false
// where its ends need not be told.
func (b *Balancer) severable(c uint32, m meta, r *server) (end severed, wanted bool) {
	key := b.table.key(c)
	if Protocol(key[4]>>8) != TCP || connKind(key[4]) != kindConn {
		return end, false
	}
	switch m.state() {
	case tcpEstablished, tcpFinWait, tcpCloseWait, tcpLastAck:
	default:
		return end, false
	}
	return severed{
		client: addrOf(key[0], key[1]), vip: addrOf(key[2], key[3]), cport: uint16(key[4] >> 48), vport: uint16(key[4] >> 32),
		nat: m.method() == NAT, server: r, dport: b.table.conns[c].dport(), via: timer(b.table.conns[c].timer.Load()).via(),
	}, true
}

// sever has the ends of a connection that was cut told. The lock is held.
func (b *Balancer) sever(end severed) {
	if end.nat {
		b.stumps.add(&end, b.tick()+severFor)
	}
	if len(b.severed) < maxSevered {
		b.severed = append(b.severed, end)
	}
}

// tellSevered asks as many ends of connections that were cut as the setting answer_rate
// allows.
func (b *Balancer) tellSevered(now tick) {
	b.stumps.forget(now)
	b.mu.Lock()
	if b.net == nil {
		b.severed = nil
	}
	rate := b.snap.Load().settings.answerRate / severShare
	n := min(len(b.severed), max(1, rate*int(expireEvery/time.Millisecond)/1000))
	batch := b.severed[:n:n]
	b.severed = b.severed[n:]
	b.mu.Unlock()
	if n == 0 {
		return
	}
	var again []severed
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, err := b.errand(ctx, func(w *worker) Reason {
		for _, end := range batch {
			if !w.challenge(&end) {
				again = append(again, end)
			}
		}
		return resent
	})
	if err != nil {
		return // golb ends
	}
	b.mu.Lock()
	b.severed = append(b.severed, again...)
	b.mu.Unlock()
}

// challenge asks both ends of a connection; it fails while the way to the client is not
// known, some times.
func (w *worker) challenge(end *severed) (done bool) {
	t := tuple{src: end.client, dst: end.vip, srcPort: end.cport, dstPort: end.vport, proto: TCP}
	key := t.words()
	if r, _ := w.table.findLocked(&key, key.hash(w.table.seed), w.servers.all()); r != 0 {
		return true // the client has begun anew
	}
	if end.nat && end.tries == 0 {
		to := end.server.path.Load()
		w.ask(&forward.TCPSegment{DstMAC: to.dst, Src: end.client, Dst: end.server.Addr, SrcPort: end.cport, DstPort: end.dport}, to.port)
	}
	v := w.vias.get(end.via)
	if v == nil || w.snap.Load().settings.replyByRoute {
		v = w.router.lookup(end.client)
	}
	if v == nil {
		end.tries++
		return end.tries == severTries
	}
	w.ask(&forward.TCPSegment{DstMAC: v.mac, Src: end.vip, Dst: end.client, SrcPort: end.vport, DstPort: end.cport}, v.port)
	return true
}

// ask sends the SYN that draws an ACK.
func (w *worker) ask(s *forward.TCPSegment, port int) {
	if s.DstMAC.IsZero() {
		return
	}
	s.SrcMAC, s.Flags, s.Seq, s.Window = w.macs[port], forward.FlagSYN, uint32(w.rand()), severWindow
	f := w.lend(forward.MaxSegmentHeaders)
	if s.Build(&f) {
		f.Port = port
		w.send(&f)
	}
}
