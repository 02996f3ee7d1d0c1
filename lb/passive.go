package lb

import (
	"cmp"
	"fmt"
	"time"

	"github.com/golb/golb/lb/internal/dataplane"
)

// PassiveCheck fails a server by what its clients' connections show, which no check can
// miss: SYNs that are repeated, since the first got no answer; resets in answer to a
// SYN, and ICMP unreachables, where golb sees them. It fails where so many connections
// in a row failed. One that is established clears it, so that neither lost
// packets nor floods of SYNs beside real clients can do harm; but with DSR and TUN,
// where golb does not see the server's answer, a flood at a service that is otherwise
// idle looks like a dead server. (Envoy: outlier detection; HAProxy: observe.)
//
// Failed connections are counted, and the event ServerSuspect tells of them, in any
// case.
type PassiveCheck struct {
	// Failures is how many connections in a row within Window have to fail until the
	// server is taken out; 0 means that it never is.
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

func (v *validator) passive(path string, p *PassiveCheck) {
	if p.Failures < 0 || p.Failures > maxChecksInARow {
		v.fail(path+".failures", p.Failures, "out of range", fmt.Sprintf("1 to %d, 0 for never", maxChecksInARow))
	}
	v.duration(path, "window", p.Window, time.Second)
	v.duration(path, "hold", p.Hold, time.Second)
}

// withDefaults has nothing left to default.
func (p PassiveCheck) withDefaults() PassiveCheck {
	return PassiveCheck{p.Failures, cmp.Or(p.Window, defaultWindow), cmp.Or(p.Hold, defaultHold)}
}

// passiveState is what the connections of a server show, as far as it was looked at.
type passiveState struct {
	served    uint64       // at the last look
	past, mid failedCounts // at the begin of the window, and half a window or more before now
	turned    time.Time    // when mid was taken
	suspected bool         // and told
	until     time.Time    // when a server that was taken out comes back; zero where it was not
}

// FailedConnections is how many connections of a server failed since golb started.
type FailedConnections struct {
	Unanswered  uint64 `json:"unanswered"`  // the client repeated its SYN; with NAT only where the server did not answer it
	Refused     uint64 `json:"refused"`     // the server reset it in answer to the SYN; seen with NAT
	Unreachable uint64 `json:"unreachable"` // an ICMP unreachable came back; seen with NAT and TUN
}

func failedConnections(c *dataplane.FailureCounts) FailedConnections {
	return FailedConnections{c.Unanswered, c.Refused, c.Unreachable}
}

// failedCounts are FailedConnections at one time.
type failedCounts FailedConnections

func (c failedCounts) since(past failedCounts) failedCounts {
	return failedCounts{c.Unanswered - past.Unanswered, c.Refused - past.Refused, c.Unreachable - past.Unreachable}
}

func (c failedCounts) sum() uint64 { return c.Unanswered + c.Refused + c.Unreachable }

// checkPassiveLocked looks at what a server's connections show, and has the server follow.
func (b *Balancer) checkPassiveLocked(s *server, now time.Time) {
	p, v := &s.passive, s.service
	set := &v.policy.passive
	if !p.until.IsZero() && !now.Before(p.until) {
		b.resetPassiveLocked(s)
		if b.setFailedLocked(s, sourcePassive, false, "") {
			b.noteLocked(Event{Kind: EventServerUp, Service: v.name, Server: s.name, Action: s.action(), Since: time.Now(),
				Reason: "on trial: the time after which it gets connections again is over"})
		}
		return
	}
	c := s.dp.Counters()
	failed := failedCounts(failedConnections(&c.Failed))
	if served := servedCount(&c, v.policy.datagrams); served != p.served {
		p.served = served
		if p.until.IsZero() { // else it has to wait out its time
			b.resetPassiveLocked(s)
		}
		return
	}
	if !now.Before(p.turned.Add(set.Window / 2)) {
		p.past, p.mid, p.turned = p.mid, failed, now
	}
	bad := failed.since(p.past)
	if limit := set.Failures; limit != 0 && s != v.fallback && bad.sum() >= uint64(limit) && s.up {
		p.until = now.Add(set.Hold)
		b.setServerStateLocked(s, sourcePassive, true, s.diagnose(bad), time.Time{})
		return
	}
	if bad.sum() >= suspectAfter && s.up && !p.suspected {
		p.suspected = true
		b.noteLocked(Event{Kind: EventServerSuspect, Service: v.name, Server: s.name, Reason: s.diagnose(bad), Since: time.Now()})
	}
}

// resetPassiveLocked forgets what there is against a server.
func (b *Balancer) resetPassiveLocked(s *server) {
	c := s.dp.Counters()
	p := &s.passive
	p.past = failedCounts(failedConnections(&c.Failed))
	p.mid, p.turned, p.suspected, p.until = p.past, b.env.Now(), false, time.Time{}
}

// servedCount is a count that grows while a server works: its established connections, or,
// for datagrams, the packets from it that golb saw.
func servedCount(c *dataplane.Counters, datagrams bool) uint64 {
	n := c.Failed.Established
	if datagrams {
		n += c.OutPackets - c.Failed.Unreachable // these have been counted as its packets
	}
	return n
}

// diagnose says what failed connections mean and what to do, in words.
func (s *server) diagnose(bad failedCounts) string {
	switch {
	case 4*bad.Unreachable >= bad.sum(): // hosts answer so but seldom (RFC 1812 §4.3.2.8): the others were repeated
		return fmt.Sprintf("%d connections in a row failed, of which %d were answered by ICMP unreachable: %s or a router or firewall "+
			"before it refuses them", bad.sum(), bad.Unreachable, s.address)
	case bad.Refused > bad.Unanswered:
		return fmt.Sprintf("%d connections in a row were reset by %s: nothing listens there", bad.sum(), s.addrPort())
	case s.method == NAT:
		return fmt.Sprintf("%d connections in a row got no answer from %s: it is dead, a firewall drops their SYNs, or its answers do not "+
			"come back through this host, which has to be its default gateway", bad.sum(), s.addrPort())
	}
	decapsulate := ""
	if s.method == TUN {
		decapsulate = "take packets out of the tunnel and "
	}
	return fmt.Sprintf("%d connections in a row stay in SYN_RECV, their clients repeat the SYN and never acknowledge an answer: %s is dead, or does "+
		"not take packets for the VIP, or its answers do not reach clients. It has to %shave the VIP on its loopback "+
		"(ip addr add VIP/32 dev lo), be silent about that (sysctl net.ipv4.conf.all.arp_ignore=1 and arp_announce=2), "+
		"not filter by reverse path (rp_filter=0), and listen on the VIP or all addresses", bad.sum(), s.address, decapsulate)
}
