package forward

import (
	"bytes"
	"encoding/binary"
	"testing"
)

func TestMayAnswerLeavesAloneWhatIsNotOneHosts(t *testing.T) {
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
			whole := p.End - p.L3
			if want := min(c.len, c.head+whole); q.End-q.L3 != want {
				t.Errorf("%d bytes of %d, want %d", q.End-q.L3, whole, want)
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

func TestBuildersWantRoomAndAnAddressOfTheFamily(t *testing.T) {
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
}

// errorAbout builds an ICMP error from router about the packet quote.
func errorAbout(quote []byte, router, to Addr) spec {
	s := spec{src: router, dst: to, proto: ProtoICMP, payload: append([]byte{3, 4, 0, 0, 0, 0, 5, 0x78}, quote...)}
	if !router.Is4() {
		s.proto = ProtoICMPv6
		s.payload[0], s.payload[1] = 2, 0
	}
	return s
}

func TestParseEmbeddedFindsWhatIsQuoted(t *testing.T) {
	from4 := spec{src: vip4, dst: client4, sport: 80, dport: 40001, proto: ProtoTCP, df: true, payload: make([]byte, 1000)}
	from6 := from4
	from6.src, from6.dst = vip6, client6
	ext := from6.with(extDest, ProtoTCP, 0, 1, 4, 0, 0, 0, 0)
	opt := from4
	opt.options = []byte{1, 1, 1, 0}
	icmp := echo4
	icmp.src, icmp.dst = vip4, client4
	for _, c := range []struct {
		name  string
		quote []byte
		sport uint16
		want  Reason
	}{
		{"IPv4, 8 bytes of TCP", cut(from4.build(), 28), 80, None},
		{"IPv4, 576 bytes", cut(from4.build(), 576), 80, None},
		{"IPv4, options", cut(opt.build(), 32), 80, None},
		{"IPv4, 7 bytes of TCP", cut(from4.build(), 27), 0, BadEmbedded},
		{"IPv4, options cut short", cut(opt.build(), 22), 0, BadEmbedded},
		{"IPv4, header cut short", cut(from4.build(), 19), 0, BadEmbedded},
		{"IPv4, header length 12", edit(from4, 0, 0x43), 0, BadEmbedded},
		{"IPv4, total length 4", edit(from4, 2, 0, 3, 4), 0, BadEmbedded},
		{"IPv4, total length of less than the ports", edit(from4, 2, 0, 3, 24), 0, BadEmbedded},
		{"IPv4, version 6", edit(from4, 0, 0x65), 0, BadEmbedded},
		{"IPv4, later fragment", cut(edit(from4, 6, 0, 7, 8), 20), 0, None},
		{"IPv4, echo reply", icmp.build(), 0x0102, None},
		{"IPv4, nothing", nil, 0, BadEmbedded},
		{"IPv6, 8 bytes of TCP", cut(from6.build(), 48), 80, None},
		{"IPv6, extension header", cut(ext.build(), 56), 80, None},
		{"IPv6, extension header alone", cut(ext.build(), 48), 0, BadEmbedded},
		{"IPv6, 7 bytes of TCP", cut(from6.build(), 47), 0, BadEmbedded},
		{"IPv6, header cut short", cut(from6.build(), 39), 0, BadEmbedded},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := errorAbout(c.quote, addr("172.31.0.1"), vip4)
			if c.name[3] == '6' {
				s = errorAbout(c.quote, addr("2001:db8:ffff::1"), vip6)
			}
			f := frameOf(s.build(), 0)
			p := mustParse(t, f)
			if !p.IsRelated() || MTU(f, p) != 1400 {
				t.Fatalf("not related, or MTU %d", MTU(f, p))
			}
			var q Packet
			if r := ParseEmbedded(f, p, &q); r != c.want {
				t.Fatalf("%v, want %v", r, c.want)
			}
			if c.want == None && (q.SrcPort != c.sport || q.Src != s.dst || q.L3 != p.Payload) {
				t.Errorf("%+v", q)
			}
		})
	}
	for name, s := range map[string]spec{"an echo": echo4, "TCP": tcp4Spec} {
		f := frameOf(s.build(), 0)
		var q Packet
		if r := ParseEmbedded(f, mustParse(t, f), &q); r != BadEmbedded {
			t.Errorf("%s: %v", name, r)
		}
	}
}

func TestNATOfErrorsTranslatesBothHeaders(t *testing.T) {
	for _, c := range []struct{ client, vip, server, router Addr }{
		{client4, vip4, server4, addr("172.31.0.1")}, {client6, vip6, server6, addr("2001:db8:ffff::1")},
	} {
		for _, proto := range []uint8{ProtoTCP, ProtoUDP, ProtoSCTP} {
			quoted := spec{src: c.vip, dst: c.client, sport: 80, dport: 40001, proto: proto, payload: pattern(100, 1)}
			f := frameOf(errorAbout(quoted.build(), c.router, c.vip).build(), 0)
			p, q := mustParse(t, f), new(Packet)
			mustDo(t, ParseEmbedded(f, p, q))
			mustDo(t, NATEmbeddedRequest(f, p, q, c.server, 8080))
			checkEmbedded(t, f, p, q, c.router, c.server)
			if q.Src != c.server || q.SrcPort != 8080 || q.Dst != c.client || q.DstPort != 40001 {
				t.Errorf("%+v", q)
			}
			mustDo(t, NATEmbeddedRequest(f, p, q, c.vip, 80))
			FinishChecksum(f, p)
			if want := errorAbout(quoted.build(), c.router, c.vip).build(); !bytes.Equal(packetOf(f), want) {
				t.Errorf("there and back:\n got % x\nwant % x", packetOf(f), want)
			}

			quoted = spec{src: c.client, dst: c.server, sport: 40001, dport: 8080, proto: proto, payload: pattern(100, 1)}
			f = frameOf(errorAbout(quoted.build(), c.router, c.client).build(), 0)
			p, q = mustParse(t, f), new(Packet)
			mustDo(t, ParseEmbedded(f, p, q))
			mustDo(t, NATEmbeddedReply(f, p, q, c.vip, 80))
			checkEmbedded(t, f, p, q, c.vip, c.client)
			if q.Dst != c.vip || q.DstPort != 80 || q.Src != c.client || q.SrcPort != 40001 {
				t.Errorf("%+v", q)
			}
		}
	}
	f := frameOf(errorAbout(tcp4Spec.build(), client4, vip4).build(), 0)
	p, q := mustParse(t, f), new(Packet)
	mustDo(t, ParseEmbedded(f, p, q))
	if r := NATEmbeddedReply(f, p, q, vip6, 80); r != FamilyMismatch {
		t.Errorf("to IPv6: %v", r)
	}
}

// checkEmbedded holds both IP headers against p and q, and all checksums but the
// quoted transport's, which the kernel leaves too.
func checkEmbedded(t *testing.T, f *Frame, p, q *Packet, src, dst Addr) {
	t.Helper()
	check(t, f)
	again := mustParse(t, f)
	if *again != *p || p.Src != src || p.Dst != dst {
		t.Errorf("outer %+v, want %+v", p, again)
	}
	var e Packet
	mustDo(t, ParseEmbedded(f, p, &e))
	if e != *q {
		t.Errorf("quoted %+v, want %+v", q, e)
	}
	if b := f.Bytes()[q.L3:]; q.Version == 4 && refSum(b[:20]) != 0xffff {
		t.Error("quoted header's checksum")
	}
}

func TestErrorsAboutTunnelPacketsLeadToTheSender(t *testing.T) {
	for _, s := range []spec{tcp4Spec, tcp6Spec} {
		for _, over6 := range []bool{false, true} {
			for _, kind := range []TunnelKind{IPIP, GUE, GRE} {
				for _, csum := range []bool{false, true} {
					tun := &Tunnel{Kind: kind, Csum: csum, Port: guePort, Local: local4, Remote: server4}
					router := addr("10.9.0.254")
					if over6 {
						tun.Local, tun.Remote, router = local6, server6, addr("fd00:9::fe")
					}
					s.payload = pattern(1000, 2)
					f := frameOf(s.build(), 0)
					p := mustParse(t, f)
					mustDo(t, Encapsulate(f, p, tun, 1, 2))
					FinishChecksum(f, p)
					e := frameOf(errorAbout(packetOf(f)[:500], router, tun.Local).build(), 0)
					ep, q, inner := mustParse(t, e), new(Packet), new(Packet)
					mustDo(t, ParseEmbedded(e, ep, q))
					mustDo(t, ParseTunneled(e, q, inner))
					if inner.Src != s.src || inner.Dst != s.dst || inner.SrcPort != s.sport || inner.DstPort != s.dport || q.Dst != tun.Remote {
						t.Fatalf("%v over v6 %v: %+v", kind, over6, inner)
					}
					out := frameOf(nil, MaxReply)
					if !TooBig(out, e, inner, s.dst, 3, 1400-tun.Overhead()) {
						t.Fatal("nothing for the sender")
					}
					check(t, out)
					r := mustParse(t, out)
					if quote := out.Bytes()[r.Payload:r.End]; r.Dst != s.src || !bytes.HasPrefix(s.build(), quote) || len(quote) < 28 {
						t.Errorf("quotes %d bytes to %v", len(quote), r.Dst)
					}
				}
			}
		}
	}
}

func TestParseTunneledRefusesWhatIsNoTunnel(t *testing.T) {
	gre := spec{src: local4, dst: server4, proto: ProtoGRE, payload: append([]byte{0, 0, 0x65, 0x58}, tcp4Spec.build()...)}
	control := spec{src: local4, dst: server4, proto: ProtoUDP, dport: guePort, payload: append([]byte{0x20, 4, 0, 0}, tcp4Spec.build()...)}
	for name, b := range map[string][]byte{
		"TCP": tcp4Spec.build(), "Ethernet in GRE": gre.build(), "GUE control": control.build(),
		"UDP cut before GUE": udp4Spec.build()[:30], "ESP": edit(gre, 9, ProtoESP),
		"GRE cut before IP": gre.build()[:30],
	} {
		f := frameOf(errorAbout(b, addr("10.9.0.254"), local4).build(), 0)
		p, q, inner := mustParse(t, f), new(Packet), new(Packet)
		mustDo(t, ParseEmbedded(f, p, q))
		if r := ParseTunneled(f, q, inner); r != BadEmbedded {
			t.Errorf("%s: %v", name, r)
		}
	}
}

func TestRewritersRefuseWhatTheyCannotDo(t *testing.T) {
	f := frameOf(tcp4Spec.build(), 0)
	p := mustParse(t, f)
	was, wasP := append([]byte{}, f.Buf...), *p
	if r := NATRequest(f, p, server6, 80); r != FamilyMismatch {
		t.Errorf("NAT to IPv6: %v", r)
	}
	if r := Encapsulate(f, p, &Tunnel{Local: local4, Remote: server6}, 1, 1); r != FamilyMismatch {
		t.Errorf("tunnel between families: %v", r)
	}
	f.Head = 19
	if r := Encapsulate(f, p, &Tunnel{Local: local4, Remote: server4}, 1, 1); r != NoHeadroom {
		t.Errorf("tunnel in 19 bytes of headroom: %v", r)
	}
	f.Head = Headroom
	if !bytes.Equal(f.Buf, was) || *p != wasP {
		t.Error("and changed the frame")
	}
	df := tcp4Spec
	df.df = true
	f = frameOf(df.build(), 0)
	var g Fragmenter
	if r := g.Start(f, mustParse(t, f), 40, 1); r != NotFragmentable {
		t.Errorf("fragmented despite DF: %v", r)
	}
	f = frameOf(tcp4Spec.build(), 0)
	if r := g.Start(f, mustParse(t, f), 27, 1); r != NotFragmentable {
		t.Errorf("fragments of 7 bytes: %v", r)
	}
	if g.Next(frameOf(nil, 2000), p) {
		t.Error("and gave one")
	}
	var s Segmenter
	if r := s.Start(f, mustParse(t, f), 0); r != BadOffload {
		t.Errorf("segmented a plain packet: %v", r)
	}
	if s.Next(frameOf(nil, 2000), p) {
		t.Error("and gave one")
	}
}

func TestSCTPFragmentsKeepTheirPorts(t *testing.T) {
	s := sctpSpec
	s.payload = sctpData(pattern(2000, 1))
	f := frameOf(s.build(), 0)
	var g Fragmenter
	mustDo(t, g.Start(f, mustParse(t, f), 1000, 1))
	o, q := frameOf(nil, g.FrameLen()), new(Packet)
	g.Next(o, q)
	was := append([]byte{}, o.Bytes()...)
	if r := NATRequest(o, q, server4, 1); r != FragmentedSCTP || !bytes.Equal(was, o.Bytes()) {
		t.Errorf("%v", r)
	}
	mustDo(t, NATRequest(o, q, server4, s.dport))
}

func TestTCPMayBeCutSmallerThanItsSenderSaid(t *testing.T) {
	s := tcp4Spec
	s.payload = pattern(1000, 1)
	f := frameOf(s.build(), 0)
	var g Segmenter
	mustDo(t, g.Start(f, mustParse(t, f), 300))
	if g.Count() != 4 {
		t.Fatalf("%d segments", g.Count())
	}
	out, q := frameOf(nil, 1500), new(Packet)
	for n := 0; g.Next(out, q); n++ {
		check(t, out)
		if seq := binary.BigEndian.Uint32(out.Bytes()[q.L4+4:]); seq != uint32(300*n) {
			t.Errorf("segment %d: sequence number %d", n, seq)
		}
	}
}

func TestIteratorsStopAtALentBufferThatIsTooSmall(t *testing.T) {
	s := udp4Spec
	s.payload = pattern(1000, 1)
	f := frameOf(s.build(), 0)
	p, q := mustParse(t, f), new(Packet)
	var g Fragmenter
	mustDo(t, g.Start(f, p, 500, 1))
	if g.Next(&Frame{Buf: make([]byte, g.FrameLen()-1)}, q) {
		t.Error("fragment")
	}
	if !g.Next(&Frame{Buf: make([]byte, g.FrameLen())}, q) || q.FragOff != 0 {
		t.Error("the fragment is lost")
	}
	f.Offload.GSO, f.Offload.GSOSize = GSOUDPL4, 500
	var c Segmenter
	mustDo(t, c.Start(f, p, 0))
	if c.Next(&Frame{Buf: make([]byte, c.FrameLen()-1)}, q) {
		t.Error("segment")
	}
	if !c.Next(&Frame{Buf: make([]byte, c.FrameLen())}, q) {
		t.Error("the segment is lost")
	}
}

// A UDP checksum that comes to 0 is sent as 0xffff (RFC 768): 0 would say that
// there is none. Of all ports, one gives 0.
func TestAUDPChecksumNeverBecomesNone(t *testing.T) {
	for _, s := range []spec{udp4Spec, udp6Spec} {
		nat, finished := 0, 0
		for port := range 65536 {
			f := frameOf(s.build(), 0)
			p := mustParse(t, f)
			mustDo(t, NATRequest(f, p, p.Dst, uint16(port)))
			if got := f.Bytes()[p.L4+6:]; got[0]|got[1] == 0 {
				t.Fatalf("NAT to port %d takes the checksum away", port)
			} else if got[0]&got[1] == 0xff {
				nat++
				check(t, f)
			}
			binary.BigEndian.PutUint16(f.Bytes()[p.L4+6:], refSum(refPseudo(p.Src, p.Dst, p.Proto, p.End-p.L4)))
			f.Offload = Offload{NeedsCsum: true, CsumStart: uint16(p.L4), CsumOffset: 6}
			FinishChecksum(f, p)
			if got := f.Bytes()[p.L4+6:]; got[0]|got[1] == 0 {
				t.Fatalf("finishing at port %d takes the checksum away", port)
			} else if got[0]&got[1] == 0xff {
				finished++
			}
		}
		if nat == 0 || finished == 0 {
			t.Errorf("met %d and %d times, so nothing was tested", nat, finished)
		}
	}
}

func TestLaterFragmentsHaveTheCopiedOptionsAlone(t *testing.T) {
	s := udp4Spec
	s.payload = pattern(100, 1)
	s.options = []byte{1, 7, 3, 4, 0x94, 4, 0, 0, 68, 4, 5, 0, 0x82, 3, 9, 0}
	f := frameOf(s.build(), 0)
	var g Fragmenter
	mustDo(t, g.Start(f, mustParse(t, f), 68, 1))
	out, q := frameOf(nil, 200), new(Packet)
	for n := 0; g.Next(out, q); n++ {
		want := s.options
		if n > 0 {
			want = []byte{1, 1, 1, 1, 0x94, 4, 0, 0, 1, 1, 1, 1, 0x82, 3, 9, 0}
		}
		if got := packetOf(out)[20:36]; !bytes.Equal(got, want) {
			t.Errorf("fragment %d: options % x, want % x", n, got, want)
		}
		check(t, out)
	}
}

func TestMalformedOptionsAreLeftAlone(t *testing.T) {
	for _, o := range [][]byte{{7, 9, 4, 0}, {7, 1, 4, 0}, {1, 1, 1, 7}} {
		was := append([]byte{}, o...)
		if blankOptions(o); !bytes.Equal(o, was) {
			t.Errorf("% x became % x", was, o)
		}
	}
}

// Routers quote headers whose checksum they have not kept up with the TTL. The
// kernel mends them (ip_send_check in ip_vs_nat_icmp).
func TestNATOfErrorsMendsTheQuotedHeader(t *testing.T) {
	quote := spec{src: vip4, dst: client4, sport: 80, dport: 40001, proto: ProtoUDP}.build()
	quote[8]--
	f := frameOf(errorAbout(quote, client4, vip4).build(), 0)
	p, q := mustParse(t, f), new(Packet)
	mustDo(t, ParseEmbedded(f, p, q))
	mustDo(t, NATEmbeddedRequest(f, p, q, server4, 8080))
	checkEmbedded(t, f, p, q, client4, server4)
}
