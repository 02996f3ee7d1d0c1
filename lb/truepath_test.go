package lb_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest"
)

// TestTruePathProbesAreAnsweredOnTheWire plays the server: what golb sends it, and what
// the answers are taken for.
func TestTruePathProbesAreAnsweredOnTheWire(t *testing.T) {
	for _, c := range []struct {
		name   string
		method lb.Method
		proto  lb.Protocol
		answer uint8 // 0: none
		wrong  bool  // the answer acknowledges something else
		around bool  // the answer comes from another router's MAC
		up     bool
		reason string
	}{
		{"dsr", lb.DSR, lb.TCP, forward.FlagSYN | forward.FlagACK, false, false, true, ""},
		{"nat", lb.NAT, lb.TCP, forward.FlagSYN | forward.FlagACK, false, false, true, ""},
		{"tun", lb.TUN, lb.TCP, forward.FlagSYN | forward.FlagACK, false, false, true, ""},
		{"dsr, port closed", lb.DSR, lb.TCP, forward.FlagRST | forward.FlagACK, false, false, false, "nothing listens"},
		{"dsr of UDP", lb.DSR, lb.UDP, forward.FlagRST | forward.FlagACK, false, false, true, ""},
		{"dsr, silent", lb.DSR, lb.TCP, 0, false, false, false, "loopback"},
		{"tun, silent", lb.TUN, lb.TCP, 0, false, false, false, "tunnel"},
		{"nat, silent", lb.NAT, lb.TCP, 0, false, false, false, "default gateway"},
		{"nat, by another router", lb.NAT, lb.TCP, forward.FlagSYN | forward.FlagACK, false, true, false, "default gateway"},
		{"dsr, another's answer", lb.DSR, lb.TCP, forward.FlagSYN | forward.FlagACK, true, false, false, "loopback"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := service(vip4, 1)
			s.Protocol, s.Method = c.proto, c.method
			s.Check = lb.Check{Type: "none", Through: "vip", Interval: 20 * time.Millisecond, Timeout: time.Minute, Fall: 1, Unchecked: "up"}
			if c.answer == 0 || c.wrong || c.around {
				s.Check.Timeout = 200 * time.Millisecond
			}
			events := make(chan lb.Event, 64)
			b := startWith(t, lb.Config{Services: []lb.Service{s}}, func(e lb.Event) {
				if e.Kind == lb.EventServerDown || e.Kind == lb.EventServerUp {
					events <- e
				}
			})
			resets := make(chan uint32, 64)
			sourced := c.method != lb.NAT // a probe has come from where it should
			b.wire.Station(serverMAC(server4(1)), func(f lbtest.Frame) {
				seg := probeOf(t, f, c.method)
				sourced = sourced || seg.src.Addr() == vip4
				if seg.flags == forward.FlagRST {
					resets <- seg.seq
					return
				}
				if seg.flags != forward.FlagSYN {
					t.Errorf("the server got flags %#x", seg.flags)
				}
				if c.answer == 0 {
					return
				}
				ack := seg.seq + 1
				if c.wrong {
					ack++
				}
				from := serverMAC(server4(1))
				if c.around {
					from = clientMAC
				}
				b.wire.Send(lbtest.Packet{SrcMAC: from, DstMAC: balancerMAC, Src: seg.dst, Dst: seg.src,
					Flags: c.answer, Seq: 7, Ack: ack}.Frame())
			})
			deadline, wasReset := time.After(time.Minute), c.answer&forward.FlagSYN == 0 // a reset is not reset
			for {
				b.wire.Inject() // what workers have sent
				select {
				case seq := <-resets:
					if wasReset = true; c.answer&forward.FlagSYN == 0 || seq == 0 {
						t.Errorf("reset of %d", seq)
					}
				case <-deadline:
					t.Fatal("no verdict")
				case <-time.After(time.Millisecond):
				}
				passed, failed := found(t, b, c.reason)
				switch {
				case passed && !c.up || failed && c.up:
					t.Fatalf("passed %v, failed %v", passed, failed)
				case failed:
					if e := <-events; e.Kind != lb.EventServerDown {
						t.Errorf("%v: %s", e.Kind, e.Reason)
					}
					return
				case passed && wasReset && sourced:
					checkUndisturbed(t, b)
					return
				}
			}
		})
	}
}

// found says whether a probe has passed, and whether one has failed for that reason.
// Where the machine has no time for us a check counts as one that hangs.
func found(t *testing.T, b *bench, reason string) (passed, failed bool) {
	t.Helper()
	for _, r := range b.balancer.Health()[0].Servers[0].Path.Recent {
		switch {
		case r.Reason == "":
			passed = true
		case reason != "" && strings.Contains(r.Reason, reason):
			failed = true
		case !strings.Contains(r.Reason, "hangs"):
			t.Fatalf("a probe fails: %s", r.Reason)
		}
	}
	return passed, failed
}

// checkUndisturbed sees that a probe left no trace.
func checkUndisturbed(t *testing.T, b *bench) {
	t.Helper()
	st := b.balancer.Stats()
	r := st.Services[0].Servers[0]
	if st.Connections != 0 || r.Connections+r.InPackets+r.OutPackets != 0 || len(st.Drops) != 0 || !r.Up {
		t.Errorf("%d connections in the table, drops %v, server %+v", st.Connections, st.Drops, r)
	}
}

type probeSegment struct {
	src, dst netip.AddrPort
	seq      uint32
	flags    uint8
}

// probeOf reads a probe as its server does: out of the tunnel, if there is one.
func probeOf(t *testing.T, f lbtest.Frame, method lb.Method) (s probeSegment) {
	t.Helper()
	ip := f.Data[14:]
	if method == lb.TUN {
		ip = ip[20:]
	}
	addr := func(at int) netip.Addr { return netip.AddrFrom4([4]byte(ip[at:])) }
	s.src = netip.AddrPortFrom(addr(12), binary.BigEndian.Uint16(ip[20:]))
	s.dst = netip.AddrPortFrom(addr(16), binary.BigEndian.Uint16(ip[22:]))
	s.seq, s.flags = binary.BigEndian.Uint32(ip[24:]), ip[33]
	want := netip.AddrPortFrom(vip4, 80)
	if method == lb.NAT {
		want = netip.AddrPortFrom(server4(1), 80)
	}
	fromVIP := method == lb.NAT && s.src.Addr() == vip4 // once golb has it: the server answers by its default gateway
	if s.dst != want || s.src.Addr() != server4(200) && !fromVIP {
		t.Errorf("a probe goes from %s to %s, want to %s", s.src, s.dst, want)
	}
	return s
}

func TestTruePathIsConfigured(t *testing.T) {
	base := service(vip4, 1)
	for through, path := range map[string]string{"": "", "vip": "", "server": "services[0].check.through"} {
		s := base
		s.Check.Through = through
		err := (&lb.Config{Interfaces: []string{"eth0"}, Services: []lb.Service{s}}).Validate(lb.Env{})
		if got := fmt.Sprint(err); (err != nil) != (path != "") || !strings.Contains(got, path) {
			t.Errorf("through %q: %v", through, err)
		}
	}
	s := lb.Service{VIP: vip4, Persistence: lb.Persistence{Timeout: time.Minute}, Check: lb.Check{Through: "vip", Port: 80}}
	s.Servers = slices.Clone(base.Servers)
	if err := (&lb.Config{Interfaces: []string{"eth0"}, Services: []lb.Service{s}}).Validate(lb.Env{}); err == nil {
		t.Error("a service of all ports was taken")
	}
}
