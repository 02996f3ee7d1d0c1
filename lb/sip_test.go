package lb_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest"
)

func sipService(vip netip.Addr) lb.Service {
	s := service(vip, 3)
	s.Port, s.Protocol, s.Scheduler = 5060, lb.UDP, "rr"
	s.Persistence = lb.Persistence{Timeout: time.Minute, Engine: "sip"}
	return s
}

func sipMessage(method, call string) []byte {
	return fmt.Appendf(nil, "%s sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1\r\nCall-ID: %s\r\nCSeq: 1 %[1]s\r\n\r\n", method, call)
}

// sendSIP sends a datagram and returns the server that got it, 0 where none did.
func (b *bench) sendSIP(from netip.AddrPort, vip netip.Addr, payload []byte) byte {
	b.t.Helper()
	frames := b.inject(lbtest.Packet{
		SrcMAC: clientMAC, DstMAC: balancerMAC, Src: from, Dst: netip.AddrPortFrom(vip, 5060), Protocol: lb.UDP, Payload: payload,
	}.Frame())
	if len(frames) != 1 {
		return 0
	}
	return frames[0].Data[5]
}

func clientOf(vip netip.Addr, n int) netip.AddrPort {
	if vip.Is6() {
		return client6(n)
	}
	return client(n)
}

func TestSIPCallsKeepTheirServer(t *testing.T) {
	for _, vip := range []netip.Addr{vip4, vip6} {
		for _, onePacket := range []bool{false, true} {
			s := sipService(vip)
			s.OnePacket = onePacket
			b := start(t, lb.Config{Services: []lb.Service{s}})
			got := map[byte]int{}
			for call := range 30 {
				id := fmt.Sprintf("call-%d@example.com", call)
				first := b.sendSIP(clientOf(vip, 10*call), vip, sipMessage("INVITE", id))
				for i, method := range []string{"ACK", "BYE", "INVITE"} {
					if n := b.sendSIP(clientOf(vip, 10*call+1+i), vip, sipMessage(method, id)); n != first {
						t.Errorf("%s of call %d went to server %d, its INVITE to %d", method, call, n, first)
					}
				}
				got[first]++
			}
			if got[1] != 10 || got[2] != 10 || got[3] != 10 {
				t.Errorf("30 calls by rr went to servers %v", got)
			}
		}
	}
}

// With one_packet the calls of one port, a proxy's, are told apart.
func TestSIPCallsOfOnePort(t *testing.T) {
	s := sipService(vip4)
	s.OnePacket = true
	b := start(t, lb.Config{Services: []lb.Service{s}})
	first := map[int]byte{}
	for call := range 30 {
		first[call] = b.sendSIP(client(1), vip4, sipMessage("INVITE", fmt.Sprint(call)))
	}
	for call := range 30 {
		if n := b.sendSIP(client(1), vip4, sipMessage("ACK", fmt.Sprint(call))); n != first[call] || n != byte(1+call%3) && first[0] == 1 {
			t.Errorf("call %d: ACK to server %d, INVITE to %d", call, n, first[call])
		}
	}
}

func TestSIPWithAPrefixTellsClientsApart(t *testing.T) {
	s := sipService(vip4)
	s.Persistence.Prefix = 24
	b := start(t, lb.Config{Services: []lb.Service{s}})
	m := sipMessage("INVITE", "one")
	at := func(a string) netip.AddrPort { return netip.MustParseAddrPort(a) }
	first := b.sendSIP(at("198.51.100.1:5060"), vip4, m)
	if n := b.sendSIP(at("198.51.100.9:5060"), vip4, m); n != first {
		t.Errorf("the neighbor's went to server %d, want %d", n, first)
	}
	if n := b.sendSIP(at("198.51.101.1:5060"), vip4, m); n == first {
		t.Errorf("that of another network went to the same server, %d", n)
	}
}

func TestSIPWithoutCallIDIsDropped(t *testing.T) {
	b := start(t, lb.Config{Services: []lb.Service{sipService(vip4)}})
	long := sipMessage("INVITE", strings.Repeat("x", 256))
	for i, m := range [][]byte{[]byte("\r\n\r\n"), nil, []byte("x"), long} {
		if n := b.sendSIP(client(i), vip4, m); n != 0 {
			t.Errorf("%q went to server %d", m, n)
		}
	}
	if n := b.balancer.Stats().Drops[lb.NoCallID]; n != 4 {
		t.Errorf("no_call_id is %d, want 4", n)
	}
	if n := b.sendSIP(client(9), vip4, sipMessage("INVITE", strings.Repeat("x", 255))); n == 0 {
		t.Error("a Call-ID of 255 bytes was dropped")
	}
	if n := b.sendSIP(client(9), vip4, []byte("\r\n\r\n")); n == 0 {
		t.Error("a keep-alive of a known connection was dropped")
	}
}

// A long INVITE comes in fragments, of which the first has the Call-ID.
func TestSIPFragmentsFollowTheirCall(t *testing.T) {
	b := start(t, lb.Config{Services: []lb.Service{sipService(vip4)}})
	want := b.sendSIP(client(1), vip4, sipMessage("INVITE", "one"))
	b.sendSIP(client(2), vip4, sipMessage("INVITE", "two"))
	datagram := lbtest.Packet{
		SrcMAC: clientMAC, DstMAC: balancerMAC, Src: client(3), Dst: netip.AddrPortFrom(vip4, 5060), Protocol: lb.UDP, ID: 7,
		Payload: append(sipMessage("INVITE", "one"), make([]byte, 2000)...),
	}.Frame()
	f := forward.Frame{Buf: datagram.Data, Tail: len(datagram.Data)}
	var p forward.Packet
	var cut forward.Fragmenter
	if r := forward.Parse(&f, &p); r != forward.None {
		t.Fatal(r)
	}
	if r := cut.Start(&f, &p, 1400, 7); r != forward.None {
		t.Fatal(r)
	}
	for n := 1; ; n++ {
		out := forward.Frame{Buf: make([]byte, 2000)}
		if !cut.Next(&out, &p) {
			if n != 3 {
				t.Fatalf("%d fragments", n-1)
			}
			return
		}
		frames := b.inject(lbtest.Frame{Data: out.Bytes()})
		if len(frames) != 1 || frames[0].Data[5] != want {
			t.Errorf("fragment %d went to %d servers, want server %d", n, len(frames), want)
		}
	}
}

func TestSIPTemplatesAreListedByCall(t *testing.T) {
	b := start(t, lb.Config{Services: []lb.Service{sipService(vip4)}})
	for n := range 4 {
		b.sendSIP(client(n), vip4, sipMessage("INVITE", fmt.Sprint(n%2)))
	}
	calls := map[string]bool{}
	for c := range b.balancer.Connections {
		if !c.Template {
			continue
		}
		if len(c.Call) != 32 || c.Client.IsValid() || c.VIP != netip.AddrPortFrom(vip4, 5060) || c.Protocol != lb.UDP {
			t.Errorf("%+v", c)
		}
		calls[c.Call] = true
	}
	if len(calls) != 2 {
		t.Errorf("%d templates, want one of each call", len(calls))
	}
	b.clock.Advance(10 * time.Minute)
	b.balancer.Stats() // ends the connections, which held the templates
	b.clock.Advance(2 * time.Minute)
	if n := b.balancer.Stats().Connections; n != 0 {
		t.Errorf("%d entries after 12 minutes", n)
	}
}

func TestSIPConfigMistakes(t *testing.T) {
	for _, tt := range []struct {
		edit func(*lb.Service)
		want string
	}{
		{func(s *lb.Service) { s.Persistence.Engine = "http" }, "persistence.engine"},
		{func(s *lb.Service) { s.Protocol = lb.TCP }, "persistence.engine"},
		{func(s *lb.Service) {
			s.VIP, s.Port, s.Protocol = netip.Addr{}, 0, 0
			s.Match = []lb.Match{{VIP: lb.VIP{Prefix: netip.MustParsePrefix("192.0.2.80/32")}, Protocols: []lb.Protocol{lb.UDP, lb.TCP}}}
		}, "persistence.engine"},
		{func(*lb.Service) {}, ""},
	} {
		s := sipService(vip4)
		tt.edit(&s)
		_, err := lb.New(lb.Config{Interfaces: []string{"x"}, MaxConnections: 1 << 10, Services: []lb.Service{s}}, lb.Env{})
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", s.Persistence, err, tt.want)
		}
	}
}
