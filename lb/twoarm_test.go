package lb_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest"
)

// twoArm is a balancer with clients on one wire and servers on another.
type twoArm struct {
	front, back *lbtest.Wire
	balancer    *lb.Balancer
	got         []lbtest.Frame // by clients and servers
}

var (
	frontMAC  = forward.MAC{2, 0, 0, 0, 0, 2}
	backMAC   = forward.MAC{2, 0, 0, 0, 0, 3}
	nobodyMAC = forward.MAC{2, 0, 0, 0, 0, 4}
)

// sendOnly is a port that receives nothing: its frames have another's address.
type sendOnly struct {
	*lbtest.Port
	mac forward.MAC
}

func (p sendOnly) MAC() forward.MAC { return p.mac }

// startTwoArm runs a balancer whose links answer once for an address.
func startTwoArm(t *testing.T, frontMTU, backMTU int, cfg lb.Config) *twoArm {
	t.Helper()
	a := &twoArm{front: lbtest.NewWire(), back: lbtest.NewWire()}
	collect := func(f lbtest.Frame) { a.got = append(a.got, f) }
	a.front.Station(clientMAC, collect)
	a.back.Station(serverMAC(server4(1)), collect)
	clock := lbtest.NewClock(time.Unix(1e9, 0))
	ready := make(chan struct{})
	cfg.Interfaces, cfg.Workers, cfg.MaxConnections = []string{"front", "back"}, 1, 1<<10
	env := lb.Env{
		Now: clock.Now,
		OpenPorts: func(c lb.PortConfig) ([]lb.Port, error) {
			wire, mac, mtu := a.front, frontMAC, frontMTU
			if c.Interface == "back" {
				wire, mac, mtu = a.back, backMAC, backMTU
			}
			if c.SendOnly {
				return []lb.Port{sendOnly{wire.Port(nobodyMAC, mtu), mac}}, nil
			}
			return []lb.Port{wire.Port(mac, mtu)}, nil
		},
		OpenLink: func(lb.LinkConfig) (lb.Link, error) {
			asked := map[netip.Addr]bool{}
			return &lbtest.Link{MAC: func(addr netip.Addr) (forward.MAC, bool) {
				defer func() { asked[addr] = true }()
				if addr == client(1).Addr() || addr == client6(1).Addr() {
					return clientMAC, !asked[addr]
				}
				return serverMAC(addr), !asked[addr]
			}}, nil
		},
		Route: func(to netip.Addr) (lb.Route, error) {
			switch {
			case to == client(1).Addr() || to == client6(1).Addr():
				return lb.Route{Interface: "front"}, nil
			case to.Is4():
				return lb.Route{Interface: "back", Source: server4(200)}, nil
			}
			return lb.Route{Interface: "back", Source: server6(200)}, nil
		},
		OnEvent: func(e lb.Event) {
			if e.Kind == lb.EventReady {
				close(ready)
			}
		},
	}
	var err error
	if a.balancer, err = lb.New(cfg, env); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.balancer.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	<-ready
	return a
}

// one injects a frame into a wire and returns the one that came of it on either.
func (a *twoArm) one(t *testing.T, wire *lbtest.Wire, f lbtest.Frame) lbtest.Frame {
	t.Helper()
	a.got = nil
	wire.Inject(f)
	a.front.Inject()
	a.back.Inject()
	if len(a.got) != 1 {
		t.Fatalf("%d frames came of it, want 1; dropped: %v", len(a.got), a.balancer.Stats().Drops)
	}
	return a.got[0]
}

// natEnds are those of a connection through NAT.
type natEnds struct{ client, vip, server netip.AddrPort }

func natConfig(at natEnds) lb.Config {
	s := service(at.vip.Addr(), 0)
	s.Method = lb.NAT
	s.Servers = []lb.Server{{Address: at.server.Addr(), Port: at.server.Port()}}
	return lb.Config{Services: []lb.Service{s}}
}

func natCases() map[string]natEnds {
	return map[string]natEnds{
		"IPv4": {client(1), netip.AddrPortFrom(vip4, 80), netip.AddrPortFrom(server4(1), 8080)},
		"IPv6": {client6(1), netip.AddrPortFrom(vip6, 80), netip.AddrPortFrom(server6(1), 8080)},
	}
}

func TestNATBetweenTwoInterfaces(t *testing.T) {
	for name, at := range natCases() {
		t.Run(name, func(t *testing.T) {
			a := startTwoArm(t, 1500, 1500, natConfig(at))
			request := lbtest.Packet{SrcMAC: clientMAC, DstMAC: frontMAC, Src: at.client, Dst: at.vip, Flags: forward.FlagSYN}
			got := a.one(t, a.front, request.Frame())
			want := lbtest.Packet{SrcMAC: backMAC, DstMAC: serverMAC(at.server.Addr()), Src: at.client, Dst: at.server, Flags: forward.FlagSYN, TTL: 63}
			if string(got.Data) != string(want.Frame().Data) {
				t.Errorf("server got\n%x, want\n%x", got.Data, want.Frame().Data)
			}
			reply := lbtest.Packet{SrcMAC: serverMAC(at.server.Addr()), DstMAC: backMAC, Src: at.server, Dst: at.client, Flags: forward.FlagSYN | forward.FlagACK}
			got = a.one(t, a.back, reply.Frame())
			want = lbtest.Packet{SrcMAC: frontMAC, DstMAC: clientMAC, Src: at.vip, Dst: at.client, Flags: forward.FlagSYN | forward.FlagACK, TTL: 63}
			if string(got.Data) != string(want.Frame().Data) {
				t.Errorf("client got\n%x, want\n%x", got.Data, want.Frame().Data)
			}
			s := a.balancer.Stats().Services[0].Servers[0]
			if s.InPackets != 1 || s.OutPackets != 1 {
				t.Errorf("counted %d packets in and %d out, want 1 and 1", s.InPackets, s.OutPackets)
			}
		})
	}
}

// TestAServersSourceCountsOnlyFromWhereTheServerIs sends packets with the source address
// of a server of method NAT from elsewhere.
func TestAServersSourceCountsOnlyFromWhereTheServerIs(t *testing.T) {
	for name, at := range natCases() {
		t.Run(name, func(t *testing.T) {
			a := startTwoArm(t, 1500, 1500, natConfig(at))
			mac := serverMAC(at.server.Addr())
			a.one(t, a.front, lbtest.Packet{SrcMAC: clientMAC, DstMAC: frontMAC, Src: at.client, Dst: at.vip, Flags: forward.FlagSYN}.Frame())
			reply := lbtest.Packet{SrcMAC: mac, DstMAC: backMAC, Src: at.server, Dst: at.client, Flags: forward.FlagSYN | forward.FlagACK}
			own := lbtest.Packet{SrcMAC: mac, DstMAC: backMAC, Src: netip.AddrPortFrom(at.server.Addr(), 5000), Dst: netip.AddrPortFrom(at.client.Addr(), 25), Flags: forward.FlagSYN}
			forgery := func(p lbtest.Packet, from, to forward.MAC) lbtest.Frame {
				p.SrcMAC, p.DstMAC = from, to
				return p.Frame()
			}
			a.one(t, a.back, own.Frame()) // its next hop is asked for
			for i, c := range []struct {
				name  string
				wire  *lbtest.Wire
				frame lbtest.Frame
			}{
				{"a reply on the clients' side", a.front, forgery(reply, clientMAC, frontMAC)},
				{"a reply with the server's MAC on the clients' side", a.front, forgery(reply, mac, frontMAC)},
				{"a connection of the server's on the clients' side", a.front, forgery(own, mac, frontMAC)},
				{"a connection of the server's from another MAC", a.back, forgery(own, nobodyMAC, backMAC)},
				{"an error about a packet to the server on the clients' side", a.front, unreachable(clientMAC, frontMAC, at)},
			} {
				a.got = nil
				c.wire.Inject(c.frame)
				a.front.Inject()
				a.back.Inject()
				if n := a.balancer.Stats().Drops[lb.NotFromServer]; len(a.got) != 0 || n != uint64(i+1) {
					t.Errorf("%s: %d frames came of it, %d counted, want none and %d", c.name, len(a.got), n, i+1)
				}
			}
			a.one(t, a.back, unreachable(mac, backMAC, at))
			a.one(t, a.back, forgery(reply, nobodyMAC, backMAC)) // a server that sends with several MACs (bonding)
		})
	}
}

// unreachable is what the server, or who pretends to be it, answers to the client's packet.
func unreachable(from, to forward.MAC, at natEnds) lbtest.Frame {
	quoted := lbtest.Packet{SrcMAC: backMAC, DstMAC: from, Src: at.client, Dst: at.server, Flags: forward.FlagSYN, TTL: 63}.Frame().Data
	f := forward.Frame{Buf: make([]byte, forward.MaxReply), Head: forward.Headroom}
	in := forward.Frame{Buf: quoted, Tail: len(quoted)}
	var p forward.Packet
	if r := forward.Parse(&in, &p); r != forward.None || !forward.PortUnreachable(&f, &in, &p, forward.AddrFrom(at.server.Addr()), 1) {
		panic(r)
	}
	forward.SetMACs(&f, to, from)
	return lbtest.Frame{Data: f.Bytes()}
}

// The server knows the packet as it sent it: from its own address and port.
func TestReplyTooLongForTheClientsSideIsToldToTheServer(t *testing.T) {
	for name, at := range natCases() {
		t.Run(name, func(t *testing.T) {
			a := startTwoArm(t, 1400, 1500, natConfig(at))
			request := lbtest.Packet{SrcMAC: clientMAC, DstMAC: frontMAC, Src: at.client, Dst: at.vip, Flags: forward.FlagSYN}
			a.one(t, a.front, request.Frame())
			mac := serverMAC(at.server.Addr())
			reply := lbtest.Packet{
				SrcMAC: mac, DstMAC: backMAC, Src: at.server, Dst: at.client,
				Flags: forward.FlagACK, DF: true, Payload: make([]byte, 1420),
			}
			told := a.one(t, a.back, reply.Frame())
			f := forward.Frame{Buf: told.Data, Tail: len(told.Data)}
			var p, q forward.Packet
			if r := forward.Parse(&f, &p); r != forward.None {
				t.Fatal(r)
			}
			if forward.DstMAC(&f) != mac || p.Dst.Netip() != at.server.Addr() || forward.MTU(&f, &p) != 1400 {
				t.Errorf("%s was told %s about MTU %d, want the server of 1400", forward.DstMAC(&f), p.Dst, forward.MTU(&f, &p))
			}
			if r := forward.ParseEmbedded(&f, &p, &q); r != forward.None {
				t.Fatal(r)
			}
			from, to := netip.AddrPortFrom(q.Src.Netip(), q.SrcPort), netip.AddrPortFrom(q.Dst.Netip(), q.DstPort)
			if from != at.server || to != at.client {
				t.Errorf("it is told about %s > %s, want %s > %s", from, to, at.server, at.client)
			}
		})
	}
}

func TestRepliesByRouteGoOnWhileRoutesAreLookedUpAnew(t *testing.T) {
	for name, at := range natCases() {
		t.Run(name, func(t *testing.T) {
			cfg := natConfig(at)
			cfg.Settings.ReplyByRoute = true
			a := startTwoArm(t, 1500, 1500, cfg)
			request := lbtest.Packet{SrcMAC: clientMAC, DstMAC: frontMAC, Src: at.client, Dst: at.vip, Flags: forward.FlagSYN}
			a.one(t, a.front, request.Frame())
			reply := lbtest.Packet{SrcMAC: serverMAC(at.server.Addr()), DstMAC: backMAC, Src: at.server, Dst: at.client, Flags: forward.FlagACK}
			for range 3 {
				if got := a.one(t, a.back, reply.Frame()); forward.MAC(got.Data) != clientMAC {
					t.Errorf("the reply went to %x", got.Data[:6])
				}
				cfg.Interfaces, cfg.Workers, cfg.MaxConnections = []string{"front", "back"}, 1, 1<<10
				if err := a.balancer.Apply(context.Background(), cfg); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
