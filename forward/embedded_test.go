package forward

import (
	"bytes"
	"testing"
)

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
		{"IPv4, later fragment, options cut short", cut(edit(opt, 6, 0, 7, 8), 22), 0, BadEmbedded},
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
	echo := errorAbout(from4.build(), addr("172.31.0.1"), vip4)
	echo.payload[0], echo.payload[1] = ICMPEcho, 0
	fragment := errorAbout(cut(from4.build(), 40), addr("172.31.0.1"), vip4)
	for name, b := range map[string][]byte{
		"an echo": echo.build(), "TCP": tcp4Spec.build(), "a fragment": edit(fragment, 6, 0x20), "an IPv6 redirect": redirect6(from6.build()),
	} {
		f := frameOf(b, 0)
		var q Packet
		if r := ParseEmbedded(f, mustParse(t, f), &q); r != BadEmbedded {
			t.Errorf("%s: %v", name, r)
		}
	}
}

// redirect6 is an ICMPv6 redirect (RFC 4861 §4.5), read as if it quoted a packet.
func redirect6(quote []byte) []byte {
	s := errorAbout(quote, addr("2001:db8:ffff::1"), vip6)
	s.payload[0] = ICMPv6Redirect
	return s.build()
}

func TestWhichErrorsAreRelatedAndCarryAnMTU(t *testing.T) {
	for _, tt := range []struct {
		v6        bool
		typ, code byte
		isError   bool
		related   bool
		mtu       int
	}{
		{false, ICMPUnreachable, 4, true, true, 1400},
		{false, ICMPUnreachable, 3, true, true, 0},
		{false, ICMPSourceQuench, 4, true, true, 0},
		{false, ICMPTimeExceeded, 0, true, true, 0},
		{false, ICMPRedirect, 0, true, false, 0},
		{false, ICMPParameter, 4, true, false, 0},
		{false, ICMPv6TooBig, 0, false, false, 0},
		{false, ICMPEcho, 4, false, false, 0},
		{true, ICMPv6Unreachable, 4, true, true, 0},
		{true, ICMPv6TooBig, 0, true, true, 1400},
		{true, ICMPUnreachable, 4, true, true, 0}, // in ICMPv6, time exceeded
		{true, 100, 0, true, true, 0},
		{true, ICMPv6Redirect, 0, true, false, 0},
		{true, ICMPv6Echo, 0, false, false, 0},
	} {
		s := errorAbout(tcp4Spec.build(), addr("172.31.0.1"), vip4)
		if tt.v6 {
			s = errorAbout(tcp6Spec.build(), addr("2001:db8:ffff::1"), vip6)
		}
		s.payload[0], s.payload[1] = tt.typ, tt.code
		f := frameOf(s.build(), 0)
		p := mustParse(t, f)
		if p.IsICMPError() != tt.isError || p.IsRelated() != tt.related || MTU(f, p) != tt.mtu {
			t.Errorf("v6 %v, type %d, code %d: error %v, related %v, MTU %d", tt.v6, tt.typ, tt.code, p.IsICMPError(), p.IsRelated(), MTU(f, p))
		}
	}
	later := errorAbout(tcp4Spec.build(), addr("172.31.0.1"), vip4)
	for name, b := range map[string][]byte{"TCP": tcp4Spec.build(), "a later fragment": edit(later, 6, 0, 7, 9)} {
		f := frameOf(b, 0)
		if p := mustParse(t, f); p.IsICMPError() || p.IsRelated() || MTU(f, p) != 0 {
			t.Errorf("%s: MTU %d", name, MTU(f, p))
		}
	}
}

// Of a quoted packet without ports only the addresses are translated.
func TestNATOfErrorsLeavesWhatIsNotAPort(t *testing.T) {
	from4 := spec{src: vip4, dst: client4, sport: 80, dport: 40001, proto: ProtoTCP, payload: pattern(100, 1)}
	echo := echo4
	echo.src, echo.dst = vip4, client4
	for name, quote := range map[string][]byte{"later fragment": edit(from4, 6, 0, 7, 9), "echo": echo.build()} {
		f := frameOf(errorAbout(quote, addr("172.31.0.1"), vip4).build(), 0)
		p, q := mustParse(t, f), new(Packet)
		mustDo(t, ParseEmbedded(f, p, q))
		mustDo(t, NATEmbeddedRequest(f, p, q, server4, 8080))
		checkEmbedded(t, f, p, q, addr("172.31.0.1"), server4)
		if got := f.Bytes()[q.L4:q.End]; !bytes.Equal(got, quote[20:]) {
			t.Errorf("%s: % x, want % x", name, got, quote[20:])
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

// checkEmbedded checks that both IP headers agree with p and q, and all checksums but the
// quoted transport checksum, which the kernel does not update either.
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

// Some routers quote a header with decremented TTL and the old checksum. The kernel
// computes the checksum (ip_send_check in ip_vs_nat_icmp).
func TestNATOfErrorsFixesTheQuotedHeaderChecksum(t *testing.T) {
	quote := spec{src: vip4, dst: client4, sport: 80, dport: 40001, proto: ProtoUDP}.build()
	quote[8]--
	f := frameOf(errorAbout(quote, client4, vip4).build(), 0)
	p, q := mustParse(t, f), new(Packet)
	mustDo(t, ParseEmbedded(f, p, q))
	mustDo(t, NATEmbeddedRequest(f, p, q, server4, 8080))
	checkEmbedded(t, f, p, q, client4, server4)
}
