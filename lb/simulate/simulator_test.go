package simulate_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest"
	"github.com/golb/golb/lb/simulate"
)

var vip = netip.MustParseAddrPort("10.0.0.100:80")

// config has servers 1 to n for vip.
func config(n int) lb.Config {
	s := lb.Service{VIP: vip.Addr(), Port: vip.Port(), Scheduler: "rr", Check: lb.Check{Type: "none"}}
	for i := 1; i <= n; i++ {
		s.Servers = append(s.Servers, lb.Server{Address: netip.AddrFrom4([4]byte{10, 9, 1, byte(i)})})
	}
	return lb.Config{Services: []lb.Service{s}}
}

func start(t *testing.T, cfg lb.Config, w simulate.World) *simulate.Simulator {
	t.Helper()
	s, err := simulate.New(cfg, w)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// segment is a TCP segment of client n to port of the VIP.
func segment(n int, port uint16, flags uint8) []byte {
	return lbtest.Packet{
		Src: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}), 4000),
		Dst: netip.AddrPortFrom(vip.Addr(), port), Flags: flags,
	}.Bytes()
}

func send(t *testing.T, s *simulate.Simulator, packet []byte) simulate.Step {
	t.Helper()
	step, err := s.Send(packet)
	if err != nil {
		t.Fatal(err)
	}
	return step
}

func TestSendSaysWhereAPacketGoes(t *testing.T) {
	s := start(t, config(2), simulate.World{})
	for i, tc := range []struct {
		packet []byte
		want   string
	}{
		{segment(1, 80, forward.FlagSYN), "10.9.1.2:80 SYN_RECV, to 02:00:00:00:00:02"},
		{segment(2, 80, forward.FlagSYN), "10.9.1.1:80 SYN_RECV, to 02:00:00:00:00:01"},
		{segment(1, 80, forward.FlagACK), "10.9.1.2:80 ESTABLISHED, to 02:00:00:00:00:02"},
		{segment(3, 80, forward.FlagACK), "no_connection, to 02:00:00:00:00:fe"},
		{segment(3, 81, forward.FlagSYN), "no_service, to 02:00:00:00:00:fe"},
	} {
		step := send(t, s, tc.packet)
		got := step.Reason
		if c := step.Connection; c != nil {
			got = fmt.Sprint(c.Server, " ", c.State)
		}
		for _, f := range step.Frames {
			got += ", to " + f.Dst.String()
		}
		if got != tc.want {
			t.Errorf("packet %d: %s, want %s", i, got, tc.want)
		}
	}
}

func TestSendSaysWhoIsDenied(t *testing.T) {
	cfg := config(1)
	if err := json.Unmarshal([]byte(`{"deny": ["192.0.2.0/24"], "allow": ["192.0.2.1", "0.0.0.0/0"]}`), &cfg.Services[0]); err != nil {
		t.Fatal(err)
	}
	s := start(t, cfg, simulate.World{})
	for n, want := range map[int]string{1: "", 2: "denied"} {
		if step := send(t, s, segment(n, 80, forward.FlagSYN)); step.Reason != want {
			t.Errorf("client %d: %q, want %q", n, step.Reason, want)
		}
	}
}

func TestApplyMovesNewConnections(t *testing.T) {
	s := start(t, config(1), simulate.World{})
	send(t, s, segment(1, 80, forward.FlagSYN))
	cfg := config(2)
	cfg.Services[0].Servers[0].Weight = new(0)
	if err := s.Apply(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		packet []byte
		want   string
	}{
		{segment(1, 80, forward.FlagACK), "10.9.1.1:80"},
		{segment(2, 80, forward.FlagSYN), "10.9.1.2:80"},
		{segment(3, 80, forward.FlagSYN), "10.9.1.2:80"},
	} {
		if c := send(t, s, tc.packet).Connection; c == nil || c.Server.String() != tc.want {
			t.Errorf("connection %+v, want server %s", c, tc.want)
		}
	}
}

func TestConnectionsEndWithTheClock(t *testing.T) {
	s := start(t, config(1), simulate.World{})
	send(t, s, segment(1, 80, forward.FlagSYN))
	s.Advance(59 * time.Second)
	if n := s.Balancer().Stats().Connections; n != 1 {
		t.Errorf("%d connections after 59 s in SYN_RECV, want 1", n)
	}
	s.Advance(2 * time.Second)
	if step := send(t, s, segment(1, 80, forward.FlagACK)); step.Connection != nil {
		t.Errorf("an ACK found %+v after 61 s in SYN_RECV", step.Connection)
	}
}

func TestTheSamePacketsHaveTheSameAnswers(t *testing.T) {
	play := func(seed uint64) string {
		cfg := config(20)
		cfg.Services[0].Scheduler = "twos" // draws at random
		s := start(t, cfg, simulate.World{Seed: seed})
		picks := ""
		for n := range 40 {
			picks += send(t, s, segment(n, 80, forward.FlagSYN)).Connection.Server.String() + " "
		}
		return picks
	}
	first := play(1)
	if again := play(1); again != first {
		t.Errorf("the same seed picked\n%s\nthen\n%s", first, again)
	}
	if other := play(2); other == first {
		t.Errorf("seeds 1 and 2 picked the same 40 of 20 servers: %s", other)
	}
}

func TestWorldIsHeldAgainstTheConfig(t *testing.T) {
	w := simulate.World{
		Interface: "lan", MTU: 576, MAC: forward.MAC{2, 7},
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.9.1.250/24")},
		Gateways:  []netip.Addr{netip.MustParseAddr("10.9.1.251")},
		MACOf:     func(a netip.Addr) forward.MAC { return forward.MAC{2, 7, 7, 7, 7, a.As4()[3]} },
	}
	s := start(t, config(1), w)
	f := send(t, s, segment(1, 80, forward.FlagSYN)).Frames
	if len(f) != 1 || f[0].Dst != (forward.MAC{2, 7, 7, 7, 7, 1}) || f[0].Src != w.MAC {
		t.Errorf("sent %+v, want one frame from %s to server 1", f, w.MAC)
	}
	long := lbtest.Packet{Src: netip.MustParseAddrPort("192.0.2.1:4000"), Dst: vip, Flags: forward.FlagACK, DF: true, Payload: make([]byte, 600)}
	if step := send(t, s, long.Bytes()); step.Reason != "mtu_exceeded" {
		t.Errorf("640 bytes with an MTU of 576: %q", step.Reason)
	}

	cfg := config(1)
	cfg.Services[0] = lb.Service{VIP: netip.MustParseAddr("fd00::1"), Port: 80, Servers: []lb.Server{{Address: netip.MustParseAddr("fd00::2")}}}
	w.MACOf = nil
	unreachable, err := simulate.New(cfg, w)
	if err != nil {
		t.Fatal(err)
	}
	syn := lbtest.Packet{Src: netip.MustParseAddrPort("[fd00::9]:4000"), Dst: netip.MustParseAddrPort("[fd00::1]:80"), Flags: forward.FlagSYN}
	if step, err := unreachable.Send(syn.Bytes()); err != nil || step.Connection != nil || step.Reason != "no_server" {
		t.Errorf("a client of a server that no route leads to: %+v, %v", step, err)
	}
	if err := unreachable.Close(); err != nil {
		t.Error(err)
	}
}

func TestSendRefusesWhatIsNoIPPacket(t *testing.T) {
	s := start(t, config(1), simulate.World{})
	for _, packet := range [][]byte{nil, {0x45}, make([]byte, 60), append([]byte{0x60}, make([]byte, 38)...)} {
		if _, err := s.Send(packet); err == nil {
			t.Errorf("%x was sent", packet)
		}
	}
}

func TestCloseLeavesNoGoroutine(t *testing.T) {
	defer goleak.VerifyNone(t)
	s, err := simulate.New(config(1), simulate.World{})
	if err != nil {
		t.Fatal(err)
	}
	send(t, s, segment(1, 80, forward.FlagSYN))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
