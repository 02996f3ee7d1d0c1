package lb_test

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest"
)

// fragNeeded is what a router with a narrow link behind it answers to the IP packet.
func fragNeeded(router, to netip.Addr, mtu uint16, packet []byte) lbtest.Frame {
	m := []byte{3, 4, 0, 0, 0, 0, byte(mtu >> 8), byte(mtu)}
	m = append(m, packet[:min(len(packet), 100)]...)
	sum := uint32(0)
	for i := 0; i+1 < len(m); i += 2 {
		sum += uint32(m[i])<<8 | uint32(m[i+1])
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(m[2:], ^uint16(sum))
	f := lbtest.Packet{
		SrcMAC: clientMAC, DstMAC: balancerMAC, Protocol: 1,
		Src: netip.AddrPortFrom(router, 0), Dst: netip.AddrPortFrom(to, 0),
	}
	return f.With(m)
}

// TestPathMTUOfATunnelIsBelievedOnlyOfItsOwnPackets forges ICMP errors: after none of them
// does the tunnel take less than before.
func TestPathMTUOfATunnelIsBelievedOnlyOfItsOwnPackets(t *testing.T) {
	router := netip.MustParseAddr("10.0.9.9")
	source := func(p []byte, a netip.Addr) []byte { copy(p[12:], a.AsSlice()); return p }
	for _, c := range []struct {
		name string
		to   netip.Addr
		mtu  uint16
		edit func(quoted []byte) []byte
	}{
		{"to another host", server4(201), 1300, nil},
		{"to the VIP", vip4, 1300, nil},
		{"quotes another source", server4(200), 1300, func(p []byte) []byte { return source(p, server4(201)) }},
		{"quotes and is for another source", server4(201), 1300, func(p []byte) []byte { return source(p, server4(201)) }},
		{"quotes another server", server4(200), 1300, func(p []byte) []byte { p[19] ^= 3; return p }},
		{"quotes no connection", server4(200), 1300, func(p []byte) []byte { p[41]++; return p }},
		{"quotes another client", server4(200), 1300, func(p []byte) []byte { p[20+15]++; return p }},
		{"quotes another VIP", server4(200), 1300, func(p []byte) []byte { p[20+19]++; return p }},
		{"quotes no whole inner packet", server4(200), 1300, func(p []byte) []byte { return p[:28] }},
		{"narrower than any link", server4(200), 575, nil},
		{"as wide as the packet is long", server4(200), 1460, nil},
		{"wider than the interface", server4(200), 9000, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := service(vip4, 2)
			s.Method = lb.TUN
			b := start(t, lb.Config{Services: []lb.Service{s}})
			to := netip.AddrPortFrom(vip4, 80)
			b.send(client(1), to, forward.FlagSYN)
			big := lbtest.Packet{
				SrcMAC: clientMAC, DstMAC: balancerMAC, Src: client(1), Dst: to,
				Flags: forward.FlagACK, DF: true, Payload: make([]byte, 1400),
			}
			sent := b.inject(big.Frame())
			if len(sent) != 1 {
				t.Fatalf("%d frames", len(sent))
			}
			quoted := append([]byte(nil), sent[0].Data[14:]...)
			if c.edit != nil {
				quoted = c.edit(quoted)
			}
			if told := b.inject(fragNeeded(router, c.to, c.mtu, quoted)); len(told) != 0 {
				t.Errorf("%d frames after the forged error", len(told))
			}
			if sent = b.inject(big.Frame()); len(sent) != 1 || len(sent[0].Data) != 14+20+20+20+1400 {
				t.Errorf("the next packet came out in %d frames: the forged error was believed", len(sent))
			}
			if drops := b.balancer.Stats().Drops; len(drops) != 1 {
				t.Errorf("drops: %v, want one reason", drops)
			}
		})
	}
}

func TestPathMTUOfATunnelIsLearntToldAndForgotten(t *testing.T) {
	s := service(vip4, 1)
	s.Method = lb.TUN
	b := start(t, lb.Config{Services: []lb.Service{s}})
	to := netip.AddrPortFrom(vip4, 80)
	b.send(client(1), to, forward.FlagSYN)
	big := lbtest.Packet{
		SrcMAC: clientMAC, DstMAC: balancerMAC, Src: client(1), Dst: to,
		Flags: forward.FlagACK, DF: true, Payload: make([]byte, 1400),
	}
	router := netip.MustParseAddr("10.0.9.9")

	sent := b.inject(big.Frame())
	if len(sent) != 1 || len(sent[0].Data) != 14+20+20+20+1400 {
		t.Fatalf("sent %d frames, want the packet in one tunnel packet", len(sent))
	}
	told := b.inject(fragNeeded(router, server4(200), 1300, sent[0].Data[14:]))
	if len(told) != 1 {
		t.Fatalf("%d frames after the router's error, want one to the client", len(told))
	}
	var p forward.Packet
	f := forward.Frame{Buf: told[0].Data, Tail: len(told[0].Data)}
	if r := forward.Parse(&f, &p); r != forward.None || p.Dst.Netip() != client(1).Addr() || p.Src.Netip() != vip4 || forward.MTU(&f, &p) != 1280 {
		t.Fatalf("told %v: %v > %v, MTU %d; want the VIP to tell the client 1280", r, p.Src, p.Dst, forward.MTU(&f, &p))
	}
	again := b.inject(big.Frame())
	if len(again) != 1 || forward.MAC(again[0].Data) != clientMAC {
		t.Fatalf("the packet was sent again: %d frames, want an answer to the client", len(again))
	}
	b.clock.Advance(11 * time.Minute)
	deadline := time.Now().Add(time.Minute)
	for {
		b.send(client(2), to, forward.FlagSYN)
		big.Src = client(2)
		if sent = b.inject(big.Frame()); len(sent) == 1 && len(sent[0].Data) == 14+20+20+20+1400 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the path MTU is still what it was eleven minutes ago")
		}
		time.Sleep(10 * time.Millisecond)
	}
}
