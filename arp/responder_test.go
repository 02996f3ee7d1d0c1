package arp

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	marp "github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
)

var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// newTestMachine is at MAC 1 with host address 1, has VIPs 100, resolves 2 and probes
// for 50, of both protocols. What it sends is collected.
func newTestMachine(t testing.TB) (*machine, *[][]byte) {
	t.Helper()
	cfg, err := Config{Interface: "eth0"}.withDefaults()
	must(t, err)
	m := newMachine(cfg, state{mac: macOf(1), up: true,
		addrs: []netip.Prefix{netip.MustParsePrefix(v4.host(1)), netip.MustParsePrefix(v6.host(1))}})
	sent := new([][]byte)
	m.send = func(f []byte) bool { *sent = append(*sent, f); return true }
	m.notify = func(n *notice) {
		if call := n.prepare(); call != nil {
			call()
		}
	}
	m.afterSend = func(call func()) { call() }
	m.random = func() float64 { return 0.5 }
	vips := map[netip.Addr]VIP{}
	for _, a := range []netip.Addr{v4.addr(100), v6.addr(100)} {
		v := VIP{Addr: a}
		v.Announce, err = v.Announce.withDefaults()
		must(t, err)
		vips[a] = v
	}
	m.setVIPs(vips, epoch)
	for _, w := range []nums{v4, v6} {
		m.resolve(w.addr(2), &subscriber{changed: func([6]byte, bool) {}}, epoch)
		m.probe(w.addr(50), make(chan error, 1), epoch)
	}
	m.timers.run(epoch)
	*sent = nil
	return m, sent
}

func TestAnswers(t *testing.T) {
	other := mac{0x02, 0, 0, 0, 0, 9}
	for _, w := range []nums{v4, v6} {
		vip, them := w.addr(100), w.addr(3)
		q := func(from, target netip.Addr, to mac) []byte { return request(macOf(3), from, target, to) }
		unspecified := none4
		if w == v6 {
			unspecified = none6
		}
		answered := [][]byte{reply(macOf(1), &message{asked: vip, claimed: them, mac: macOf(3)})}
		for _, tc := range []struct {
			name     string
			frame    []byte
			want     [][]byte
			conflict bool
		}{
			{"a request to all", q(them, vip, mac{}), answered, false},
			{"a request to us", q(them, vip, macOf(1)), answered, false},
			{"a request to another host", q(them, vip, other), nil, false},
			{"a request for another address", q(them, w.addr(101), mac{}), nil, false},
			{"a request for the host's own address", q(them, w.addr(1), mac{}), nil, false},
			{"a probe", q(unspecified, vip, mac{}), [][]byte{reply(macOf(1), &message{asked: vip, mac: macOf(3)})}, false},
			{"an announcement, by defense", announcement(macOf(3), vip)[0], announcement(macOf(1), vip), true},
			{"our own announcement come back", announcement(macOf(1), vip)[0], nil, false},
			{"a VIP as the source of a request, by defense", q(vip, w.addr(101), mac{}), announcement(macOf(1), vip), true},
			{"an answer that is for another host, by defense",
				reply(macOf(3), &message{asked: vip, claimed: them, mac: other}), announcement(macOf(1), vip), true},
		} {
			t.Run(w.name+"/"+tc.name, func(t *testing.T) {
				m, sent := newTestMachine(t)
				m.input(tc.frame, epoch)
				if d := cmp.Diff(dump(tc.want), dump(*sent)); d != "" {
					t.Errorf("(-want +got)\n%s", d)
				}
				if got := m.stats.Conflicts == 1; got != tc.conflict {
					t.Errorf("%d conflicts counted", m.stats.Conflicts)
				}
			})
		}
	}
}

func dump(fs [][]byte) string {
	var b strings.Builder
	for _, f := range fs {
		b.WriteString(hex.Dump(f))
	}
	return b.String()
}

func TestNSWithoutSourceOptionIsAnsweredToItsEthernetSource(t *testing.T) {
	m, sent := newTestMachine(t)
	m.input(ndFrame(macOf(3), macOf(1), b2, v6.addr(100), &ndp.NeighborSolicitation{TargetAddress: v6.addr(100)}), epoch)
	want := [][]byte{reply(macOf(1), &message{asked: v6.addr(100), claimed: b2, mac: macOf(3)})}
	if d := cmp.Diff(dump(want), dump(*sent)); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestNAWithoutTargetOptionConfirms(t *testing.T) {
	m, _ := newTestMachine(t)
	m.input(announcement(macOf(2), b2)[0], epoch)
	n := m.neighbors[b2]
	if !n.valid || !n.timer.at.Equal(epoch) {
		t.Fatalf("known %t, next request at %s: an announcement confirms nothing", n.valid, n.timer.at)
	}
	m.input(ndFrame(macOf(2), macOf(1), b2, b1, &ndp.NeighborAdvertisement{Solicited: true, TargetAddress: b2}), epoch)
	if want := epoch.Add(20 * time.Second); !n.timer.at.Equal(want) {
		t.Errorf("next request at %s, want %s", n.timer.at, want)
	}
}

func TestMalformedFramesAreCountedAndDropped(t *testing.T) {
	m, sent := newTestMachine(t)
	m.input(request(macOf(3), a2, v4.addr(100), mac{})[:30], epoch)
	m.input([]byte("x"), epoch)
	if m.stats.Malformed != 2 || len(*sent) != 0 {
		t.Errorf("%d counted, %d answered", m.stats.Malformed, len(*sent))
	}
}

func TestARPReplyToABroadcastIsNoAnswerToUs(t *testing.T) {
	m, _ := newTestMachine(t)
	f := arpFrame(marp.OperationReply, macOf(2), broadcast, a2, macOf(2), a2)
	m.input(f, epoch)
	if n := m.neighbors[a2]; !n.valid || !n.timer.at.Equal(epoch) {
		t.Errorf("known %t, next request at %s: a gratuitous reply confirms nothing", n.valid, n.timer.at)
	}
}
