package lb

import (
	"cmp"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/golb/golb/forward"
)

// Passive fails a server by what its clients' connections show, which no check can
// miss: SYNs that are repeated, since nothing came of the first; resets in answer to a
// SYN, and ICMP unreachables, where golb sees them. It fails where so many connections
// in a row came to nothing. One that is established clears it, so that neither lost
// packets nor floods of SYNs beside real clients can do harm; but with DSR and TUN,
// where golb does not see the server's answer, a flood at a service that is otherwise
// idle looks like a dead server.
//
// Counted, and told of by the event ServerSuspect, it all is in any case.
type Passive struct {
	// Failures is how many connections in a row within Window have to come to nothing
	// until the server is taken out; 0 means that it never is.
	Failures int `yaml:"failures"`
	// Window is from the first of them to the last; 0 means 30 s.
	Window time.Duration `yaml:"window"`
	// Hold is after how long the server gets connections again, unless a check that
	// failed too has passed before; 0 means 1 min.
	Hold time.Duration `yaml:"hold"`
}

const (
	defaultWindow = 30 * time.Second
	defaultHold   = time.Minute
	// suspectAfter is how many failures in a row golb tells of in any case.
	suspectAfter = 10
)

func (v *validator) passive(path string, p *Passive) {
	if p.Failures < 0 || p.Failures > maxChecksInARow {
		v.fail(path+".failures", p.Failures, "out of range", fmt.Sprintf("1 to %d, 0 for never", maxChecksInARow))
	}
	v.duration(path, "window", p.Window, time.Second)
	v.duration(path, "hold", p.Hold, time.Second)
}

// passive is Passive with nothing left to default.
type passive struct {
	failures     uint64
	window, hold tick
}

func (p *Passive) resolve() passive {
	return passive{uint64(p.Failures), ticksOf(cmp.Or(p.Window, defaultWindow)), ticksOf(cmp.Or(p.Hold, defaultHold))}
}

// evidence is what the connections of a server show.
type evidence struct {
	established atomic.Uint64 // that were half open before
	clues       clues

	// The balancer's lock guards what follows.
	good      uint64 // at the last look
	past, mid counts // at the begin of the window, and half a window or more before now
	turned    tick   // when mid was taken
	suspected bool   // and told
	until     tick   // when a server that was taken out comes back
}

// clues are connections that came to nothing.
type clues struct {
	unanswered  atomic.Uint64 // the client repeated its SYN
	refused     atomic.Uint64 // reset in answer to the SYN
	unreachable atomic.Uint64 // an ICMP error in answer to the SYN, or to a datagram
}

// Fruitless is how many connections of a server ever came to nothing.
type Fruitless struct {
	Unanswered  uint64 `json:"unanswered"`  // the client repeated its SYN; with NAT only where the server did not answer it
	Refused     uint64 `json:"refused"`     // the server reset it in answer to the SYN; seen with NAT
	Unreachable uint64 `json:"unreachable"` // an ICMP unreachable came back; seen with NAT and TUN
}

func (s *server) fruitless() Fruitless {
	c := s.evidence.clues.read()
	return Fruitless{c.unanswered, c.refused, c.unreachable}
}

// counts are clues as read at one time.
type counts struct{ unanswered, refused, unreachable uint64 }

func (c *clues) read() counts {
	return counts{c.unanswered.Load(), c.refused.Load(), c.unreachable.Load()}
}

func (c counts) since(past counts) counts {
	return counts{c.unanswered - past.unanswered, c.refused - past.refused, c.unreachable - past.unreachable}
}

func (c counts) sum() uint64 { return c.unanswered + c.refused + c.unreachable }

// repeated takes note of a SYN of a connection that has had one.
func (w *worker) repeated(c uint32, m meta, s *server) {
	if Protocol(w.packet.Proto) == TCP && m.state() == tcpSynRecv && !m.has(flagAnswered) &&
		timer(w.table.conns[c].timer.Load()).packets() == 1 {
		s.evidence.clues.unanswered.Add(1)
	}
}

// halfOpen takes note of what became of a connection in SYN_RECV.
func (x *plane) halfOpen(c uint32, s *server, old, m meta) {
	if Protocol(x.table.conns[c].ports.Load()>>8) != TCP {
		return
	}
	switch m.state() {
	case tcpEstablished:
		s.evidence.established.Add(1)
	case tcpClose:
		if m.has(flagAnswered) && !old.has(flagAnswered) { // with a reset: a client's does not end it
			s.evidence.clues.refused.Add(1)
		}
	}
}

// unreachable takes note of an ICMP error in answer to a client's packet of
// connection c.
func (w *worker) unreachable(c uint32, m meta, s *server) {
	p := w.packet
	switch p.Version {
	case 4:
		const unreachable, fragmentationNeeded = 3, 4
		if p.ICMPType != unreachable || p.ICMPCode == fragmentationNeeded {
			return
		}
	default:
		const unreachable = 1
		if p.ICMPType != unreachable {
			return
		}
	}
	switch Protocol(w.table.conns[c].ports.Load() >> 8) {
	case UDP:
	case TCP:
		if m.state() != tcpSynRecv {
			return
		}
	default:
		return
	}
	s.evidence.clues.unreachable.Add(1)
}

// unreachableInside is unreachable for the packet that a tunnel's had inside.
func (w *worker) unreachableInside(q *forward.Packet) {
	t := tuple{src: q.Src, dst: q.Dst, srcPort: q.SrcPort, dstPort: q.DstPort, proto: Protocol(q.Proto)}
	key := t.words()
	if r, m := w.table.findLocked(&key, key.hash(w.table.seed), w.servers.all()); r != 0 && !r.reply() {
		w.unreachable(r.conn(), m, w.servers.get(m.server()))
	}
}

// suspect looks at the evidence against a server and has it follow. The lock is held.
func (b *Balancer) suspect(s *server, now tick) {
	e, v := &s.evidence, s.service
	set := v.settings.Load()
	if e.until != 0 && !now.before(e.until) {
		b.acquit(s, now)
		if b.verdict(s, byClients, false, "") {
			b.note(Event{Kind: ServerUp, Service: v.name, Server: s.name, Action: s.action(), Since: time.Now(),
				Reason: "on trial: the time after which it gets connections again is over"})
		}
		return
	}
	if good := s.good(set.datagrams); good != e.good {
		e.good = good
		if e.until == 0 { // else it has to wait out its time
			b.acquit(s, now)
		}
		return
	}
	clues := e.clues.read()
	if !now.before(e.turned + set.passive.window/2) {
		e.past, e.mid, e.turned = e.mid, clues, now
	}
	bad := clues.since(e.past)
	if limit := set.passive.failures; limit != 0 && s != v.fallback.Load() && bad.sum() >= limit && s.up {
		e.until = now + set.passive.hold
		reason := s.explain(bad)
		b.learn(s, byClients, true, reason, time.Time{})
		return
	}
	if bad.sum() >= suspectAfter && s.up && !e.suspected {
		e.suspected = true
		b.note(Event{Kind: ServerSuspect, Service: v.name, Server: s.name, Reason: s.explain(bad), Since: time.Now()})
	}
}

// acquit forgets what there is against a server. The lock is held.
func (b *Balancer) acquit(s *server, now tick) {
	e := &s.evidence
	e.past = e.clues.read()
	e.mid, e.turned, e.suspected, e.until = e.past, now, false, 0
}

// good is a count that grows as long as the server does its work: its connections that
// were established, or where datagrams are, its packets that golb saw.
func (s *server) good(datagrams bool) uint64 {
	n := s.evidence.established.Load()
	if datagrams {
		for i := range s.counters {
			n += s.counters[i].outPackets.Load()
		}
		n -= s.evidence.clues.unreachable.Load() // they have been counted as its
	}
	return n
}

// explain says what the evidence means and what to do, in words.
func (s *server) explain(bad counts) string {
	switch method := s.path.Load().method; {
	case 4*bad.unreachable >= bad.sum(): // hosts answer so but seldom (RFC 1812 §4.3.2.8): the others were repeated
		return fmt.Sprintf("%d connections in a row came to nothing, of which %d were answered by ICMP unreachable: %s or a router or firewall "+
			"before it refuses them", bad.sum(), bad.unreachable, s.address)
	case bad.refused > bad.unanswered:
		return fmt.Sprintf("%d connections in a row were reset by %s: nothing listens there", bad.sum(), s.addrPort())
	case method == NAT:
		return fmt.Sprintf("%d connections in a row got no answer from %s: it is dead, a firewall drops their SYNs, or its answers do not "+
			"come back through this host, which has to be its default gateway", bad.sum(), s.addrPort())
	default:
		decapsulate := ""
		if method == TUN {
			decapsulate = "take packets out of the tunnel and "
		}
		return fmt.Sprintf("%d connections in a row stay in SYN_RECV, their clients repeat the SYN and never acknowledge an answer: %s is dead, or does "+
			"not take packets for the VIP, or its answers do not reach clients. It has to %shave the VIP on its loopback "+
			"(ip addr add VIP/32 dev lo), be silent about that (sysctl net.ipv4.conf.all.arp_ignore=1 and arp_announce=2), "+
			"not filter by reverse path (rp_filter=0), and listen on the VIP or all addresses", bad.sum(), s.address, decapsulate)
	}
}
