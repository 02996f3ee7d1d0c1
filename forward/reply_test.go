package forward

import (
	"bytes"
	"testing"
)

func TestMayAnswerOnlySingleHosts(t *testing.T) {
	icmp := func(typ byte) spec {
		s := echo4
		s.payload = append([]byte{typ}, s.payload[1:]...)
		return s
	}
	icmp6 := func(typ byte) spec {
		s := echo6
		s.payload = append([]byte{typ}, s.payload[1:]...)
		return s
	}
	from := func(s spec, src string) spec { s.src = addr(src); return s }
	to := func(s spec, dst string) spec { s.dst = addr(dst); return s }
	for _, c := range []struct {
		name string
		spec spec
		want bool
	}{
		{"TCP", tcp4Spec, true},
		{"UDP over IPv6", udp6Spec, true},
		{"ICMP echo", echo4, true},
		{"ICMP unreachable", icmp(ICMPUnreachable), false},
		{"ICMP source quench", icmp(ICMPSourceQuench), false},
		{"ICMP redirect", icmp(ICMPRedirect), false},
		{"ICMP time exceeded", icmp(ICMPTimeExceeded), false},
		{"ICMP parameter problem", icmp(ICMPParameter), false},
		{"ICMPv6 echo", echo6, true},
		{"ICMPv6 packet too big", icmp6(ICMPv6TooBig), false},
		{"ICMPv6 unknown error", icmp6(100), false},
		{"ICMPv6 redirect", icmp6(ICMPv6Redirect), false},
		{"from 0.0.0.0", from(tcp4Spec, "0.0.0.0"), false},
		{"from loopback", from(tcp4Spec, "127.0.0.1"), false},
		{"from multicast", from(tcp4Spec, "224.0.0.1"), false},
		{"from broadcast", from(tcp4Spec, "255.255.255.255"), false},
		{"from class E", from(tcp4Spec, "240.0.0.1"), false},
		{"to multicast", to(tcp4Spec, "239.1.1.1"), false},
		{"to broadcast", to(tcp4Spec, "255.255.255.255"), false},
		{"from ::", from(tcp6Spec, "::"), false},
		{"from ::1", from(tcp6Spec, "::1"), false},
		{"from ff02::1", from(tcp6Spec, "ff02::1"), false},
		{"to ff02::1", to(tcp6Spec, "ff02::1"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := frameOf(c.spec.build(), 0)
			p := mustParse(t, f)
			if got := MayAnswer(f, p); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
			if out := frameOf(nil, MaxReply); TimeExceeded(out, f, p, c.spec.dst, 1) != c.want {
				t.Errorf("time exceeded: not %v", c.want)
			}
		})
	}
	f := frameOf(tcp4Spec.build(), 0)
	p := mustParse(t, f)
	SetMACs(f, MAC{1}, macA)
	if MayAnswer(f, p) {
		t.Error("a frame to a group")
	}
	f = frameOf(edit(udp4Spec, 7, 9), 0)
	if MayAnswer(f, mustParse(t, f)) {
		t.Error("a later fragment")
	}
}

func TestErrorsQuoteAsMuchAsFits(t *testing.T) {
	for _, c := range []struct {
		spec spec
		len  int // of the error's IP packet, for a payload of 9000 bytes
		head int
	}{{udp4Spec, 576, 28}, {udp6Spec, 1280, 48}} {
		for _, n := range []int{0, 1, 100, 519, 520, 521, 1183, 1184, 1185, 9000} {
			s := c.spec
			s.payload = pattern(n, 3)
			f := frameOf(append(s.build(), 0xee, 0xee), 0) // padding is not quoted
			p := mustParse(t, f)
			out := frameOf(nil, MaxReply)
			if !TooBig(out, f, p, s.dst, 5, 1400) {
				t.Fatal("nothing to send")
			}
			check(t, out)
			q := mustParse(t, out)
			fullLen := p.End - p.L3
			if want := min(c.len, c.head+fullLen); q.End-q.L3 != want {
				t.Errorf("%d bytes of %d, want %d", q.End-q.L3, fullLen, want)
			}
			if quote := out.Bytes()[q.Payload:q.End]; !bytes.HasPrefix(f.Bytes()[p.L3:p.End], quote) {
				t.Error("the quote is not the packet")
			}
			if q.Src != s.dst || q.Dst != s.src || q.TTL != 64 || MTU(out, q) != 1400 {
				t.Errorf("%+v, MTU %d", q, MTU(out, q))
			}
			if DstMAC(out) != macA || SrcMAC(out) != macB {
				t.Errorf("MACs %v %v", DstMAC(out), SrcMAC(out))
			}
		}
	}
}

func TestBuildersNeedRoomAndAnAddressOfTheFamily(t *testing.T) {
	f := frameOf(tcp4Spec.build(), 0)
	p := mustParse(t, f)
	for n := range EthernetLen + 20 + 8 + p.End - p.L3 {
		out := &Frame{Buf: make([]byte, 10+n), Head: 10}
		if PortUnreachable(out, f, p, vip4, 1) {
			t.Fatalf("wrote %d bytes into %d", out.Len(), n)
		}
	}
	for n := range EthernetLen + 40 {
		out := &Frame{Buf: make([]byte, 10+n), Head: 10}
		if TCPReset(out, f, p, vip4) {
			t.Fatalf("wrote %d bytes into %d", out.Len(), n)
		}
	}
	if PortUnreachable(frameOf(nil, MaxReply), f, p, vip6, 1) {
		t.Error("an IPv6 source for an IPv4 packet")
	}
}

func TestResetAnswersAsRFC9293Says(t *testing.T) {
	for _, c := range []struct {
		name     string
		flags    uint8
		payload  string
		seq, ack uint32 // of the reset
		reply    uint8
	}{
		{"SYN", FlagSYN, "", 0, 1001, FlagRST | FlagACK},
		{"SYN with data", FlagSYN, "abc", 0, 1004, FlagRST | FlagACK},
		{"FIN without ACK", FlagFIN, "abc", 0, 1004, FlagRST | FlagACK},
		{"nothing", 0, "", 0, 1000, FlagRST | FlagACK},
		{"ACK", FlagACK, "abc", 2000, 0, FlagRST},
		{"SYN-ACK", FlagSYN | FlagACK, "", 2000, 0, FlagRST},
	} {
		for _, s := range []spec{tcp4Spec, tcp6Spec} {
			t.Run(c.name, func(t *testing.T) {
				s.flags, s.payload, s.seq, s.ack, s.tos = c.flags, []byte(c.payload), 1000, 2000, 0xbb
				f := frameOf(s.build(), 0)
				p := mustParse(t, f)
				out := frameOf(nil, MaxReply)
				if !TCPReset(out, f, p, s.dst) {
					t.Fatal("no reset")
				}
				check(t, out)
				q := mustParse(t, out)
				h := tcp(out.Bytes()[q.L4:])
				if h.seq() != c.seq || h.ack() != c.ack || q.TCPFlags != c.reply || q.SrcPort != 80 || q.DstPort != 40001 || q.TOS != 0xb8 {
					t.Errorf("seq %d ack %d, %+v", h.seq(), h.ack(), q)
				}
			})
		}
	}
}

func TestResetIsNotForEverySegment(t *testing.T) {
	out := frameOf(nil, MaxReply)
	s := tcp4Spec
	s.flags = FlagRST
	bad := tcp4Spec.build()
	bad[30] ^= 1
	for name, b := range map[string][]byte{
		"a reset": s.build(), "a damaged segment": bad, "UDP": udp4Spec.build(), "a first fragment": edit(tcp4Spec, 3, 44, 6, 0x20)[:44],
	} {
		f := frameOf(b, 0)
		if TCPReset(out, f, mustParse(t, f), vip4) {
			t.Errorf("%s was reset", name)
		}
	}
}

func TestEchoIsAnsweredInPlaceAlsoInFragments(t *testing.T) {
	for _, s := range []spec{echo4, echo6} {
		s.df = true
		s.payload = append(s.payload[:8:8], pattern(3000, 9)...)
		f := frameOf(s.build(), 0)
		want := s
		want.src, want.dst, want.ttl, want.df, want.id = s.dst, s.src, 64, false, 7
		want.payload = append([]byte{map[byte]byte{8: 0, 128: 129}[s.payload[0]]}, s.payload[1:]...)
		if !EchoReply(f, mustParse(t, f), 7) {
			t.Fatal("no reply")
		}
		if got := packetOf(f); !bytes.Equal(got, want.build()) {
			t.Errorf("got % x", got[:60])
		}
		if DstMAC(f) != macA || SrcMAC(f) != macB {
			t.Error("MACs")
		}

		s.df = false
		f = frameOf(s.build(), 0)
		var g Fragmenter
		mustDo(t, g.Start(f, mustParse(t, f), 1400, 55))
		var got []byte
		for {
			o, q := frameOf(nil, g.FrameLen()), new(Packet)
			if !g.Next(o, q) {
				break
			}
			if !EchoReply(o, q, 99) {
				t.Fatal("no reply to a fragment")
			}
			check(t, o)
			got = append(got, o.Bytes()[q.L4:q.End]...)
		}
		checkTransport(t, got, s.dst, s.src, s.proto)
		if !bytes.Equal(got[8:], s.payload[8:]) || got[0] != want.payload[0] {
			t.Error("fragments of the reply are not the reply")
		}
	}
}

func TestEchoIsNotAnsweredWhenItShouldNotBe(t *testing.T) {
	damaged := echo4.build()
	damaged[29] ^= 1
	reply := echo4
	reply.payload = append([]byte{0}, reply.payload[1:]...)
	group := echo4
	group.dst = addr("224.0.0.1")
	for name, b := range map[string][]byte{
		"damaged": damaged, "a reply": reply.build(), "TCP": tcp4Spec.build(), "to a group": group.build(),
	} {
		f := frameOf(b, 0)
		if EchoReply(f, mustParse(t, f), 1) {
			t.Errorf("%s was answered", name)
		}
	}
	f := frameOf(echo4.build(), 0)
	SetMACs(f, MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, macA)
	if EchoReply(f, mustParse(t, f), 1) {
		t.Error("a broadcast was answered")
	}
}
