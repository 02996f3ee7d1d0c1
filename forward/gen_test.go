package forward

import (
	"encoding/binary"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"pgregory.net/rapid"
)

// sample is a random packet, and the frame it is in, with a random offload state.
type sample struct {
	spec
	frame *Frame
}

var offloadStates = []string{"none", "verified", "partial", "gso", "gso merged by hardware"}

// anySample draws IPv4 with options and IPv6 with extension headers, all
// transports, all offload states, and padding.
func anySample(t *rapid.T) sample {
	s := anySpec(t)
	state := rapid.SampledFrom(offloadStates).Draw(t, "offload")
	return s.sampleIn(t, state)
}

func anySpec(t *rapid.T) spec {
	s := spec{
		src: client4, dst: vip4, ttl: uint8(rapid.IntRange(2, 255).Draw(t, "ttl")),
		tos: rapid.Byte().Draw(t, "tos"), id: rapid.Uint16().Draw(t, "id"), df: rapid.Bool().Draw(t, "df"),
		sport: anyPort(t), dport: anyPort(t),
		seq: rapid.Uint32().Draw(t, "seq"), ack: rapid.Uint32().Draw(t, "ack"), flags: rapid.Byte().Draw(t, "flags"),
	}
	s.proto = rapid.SampledFrom([]uint8{ProtoTCP, ProtoTCP, ProtoUDP, ProtoUDP, ProtoSCTP, ProtoICMP}).Draw(t, "proto")
	if rapid.Bool().Draw(t, "v6") {
		s.src, s.dst = client6, vip6
		if s.proto == ProtoICMP {
			s.proto = ProtoICMPv6
		}
		if rapid.Bool().Draw(t, "ext") {
			s.ext, s.options = anyExtensions(t, s.proto)
		}
	} else if rapid.Bool().Draw(t, "options") {
		s.options = rapid.SampledFrom([][]byte{
			{1, 1, 1, 0},
			{7, 7, 4, 0, 0, 0, 0},                  // record route, not copied
			{0x94, 4, 0, 0, 1, 1, 7, 3, 4},         // router alert, copied, then record route
			{1, 0x82, 4, 9, 9, 7, 3, 4, 1},         // security, copied, at an odd offset
			{68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0}, // timestamp
		}).Draw(t, "option")
	}
	if s.proto == ProtoTCP {
		s.tcpOptions = rapid.SampledFrom([][]byte{
			nil, {2, 4, 5, 0xb4}, {1, 2, 4, 5, 0xb4}, {8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 2, 4, 0x23, 0x28}, {3, 3, 7},
		}).Draw(t, "tcpOptions")
	}
	s.noChecksum = s.src.Is4() && rapid.IntRange(0, 4).Draw(t, "noChecksum") == 0
	n := rapid.OneOf(rapid.IntRange(0, 70), rapid.IntRange(0, 3000), rapid.IntRange(0, 65000-200)).Draw(t, "len")
	s.payload = pattern(n, rapid.Byte().Draw(t, "fill"))
	if s.proto == ProtoICMP || s.proto == ProtoICMPv6 {
		head := []byte{rapid.SampledFrom([]byte{0, 8, 13, 128, 129}).Draw(t, "type"), 0, 0, 0, 1, 2, 0, 3}
		s.payload = append(head, s.payload...)
	}
	if s.proto == ProtoSCTP {
		s.payload = sctpData(s.payload)
	}
	return s
}

// sctpData is a DATA chunk (RFC 9260 §3.3.1).
func sctpData(b []byte) []byte {
	c := make([]byte, 16, 20+len(b))
	c[1] = 3
	binary.BigEndian.PutUint16(c[2:], uint16(16+len(b)))
	c = append(c, b...)
	for len(c)%4 != 0 {
		c = append(c, 0)
	}
	return c
}

// anyPort draws a port that gopacket knows no application protocol for.
func anyPort(t *rapid.T) uint16 { return uint16(rapid.IntRange(30000, 40000).Draw(t, "port")) }

func anyExtensions(t *rapid.T, proto uint8) (first uint8, b []byte) {
	all := [][]byte{{extHopByHop}, {extDest}, {extHopByHop, extDest}, {extRouting, extDest}, {extDest, extRouting}, {extFragment}}
	chain := rapid.SampledFrom(all).Draw(t, "extensions")
	for i, h := range chain {
		next := proto
		if i+1 < len(chain) {
			next = chain[i+1]
		}
		switch h {
		case extFragment: // an atomic one (RFC 6946)
			b = append(b, next, 0, 0, 0, 1, 2, 3, 4)
		case extRouting:
			b = append(b, next, 2, 0, 0, 0, 0, 0, 0) // no segments left
			b = append(b, make([]byte, 16)...)
		default:
			b = append(b, next, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0) // PadN
		}
	}
	return chain[0], b
}

// pattern is n bytes that do not repeat with the step of any checksum word.
func pattern(n int, fill byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = fill + byte(i*7) + byte(i>>8)
	}
	return b
}

// sampleIn builds the frame in an offload state; states that make no sense for the
// packet become "none".
func (s spec) sampleIn(t *rapid.T, state string) sample {
	f := frameOf(s.build(), rapid.SampledFrom([]int{0, 1, 20}).Draw(t, "slack"))
	if pad := rapid.IntRange(0, 20).Draw(t, "padding"); state != "gso" && f.Tail+pad <= len(f.Buf) {
		for i := range pad {
			f.Buf[f.Tail+i] = 0xee
		}
		f.Tail += pad
	}
	gso := s.gsoType()
	switch state {
	case "verified":
		f.Offload.DataValid = true
	case "partial":
		if s.proto != ProtoICMP && !s.noChecksum {
			makePartial(t, f)
		}
	case "gso", "gso merged by hardware":
		if gso == GSONone || s.noChecksum || len(s.payload) == 0 {
			break
		}
		if state == "gso" {
			makePartial(t, f)
		} else if p := mustParse(t, f); true {
			off, _ := checksumOffset(p.Proto)
			binary.BigEndian.PutUint16(f.Bytes()[p.L4+off:], 0xdead) // undefined: LRO may leave the first packet's
		}
		f.Offload.GSO = gso
		f.Offload.GSOSize = uint16(rapid.IntRange(max(1, len(s.payload)/45), 1460).Draw(t, "gsoSize"))
	}
	return sample{spec: s, frame: f}
}

func (s spec) gsoType() GSOType {
	switch {
	case s.proto == ProtoTCP && s.src.Is4():
		return GSOTCPv4
	case s.proto == ProtoTCP:
		return GSOTCPv6
	case s.proto == ProtoUDP:
		return GSOUDPL4
	}
	return GSONone
}

// verify checks a frame that a rewriter made, with check and with gopacket, and that its
// Packet is what Parse finds.
func verify(t *rapid.T, f *Frame, p *Packet) {
	t.Helper()
	check(t, f)
	var q Packet
	if r := Parse(f, &q); r != None {
		t.Fatalf("Parse: %v", r)
	}
	if q != *p {
		t.Fatalf("the rewriter's packet is not what Parse finds:\n got %+v\nwant %+v", *p, q)
	}
	decode(t, f, &q)
}

// decode checks a frame with gopacket: it must decode completely, and, where it has no
// extension headers, be the same when gopacket writes lengths and checksums.
func decode(t tb, f *Frame, p *Packet) {
	t.Helper()
	g := &Frame{Buf: append([]byte{}, f.Bytes()...), Tail: p.End, Offload: f.Offload}
	g.Offload.GSO = GSONone
	FinishChecksum(g, p)
	packet := gopacket.NewPacket(g.Bytes(), layers.LayerTypeEthernet, gopacket.Default)
	if e := packet.ErrorLayer(); e != nil {
		t.Fatalf("gopacket: %v", e.Error())
	}
	net := packet.NetworkLayer().NetworkFlow()
	if src, dst := net.Src().String(), net.Dst().String(); src != p.Src.String() || dst != p.Dst.String() {
		t.Fatalf("gopacket: %v > %v, want %v > %v", src, dst, p.Src, p.Dst)
	}
	var all []gopacket.SerializableLayer
	var ip gopacket.NetworkLayer
	for _, l := range packet.Layers() {
		s, ok := l.(gopacket.SerializableLayer)
		if !ok {
			return
		}
		if n, ok := l.(gopacket.NetworkLayer); ok {
			ip = n
		}
		switch l := l.(type) {
		case *layers.IPv4:
			if len(l.Options) > 0 || l.Flags&layers.IPv4MoreFragments != 0 || l.FragOffset != 0 {
				return
			}
		case *layers.IPv6:
			if l.HopByHop != nil {
				return
			}
		case *layers.ICMPv6Echo, *layers.IPv6Fragment, *layers.IPv6Destination, *layers.IPv6Routing, *layers.SCTP, *layers.GRE:
			return
		case *layers.TCP:
			l.SetNetworkLayerForChecksum(ip)
		case *layers.UDP:
			if l.Checksum == 0 || l.Checksum == 0xffff || len(packet.Layers()) > 4 {
				return // gopacket writes 0 where that is the sum, which would mean none (RFC 768)
			}
			l.SetNetworkLayerForChecksum(ip)
		case *layers.ICMPv6:
			l.SetNetworkLayerForChecksum(ip)
		}
		all = append(all, s)
	}
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, all...); err != nil {
		return // layers that gopacket reads and cannot write
	}
	sameButPadding(t, buf.Bytes(), g.Bytes())
}

func sameButPadding(t tb, want, got []byte) {
	t.Helper()
	n := min(len(want), len(got))
	for i := range n {
		if want[i] != got[i] {
			t.Fatalf("gopacket writes another byte at %d:\n got % x\nwant % x", i, got[:min(n, 80)], want[:min(n, 80)])
		}
	}
}
