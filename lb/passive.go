package lb

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/golb/golb/lb/internal/dataplane"
)

// PassiveCheck fails a server whose clients' connections fail (Envoy: outlier detection;
// HAProxy: observe). A connection fails where the client repeats its SYN, which got no
// answer; where the server resets it in answer to the SYN; or where an ICMP unreachable
// comes back; the last two only where golb sees them.
//
// A connection that is established starts the count anew, so that neither lost packets nor
// floods of SYNs beside real clients fail a server. But with DSR and TUN, where golb does
// not see the server's answer, a flood at a service without real clients looks like a dead
// server.
//
// Failed connections are counted, and EventServerSuspect reports them, whether or not
// Failures is set.
type PassiveCheck struct {
	// Failures is the number of failed connections in a row, within Window, that fails the
	// server; 0 means that none do.
	Failures int `yaml:"failures"`
	// Window is the longest time from the first of them to the last; 0 means 30 s.
	Window time.Duration `yaml:"window"`
	// Hold is the time after which the server gets connections again. Another check that
	// failed, and passes, ends it early. 0 means 1 min.
	Hold time.Duration `yaml:"hold"`
}

const (
	defaultWindow = 30 * time.Second
	defaultHold   = time.Minute
	// suspectAfter is the number of failures in a row that EventServerSuspect reports, and
	// suspectNew that of a server which has never served one.
	suspectAfter = 10
	suspectNew   = 3
)

func (v *validator) passive(path string, p *PassiveCheck) {
	if p.Failures < 0 || p.Failures > maxChecksInARow {
		v.fail(path+".failures", p.Failures, "out of range", fmt.Sprintf("1 to %d, 0 for never", maxChecksInARow))
	}
	v.duration(path, "window", p.Window, time.Second)
	v.duration(path, "hold", p.Hold, time.Second)
}

// withDefaults replaces zero values by the defaults that they stand for.
func (p PassiveCheck) withDefaults() PassiveCheck {
	return PassiveCheck{p.Failures, cmp.Or(p.Window, defaultWindow), cmp.Or(p.Hold, defaultHold)}
}

// passiveState is the passive check of a server.
type passiveState struct {
	served    uint64       // servedCount at the last check
	past, mid failedCounts // at the begin of the window, and half a window or more before now
	turned    time.Time    // when mid was taken
	suspected bool         // EventServerSuspect was sent
	until     time.Time    // when a server that failed comes back; zero where it did not fail
}

// FailedConnections counts the connections of a server that failed since golb started.
type FailedConnections struct {
	Unanswered  uint64 `json:"unanswered"`  // the client repeated its SYN; with NAT only where the server did not answer it
	Refused     uint64 `json:"refused"`     // the server reset it in answer to the SYN; seen with NAT
	Unreachable uint64 `json:"unreachable"` // an ICMP unreachable came back; seen with NAT and TUN
}

// Sum is the number of all.
func (f FailedConnections) Sum() uint64 { return f.Unanswered + f.Refused + f.Unreachable }

func failedConnections(c *dataplane.FailureCounts) FailedConnections {
	return FailedConnections{c.Unanswered, c.Refused, c.Unreachable}
}

// failedCounts is a snapshot of FailedConnections.
type failedCounts FailedConnections

func (c failedCounts) since(past failedCounts) failedCounts {
	return failedCounts{c.Unanswered - past.Unanswered, c.Refused - past.Refused, c.Unreachable - past.Unreachable}
}

func (c failedCounts) sum() uint64 { return FailedConnections(c).Sum() }

// checkPassiveLocked counts the failures of a server since the last call, and fails the
// server, or takes it back, accordingly.
func (b *Balancer) checkPassiveLocked(s *server, now time.Time) {
	p, v := &s.passive, s.service
	set := &v.policy.passive
	if !p.until.IsZero() && !now.Before(p.until) {
		b.resetPassiveLocked(s)
		if b.setFailedLocked(s, sourcePassive, false, "") && s.news() == EventServerUp {
			b.noteLocked(Event{Kind: EventServerUp, Service: v.name, Server: s.name, Action: s.action(), Since: time.Now(),
				Reason: "on trial: its hold time is over"})
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
	bad, enough := s.failing(failed)
	if bad.sum() >= enough && s.up && !p.suspected {
		p.suspected = true
		b.noteLocked(Event{Kind: EventServerSuspect, Service: v.name, Server: s.name, Reason: s.diagnose(bad), Since: time.Now()})
	}
}

// failing returns the failures in a row, of all so far, and how many make a server suspect:
// fewer, and those of all times, where it has never served a connection.
func (s *server) failing(all failedCounts) (bad failedCounts, enough uint64) {
	if s.passive.served == 0 {
		return all, suspectNew
	}
	return all.since(s.passive.past), suspectAfter
}

// diagnosis says what the failed connections of a server that is suspect mean; "" where it
// is not.
func (s *server) diagnosis(c *dataplane.Counters) string {
	if !s.passive.suspected {
		return ""
	}
	bad, _ := s.failing(failedCounts(failedConnections(&c.Failed)))
	return s.diagnose(bad)
}

// passesCheck reports whether a check of the server's own address passes.
func (s *server) passesCheck() bool {
	return slices.ContainsFunc(s.checks, func(c serverCheck) bool { return c.itself && c.known && c.reason == "" && c.key != "" })
}

// resetPassiveLocked forgets the failures of a server.
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

// diagnose returns what the failed connections mean and what to do, for people.
func (s *server) diagnose(bad failedCounts) string {
	dead := "it is dead, "
	if s.passesCheck() {
		dead = "though its check passes: "
	}
	switch {
	case 4*bad.Unreachable >= bad.sum(): // routers limit the rate of ICMP errors (RFC 1812 §4.3.2.8): the others are repeated SYNs
		return fmt.Sprintf("%d connections in a row failed, of which %d were answered by ICMP unreachable: %s or a router or firewall "+
			"before it refuses them", bad.sum(), bad.Unreachable, s.address)
	case bad.Refused > bad.Unanswered:
		return fmt.Sprintf("%d connections in a row were reset by %s: nothing listens there", bad.sum(), s.addrPort())
	case s.method == NAT:
		return fmt.Sprintf("%d connections in a row got no answer from %s: %sits answers do not come back through this host, which has "+
			"to be its default gateway, or a firewall drops their SYNs", bad.sum(), s.addrPort(), dead)
	}
	decapsulate := ""
	if s.method == TUN {
		decapsulate = "take packets out of the tunnel and "
	}
	return fmt.Sprintf("%d connections in a row to %s stay in SYN_RECV, their clients repeat the SYN and never acknowledge an answer: "+
		"%sthe VIP is missing on its loopback (ip addr add VIP/32 dev lo), or its answers do not reach clients. It has to %sbe silent "+
		"about the VIP (sysctl net.ipv4.conf.all.arp_ignore=1 and arp_announce=2), not filter by reverse path (rp_filter=0), and "+
		"listen on the VIP or all addresses", bad.sum(), s.address, dead, decapsulate)
}
