package forward

import "testing"

// edit returns the packet of s with bytes overwritten: at, value pairs.
func edit(s spec, changes ...int) []byte {
	b := s.build()
	for i := 0; i < len(changes); i += 2 {
		b[changes[i]] = byte(changes[i+1])
	}
	if b[0]>>4 == 4 && len(b) >= 20 {
		if hl := int(b[0]&15) * 4; hl >= 20 && hl <= len(b) {
			b[10], b[11] = 0, 0
			c := ^refSum(b[:hl])
			b[10], b[11] = byte(c>>8), byte(c)
		}
	}
	return b
}

func cut(b []byte, n int) []byte { return b[:n] }

var (
	tcp4Spec = spec{src: client4, dst: vip4, sport: 40001, dport: 80, proto: ProtoTCP, flags: FlagSYN, payload: []byte("hello")}
	udp4Spec = spec{src: client4, dst: vip4, sport: 40001, dport: 53, proto: ProtoUDP, payload: []byte("hello golb")}
	tcp6Spec = spec{src: client6, dst: vip6, sport: 40001, dport: 80, proto: ProtoTCP, flags: FlagACK, payload: []byte("hello")}
	udp6Spec = spec{src: client6, dst: vip6, sport: 40001, dport: 53, proto: ProtoUDP, payload: []byte("hello golb")}
	echo4    = spec{src: client4, dst: vip4, proto: ProtoICMP, payload: []byte{8, 0, 0, 0, 1, 2, 0, 1, 'a', 'b'}}
	echo6    = spec{src: client6, dst: vip6, proto: ProtoICMPv6, payload: []byte{128, 0, 0, 0, 1, 2, 0, 1, 'a', 'b'}}
	sctpSpec = spec{src: client4, dst: vip4, sport: 5000, dport: 3868, proto: ProtoSCTP, payload: []byte{1, 0, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}}
)

func (s spec) with(ext uint8, options ...byte) spec {
	s.ext, s.options = ext, options
	return s
}

func TestParseRefusesWhatIsMalformed(t *testing.T) {
	many := make([]byte, 0, 80)
	for range 9 {
		many = append(many, extDest, 0, 1, 4, 0, 0, 0, 0)
	}
	many[len(many)-8] = ProtoTCP
	for _, c := range []struct {
		name   string
		packet []byte
		want   Reason
	}{
		{"IPv4 header cut short", cut(tcp4Spec.build(), 19), TooShort},
		{"IPv4 version 5", edit(tcp4Spec, 0, 0x55), BadIPHeader},
		{"IPv4 header length 16", edit(tcp4Spec, 0, 0x44), BadIPHeader},
		{"IPv4 header longer than the frame", cut(edit(tcp4Spec, 0, 0x4f), 40), BadIPHeader},
		{"IPv4 length 0, as of BIG TCP", edit(tcp4Spec, 2, 0, 3, 0), BadLength},
		{"IPv4 length below the header's", edit(tcp4Spec, 2, 0, 3, 19), BadLength},
		{"IPv4 length beyond the frame", edit(tcp4Spec, 3, 46), BadLength},
		{"IPv4 header checksum", append(tcp4Spec.build()[:8], append([]byte{62}, tcp4Spec.build()[9:]...)...), BadIPChecksum},
		{"IPv4 fragment beyond 65535", edit(tcp4Spec, 6, 0x1f, 7, 0xff), BadFragment},
		{"IPv4 fragment not a multiple of 8", edit(udp4Spec, 6, 0x20, 7, 0), BadFragment},
		{"IPv4 fragment without data", cut(edit(udp4Spec, 3, 20, 6, 0, 7, 9), 20), BadFragment},
		{"TCP header cut short", cut(edit(tcp4Spec, 3, 39), 39), BadL4Header},
		{"TCP offset 4", edit(tcp4Spec, 32, 0x40), BadL4Header},
		{"TCP offset beyond the packet", edit(tcp4Spec, 32, 0xf0), BadL4Header},
		{"TCP first fragment of 16 bytes", cut(edit(tcp4Spec, 3, 36, 6, 0x20), 36), BadL4Header},
		{"UDP header cut short", cut(edit(udp4Spec, 3, 27), 27), BadL4Header},
		{"UDP length 7", edit(udp4Spec, 25, 7), BadLength},
		{"UDP length beyond the packet", edit(udp4Spec, 25, 19), BadLength},
		{"SCTP header cut short", cut(edit(sctpSpec, 3, 31), 31), BadL4Header},
		{"ICMP header cut short", cut(edit(echo4, 3, 27), 27), BadL4Header},
		{"IPv6 header cut short", cut(tcp6Spec.build(), 39), TooShort},
		{"IPv6 version 4", edit(tcp6Spec, 0, 0x50), BadIPHeader},
		{"IPv6 length 0: a jumbogram", edit(tcp6Spec, 4, 0, 5, 0), BadLength},
		{"IPv6 length beyond the frame", edit(tcp6Spec, 5, 26), BadLength},
		{"IPv6 extension header cut short", cut(edit(tcp6Spec, 5, 7, 6, extDest), 47), BadExtensionHeader},
		{"IPv6 extension header beyond the packet", edit(tcp6Spec, 6, extDest, 41, 200), BadExtensionHeader},
		{"IPv6 hop-by-hop not first", tcp6Spec.with(extDest, extHopByHop, 0, 1, 4, 0, 0, 0, 0, ProtoTCP, 0, 1, 4, 0, 0, 0, 0).build(), BadExtensionHeader},
		{"IPv6 routing header with segments left", tcp6Spec.with(extRouting, ProtoTCP, 0, 0, 1, 0, 0, 0, 0).build(), BadExtensionHeader},
		{"IPv6 two fragment headers", tcp6Spec.with(extFragment, extFragment, 0, 0, 0, 0, 0, 0, 0, ProtoTCP, 0, 0, 0, 0, 0, 0, 0).build(), BadExtensionHeader},
		{"IPv6 nine extension headers", tcp6Spec.with(extDest, many...).build(), BadExtensionHeader},
		{"IPv6 fragment not a multiple of 8", udp6Spec.with(extFragment, ProtoUDP, 0, 0, 1, 0, 0, 0, 1).build(), BadFragment},
		{"IPv6 fragment beyond 65535", udp6Spec.with(extFragment, ProtoUDP, 0, 0xff, 0xf8, 0, 0, 0, 1).build(), BadFragment},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := frameOf(c.packet, 0)
			if c.packet[0]>>4 == 5 { // frameOf takes the EtherType from the version
				copy(f.Bytes()[12:], map[bool][]byte{true: {0x86, 0xdd}, false: {8, 0}}[len(c.packet) > 0 && c.packet[6] == ProtoTCP && c.packet[0] == 0x50])
			}
			var p Packet
			if r := Parse(f, &p); r != c.want {
				t.Errorf("%v, want %v", r, c.want)
			}
		})
	}
}

func TestParseChecksTheEthernetHeader(t *testing.T) {
	for _, c := range []struct {
		name  string
		frame []byte
		want  Reason
	}{
		{"nothing", nil, TooShort},
		{"13 bytes", make([]byte, 13), TooShort},
		{"ARP", append(make([]byte, 12), 0x08, 0x06, 0, 1), NotIP},
		{"VLAN tag", append(append(make([]byte, 12), 0x81, 0, 0, 5, 8, 0), tcp4Spec.build()...), NotIP},
		{"IEEE 802.3 length", append(append(make([]byte, 12), 0, 45), tcp4Spec.build()...), NotIP},
		{"IPv4 alone", append(make([]byte, 12), 8, 0), TooShort},
		{"IPv6 alone", append(make([]byte, 12), 0x86, 0xdd), TooShort},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p Packet
			if r := Parse(&Frame{Buf: c.frame, Tail: len(c.frame)}, &p); r != c.want {
				t.Errorf("%v, want %v", r, c.want)
			}
		})
	}
}

func TestParseChecksThatTheOffloadHeaderFits(t *testing.T) {
	ok := Offload{NeedsCsum: true, CsumStart: 34, CsumOffset: 16}
	gso := func(o Offload, g GSOType, size uint16) Offload {
		o.GSO, o.GSOSize = g, size
		return o
	}
	later := edit(udp4Spec, 6, 0, 7, 9)
	for _, c := range []struct {
		name    string
		packet  []byte
		offload Offload
		want    Reason
	}{
		{"partial TCP checksum", tcp4Spec.build(), ok, None},
		{"partial inner checksum of a tunnel over UDP", udp4Spec.build(), Offload{NeedsCsum: true, CsumStart: 42, CsumOffset: 6}, None},
		{"checksum starts in the IP header", tcp4Spec.build(), Offload{NeedsCsum: true, CsumStart: 20, CsumOffset: 16}, BadOffload},
		{"checksum of another protocol", tcp4Spec.build(), Offload{NeedsCsum: true, CsumStart: 34, CsumOffset: 6}, BadOffload},
		{"checksum starts in the transport header", tcp4Spec.build(), Offload{NeedsCsum: true, CsumStart: 36, CsumOffset: 0}, BadOffload},
		{"checksum in TCP's payload", tcp4Spec.build(), Offload{NeedsCsum: true, CsumStart: 54, CsumOffset: 0}, BadOffload},
		{"checksum beyond the packet", tcp4Spec.build(), Offload{NeedsCsum: true, CsumStart: 44, CsumOffset: 16}, BadOffload},
		{"checksum far beyond", tcp4Spec.build(), Offload{NeedsCsum: true, CsumStart: 65535, CsumOffset: 65535}, BadOffload},
		{"TCPv4 super-packet", tcp4Spec.build(), gso(ok, GSOTCPv4, 2), None},
		{"TCPv4 super-packet with ECN", tcp4Spec.build(), gso(ok, GSOTCPv4|GSOECN, 2), None},
		{"TCPv4 super-packet merged by hardware", tcp4Spec.build(), gso(Offload{DataValid: true}, GSOTCPv4, 2), None},
		{"segments of 0 bytes", tcp4Spec.build(), gso(ok, GSOTCPv4, 0), BadOffload},
		{"TCPv6 type on IPv4", tcp4Spec.build(), gso(ok, GSOTCPv6, 2), BadOffload},
		{"TCPv4 type on UDP", udp4Spec.build(), gso(Offload{NeedsCsum: true, CsumStart: 34, CsumOffset: 6}, GSOTCPv4, 2), BadOffload},
		{"UDP fragmentation offload", udp4Spec.build(), gso(Offload{NeedsCsum: true, CsumStart: 34, CsumOffset: 6}, GSOUDP, 2), BadOffload},
		{"UDP super-packet", udp4Spec.build(), gso(Offload{NeedsCsum: true, CsumStart: 34, CsumOffset: 6}, GSOUDPL4, 2), None},
		{"unknown type", tcp4Spec.build(), gso(ok, 7, 2), BadOffload},
		{"super-packet with an inner checksum", tcp4Spec.build(), gso(Offload{NeedsCsum: true, CsumStart: 35, CsumOffset: 6}, GSOTCPv4, 2), BadOffload},
		{"partial checksum of a fragment", later, ok, BadOffload},
		{"super-packet that is a fragment", later, gso(Offload{}, GSOUDPL4, 2), BadOffload},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := frameOf(c.packet, 0)
			f.Offload = c.offload
			var p Packet
			if r := Parse(f, &p); r != c.want {
				t.Errorf("%v, want %v", r, c.want)
			}
		})
	}
}

func TestParseDistinguishesFragments(t *testing.T) {
	head := func(off, more byte) []byte { return []byte{ProtoUDP, 0, 0, off | more, 0, 1, 2, 3} }
	data := udp6Spec
	data.payload = make([]byte, 16)
	data4 := udp4Spec
	data4.payload, data4.id = make([]byte, 16), 0x0203
	for _, c := range []struct {
		name   string
		packet []byte
		frag   FragKind
		off    uint16
		more   bool
		id     uint32
		dport  uint16
	}{
		{"IPv4 whole", data4.build(), NotFrag, 0, false, 0x0203, 53},
		{"IPv4 first", edit(data4, 6, 0x20), FirstFrag, 0, true, 0x0203, 53},
		{"IPv4 middle", edit(data4, 6, 0x20, 7, 3), LaterFrag, 24, true, 0x0203, 0},
		{"IPv4 last", edit(data4, 6, 0x1f, 7, 0x00), LaterFrag, 0xf800, false, 0x0203, 0},
		{"IPv6 whole", data.build(), NotFrag, 0, false, 0, 53},
		{"IPv6 atomic", data.with(extFragment, head(0, 0)...).build(), NotFrag, 0, false, 0x10203, 53},
		{"IPv6 first", data.with(extFragment, head(0, 1)...).build(), FirstFrag, 0, true, 0x10203, 53},
		{"IPv6 middle", data.with(extFragment, head(24, 1)...).build(), LaterFrag, 24, true, 0x10203, 0},
		{"IPv6 last", data.with(extFragment, head(24, 0)...).build(), LaterFrag, 24, false, 0x10203, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := mustParse(t, frameOf(c.packet, 0))
			if p.Frag != c.frag || p.FragOff != c.off || p.MoreFrags != c.more || p.FragID != c.id || p.DstPort != c.dport || p.Proto != ProtoUDP {
				t.Errorf("%+v", p)
			}
		})
	}
}

func TestParseFindsTheDecidingSCTPChunk(t *testing.T) {
	for _, c := range []struct {
		name   string
		chunks []byte
		want   uint8
	}{
		{"none", nil, SCTPNoChunk},
		{"cut short", []byte{1, 0, 0}, SCTPNoChunk},
		{"INIT", []byte{1, 0, 0, 4}, 1},
		{"COOKIE ECHO and DATA", []byte{10, 0, 0, 5, 9, 0, 0, 0, 0, 0, 0, 4}, 10},
		{"COOKIE ECHO and ABORT", []byte{10, 0, 0, 5, 9, 0, 0, 0, 6, 0, 0, 4}, 6},
		{"COOKIE ACK and ABORT", []byte{11, 0, 0, 4, 6, 0, 0, 4}, 6},
		{"COOKIE ACK of length 0", []byte{11, 0, 0, 0, 6, 0, 0, 4}, 11},
		{"COOKIE ACK beyond the packet", []byte{11, 0, 255, 255, 6, 0, 0, 4}, 11},
		{"DATA and ABORT", []byte{0, 0, 0, 4, 6, 0, 0, 4}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := sctpSpec
			s.payload = c.chunks
			if got := mustParse(t, frameOf(s.build(), 0)).SCTPChunk; got != c.want {
				t.Errorf("%d, want %d", got, c.want)
			}
		})
	}
}

func TestParseFindsOtherProperties(t *testing.T) {
	p := mustParse(t, frameOf(tcp6Spec.with(extHopByHop, ProtoTCP, 0, 1, 4, 0, 0, 0, 0).build(), 0))
	if !p.HopByHop || p.DstPort != 80 || p.L4 != 62 {
		t.Errorf("hop-by-hop: %+v", p)
	}
	p = mustParse(t, frameOf(echo4.build(), 0))
	if p.SrcPort != 0x0102 || p.DstPort != 0x0102 || !p.IsEchoRequest() || p.IsICMPError() {
		t.Errorf("echo: %+v", p)
	}
	p = mustParse(t, frameOf(echo6.build(), 0))
	if p.SrcPort != 0x0102 || !p.IsEchoRequest() || p.IsICMPError() {
		t.Errorf("ICMPv6 echo: %+v", p)
	}
	s := tcp4Spec
	s.proto, s.payload = ProtoESP, []byte{1, 2, 3, 4}
	p = mustParse(t, frameOf(s.build(), 0))
	if p.Proto != ProtoESP || p.SrcPort != 0 || p.Payload != p.L4 || p.PayloadLen() != 4 {
		t.Errorf("ESP: %+v", p)
	}
	f := frameOf(append(tcp4Spec.build(), 0, 0, 0), 0)
	p = mustParse(t, f)
	if p.End != f.Len()-3 || p.PayloadLen() != 5 {
		t.Errorf("padding: %+v", p)
	}
}

func TestNetLenIsThatOfOneSegment(t *testing.T) {
	s := tcp4Spec
	s.payload = make([]byte, 4000)
	f := frameOf(s.build(), 0)
	p := mustParse(t, f)
	if n := p.NetLen(f); n != 4040 {
		t.Errorf("whole: %d", n)
	}
	f.Offload.GSO, f.Offload.GSOSize = GSOTCPv4, 1460
	if n := p.NetLen(f); n != 1500 {
		t.Errorf("super-packet: %d", n)
	}
	f.Offload.GSOSize = 60000
	if n := p.NetLen(f); n != 4040 {
		t.Errorf("one segment: %d", n)
	}
}
