package lb

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb/internal/dataplane"
)

// checkPassiveAfter advances the clock and runs the passive checks.
func (x *healthRig) checkPassiveAfter(later time.Duration) {
	x.advance(dataplane.Ticks(later))
	x.b.updateDrains()
}

// eventsOf returns the events of a kind so far.
func (x *healthRig) eventsOf(kind EventKind) []Event {
	return slices.DeleteFunc(slices.Clone(x.events), func(e Event) bool { return e.Kind != kind })
}

// openUnanswered starts n connections whose SYN is repeated.
func (x *healthRig) openUnanswered(n int) {
	for range n {
		x.open()
		x.send(x.client, forward.FlagSYN)
		x.send(x.client, forward.FlagSYN) // counts once
	}
}

func (x *healthRig) failed(n int) FailedConnections {
	x.t.Helper()
	c := x.server(n).dp.Counters()
	return failedConnections(&c.Failed)
}

// TestAServerThatNeverServedIsSuspectSoon: few failures are enough, however long ago, and
// health says what is probably wrong until a connection is established.
func TestAServerThatNeverServedIsSuspectSoon(t *testing.T) {
	x := newHealthRig(t, Service{}, 1)
	for n := range suspectNew {
		if got := x.eventsOf(EventServerSuspect); len(got) != 0 {
			t.Errorf("told after %d: %v", n, got)
		}
		x.openUnanswered(1)
		for range 40 {
			x.checkPassiveAfter(time.Second)
		}
	}
	got := x.eventsOf(EventServerSuspect)
	if len(got) != 1 || !strings.Contains(got[0].Reason, "3 connections in a row") || !strings.Contains(got[0].Reason, "loopback") {
		t.Errorf("told %v", got)
	}
	x.openUnanswered(1)
	if h := x.b.Health()[0].Servers[0]; !strings.Contains(h.Diagnosis, "4 connections in a row") || h.Failed.Sum() != 4 || h.Established != 0 {
		t.Errorf("health %+v", h)
	}
	x.open()
	x.send(x.client, forward.FlagACK)
	x.checkPassiveAfter(time.Second)
	if h := x.b.Health()[0].Servers[0]; h.Diagnosis != "" || h.Established != 1 {
		t.Errorf("health after a connection %+v", h)
	}
}

func TestRepeatedSYNsAreCountedAndTold(t *testing.T) {
	for _, method := range []Method{DSR, TUN, NAT} {
		t.Run(method.String(), func(t *testing.T) {
			x := newHealthRig(t, Service{Method: method}, 1)
			x.open() // it has served one
			x.send(x.client, forward.FlagACK)
			x.checkPassiveAfter(time.Second)
			x.openUnanswered(suspectAfter - 1)
			x.checkPassiveAfter(time.Second)
			if got := x.eventsOf(EventServerSuspect); len(got) != 0 {
				t.Errorf("told too early: %v", got)
			}
			x.openUnanswered(1)
			x.checkPassiveAfter(time.Second)
			x.checkPassiveAfter(time.Second)
			if got, want := x.failed(1), (FailedConnections{Unanswered: suspectAfter}); got != want {
				t.Errorf("counted %+v, want %+v", got, want)
			}
			got := x.eventsOf(EventServerSuspect)
			if len(got) != 1 {
				t.Fatalf("told %d times", len(got))
			}
			wantAll := []string{"SYN_RECV", "loopback", "arp_ignore=1", "10.0.0.1"}
			if method == NAT {
				wantAll = []string{"10.0.0.1:80", "default gateway"}
			}
			for _, w := range wantAll {
				if !strings.Contains(got[0].Reason, w) {
					t.Errorf("%q lacks %q", got[0].Reason, w)
				}
			}
			if st := x.b.Stats().Services[0].Servers[0]; !st.Up || st.Failed.Unanswered != suspectAfter {
				t.Errorf("stats: up %v, unanswered %d", st.Up, st.Failed.Unanswered)
			}
		})
	}
}

func TestServerIsFailedByItsConnections(t *testing.T) {
	x := newHealthRig(t, Service{PassiveCheck: PassiveCheck{Failures: 3, Hold: 40 * time.Second}, Scheduler: "fo"}, 2, 1)
	x.openUnanswered(2)
	x.checkPassiveAfter(time.Second)
	x.openUnanswered(1)
	if got := x.open(); got != 1 {
		t.Fatalf("a connection went to %d before the passive check", got)
	}
	x.checkPassiveAfter(time.Second)
	if got := x.opens(); !slices.Equal(got, []int{2}) {
		t.Errorf("failed: new connections go to %v", got)
	}
	if st := x.b.Stats().Services[0].Servers[0]; st.Up || !strings.Contains(st.Reason, "SYN_RECV") {
		t.Errorf("failed: up %v, %q", st.Up, st.Reason)
	}
	x.send(2, forward.FlagACK) // one that it had is established all the same
	x.checkPassiveAfter(39 * time.Second)
	if got := x.opens(); !slices.Equal(got, []int{2}) {
		t.Errorf("shortly before its time: new connections go to %v", got)
	}
	x.checkPassiveAfter(time.Second)
	if got := x.opens(); !slices.Equal(got, []int{1}) {
		t.Errorf("on trial: new connections go to %v", got)
	}
	x.checkPassiveAfter(time.Second)
	if down, up := x.eventsOf(EventServerDown), x.eventsOf(EventServerUp); len(down) != 1 || len(up) != 1 {
		t.Errorf("told of %v and %v", down, up)
	}
}

func TestEvidenceNeedsToBeRecentAndInARow(t *testing.T) {
	for _, c := range []struct {
		name    string
		between func(x *healthRig)
		up      bool
	}{
		{"at once", func(*healthRig) {}, false},
		{"half a window later", func(x *healthRig) { x.checkPassiveAfter(14 * time.Second) }, false},
		{"two windows later", func(x *healthRig) {
			for range 60 {
				x.checkPassiveAfter(time.Second)
			}
		}, true},
		{"after one that was established", func(x *healthRig) { x.open(); x.send(x.client, forward.FlagACK); x.checkPassiveAfter(0) }, true},
		{"after one that was closed by its client", func(x *healthRig) { x.open(); x.send(x.client, forward.FlagRST); x.checkPassiveAfter(0) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := newHealthRig(t, Service{PassiveCheck: PassiveCheck{Failures: 4}}, 1)
			x.openUnanswered(2)
			x.checkPassiveAfter(time.Second)
			c.between(x)
			x.openUnanswered(2)
			x.checkPassiveAfter(0)
			if got := x.b.Stats().Services[0].Servers[0].Up; got != c.up {
				t.Errorf("up %v, want %v", got, c.up)
			}
		})
	}
}

func TestCheckThatPassesAgainAcquits(t *testing.T) {
	x := newHealthRig(t, Service{PassiveCheck: PassiveCheck{Failures: 3, Hold: time.Hour}}, 1)
	x.openUnanswered(3)
	x.checkPassiveAfter(time.Second)
	x.reportChecks(true, 1) // it never said otherwise
	if x.server(1).up {
		t.Error("up by a check that had seen nothing")
	}
	x.reportChecks(false, 1)
	x.reportChecks(true, 1)
	if !x.server(1).up {
		t.Error("still down after its check failed and passed")
	}
}

func TestNATServersAreSeenToAnswer(t *testing.T) {
	for _, c := range []struct {
		name  string
		flags uint8
		want  FailedConnections
	}{
		{"nothing", 0, FailedConnections{Unanswered: 1}},
		{"SYN-ACK", forward.FlagSYN | forward.FlagACK, FailedConnections{}}, // the client repeats its SYN nonetheless
		{"reset", forward.FlagRST | forward.FlagACK, FailedConnections{Refused: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := newHealthRig(t, Service{Method: NAT}, 1)
			x.open()
			if c.flags != 0 {
				x.reply(c.flags)
			}
			x.send(x.client, forward.FlagSYN)
			if got := x.failed(1); got != c.want {
				t.Errorf("counted %+v, want %+v", got, c.want)
			}
		})
	}
}

// reply sends a segment of server 1 to the client of the last connection.
func (x *healthRig) reply(flags uint8) {
	src := netip.AddrPortFrom(rigServer(1), 80)
	dst := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(x.client)}), 4000)
	x.handle(0, rigFrame(rigServerMAC(rigServer(1)), TCP, src, dst, flags))
}

func TestUnreachablesAreCounted(t *testing.T) {
	for _, method := range []Method{NAT, TUN} {
		for _, c := range []struct {
			typ, code byte
			then      uint8 // what the client sends before
			want      uint64
		}{
			{3, 1, 0, 1},
			{3, 13, 0, 1},
			{3, 4, 0, 0},               // fragmentation needed
			{11, 0, 0, 0},              // time exceeded
			{3, 1, forward.FlagACK, 0}, // established: not for good (RFC 1122 §4.2.3.9)
		} {
			t.Run(fmt.Sprintf("%v/%d,%d after %#x", method, c.typ, c.code, c.then), func(t *testing.T) {
				x := newHealthRig(t, Service{Method: method}, 1)
				src := netip.MustParseAddrPort("198.51.100.1:4000")
				dst := netip.MustParseAddrPort("192.0.2.80:80")
				_, sent := x.handle(0, rigFrame(rigClient, TCP, src, dst, forward.FlagSYN))
				sent = [][]byte{slices.Clone(sent[0])}
				if c.then != 0 {
					x.handle(0, rigFrame(rigClient, TCP, src, dst, c.then))
				}
				to := src.Addr() // of NAT's packets
				if method == TUN {
					to = rigSource(rigServer(1))
				}
				x.handle(0, rigError(c.typ, c.code, netip.MustParseAddr("10.0.0.254"), to, sent[0]))
				if got := x.failed(1).Unreachable; got != c.want {
					t.Errorf("counted %d, want %d", got, c.want)
				}
			})
		}
	}
}

// rigError builds an ICMP error about a frame.
func rigError(typ, code byte, src, dst netip.Addr, about []byte) []byte {
	icmp := append([]byte{typ, code, 0, 0, 0, 0, 0, 0}, about[14:]...)
	if typ == 3 && code == 4 {
		icmp[6], icmp[7] = 1400>>8, 1400&0xff
	}
	sum := rigFold(rigSum(0, icmp))
	icmp[2], icmp[3] = byte(sum>>8), byte(sum)
	b := append(rigMAC[:], rigClient[:]...)
	return append(append(b, rigHeader(1, src, dst, len(icmp))...), icmp...)
}
