package forward

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// bigTCP is a super-packet of TCP that is too long for the length field of its IP header,
// as Linux makes them. jumbo gives an IPv6 one the jumbo payload option.
func bigTCP(s spec, jumbo bool) *Frame {
	if jumbo {
		s = s.with(extHopByHop, s.proto, 0, jumboOption, 4, 0, 0, 0, 0)
	}
	b := s.build()
	at := tcpChecksum + len(b) - len(s.payload) - tcpMinLen
	if s.src.Is4() {
		binary.BigEndian.PutUint16(b[ip4Len:], 0)
		binary.BigEndian.PutUint16(b[ip4Checksum:], 0)
		binary.BigEndian.PutUint16(b[ip4Checksum:], ^refSum(b[:ip4MinLen]))
	} else {
		binary.BigEndian.PutUint16(b[ip6Len:], 0)
		if jumbo {
			binary.BigEndian.PutUint32(b[ip6HeaderLen+4:], uint32(len(b)-ip6HeaderLen))
		}
	}
	binary.BigEndian.PutUint16(b[at:], pseudo(&s.src, &s.dst, s.proto, tcpMinLen+len(s.payload)))
	f := frameOf(b, 0)
	f.Offload = Offload{NeedsCsum: true, GSO: GSOTCPv4, GSOSize: 1000, CsumStart: uint16(EthernetLen + at - tcpChecksum), CsumOffset: tcpChecksum}
	if !s.src.Is4() {
		f.Offload.GSO = GSOTCPv6
	}
	return f
}

func bigSpec(s spec) spec {
	s.payload = pattern(185000, 3)
	s.flags = FlagACK | FlagPSH | FlagCWR
	return s
}

var bigPackets = []struct {
	name  string
	spec  spec
	jumbo bool
}{
	{"IPv4", bigSpec(tcp4Spec), false},
	{"IPv6 with jumbo payload option", bigSpec(tcp6Spec), true},
	{"IPv6 without", bigSpec(tcp6Spec), false},
}

func TestSuperPacketsLongerThanTheirLengthField(t *testing.T) {
	for _, c := range bigPackets {
		t.Run(c.name, func(t *testing.T) {
			f := bigTCP(c.spec, c.jumbo)
			p := mustParse(t, f)
			if p.End != f.Len() || p.PayloadLen() != len(c.spec.payload) || p.HopByHop || !p.Oversized || p.Proto != ProtoTCP || p.DstPort != c.spec.dport {
				t.Errorf("got %+v", *p)
			}
			if n := p.NetLen(f); n != p.Payload-p.L3+1000 {
				t.Errorf("%d bytes on the wire", n)
			}
		})
	}
}

// What leaves are super-packets of at most 64 KiB that segment into the same packets as the
// long one would.
func TestSplitterMakesShorterSuperPackets(t *testing.T) {
	for _, c := range bigPackets {
		t.Run(c.name, func(t *testing.T) {
			f := bigTCP(c.spec, c.jumbo)
			p := mustParse(t, f)
			var s Splitter
			mustDo(t, s.Start(f, p))
			n, frames := 0, 0
			for ; s.Next(f, p); frames++ {
				if f.Len() > EthernetLen+65535 {
					t.Fatalf("%d bytes", f.Len())
				}
				if again := mustParse(t, f); *again != *p {
					t.Fatalf("%+v is said to be %+v", *again, *p)
				}
				n = checkSegments(t, c.spec, f, p, n)
				clear(f.Buf[:f.Head+p.Payload]) // what the caller did to it
			}
			if frames != 3 || n != 185 {
				t.Errorf("%d frames, %d segments", frames, n)
			}
		})
	}
}

// checkSegments holds the segments of f against those of the packet that s describes, from
// number n on, and returns the number of the one after.
func checkSegments(t *testing.T, s spec, f *Frame, p *Packet, n int) int {
	t.Helper()
	var g Segmenter
	mustDo(t, g.Start(f, p, 0))
	out, q := frameOf(nil, g.FrameLen()), new(Packet)
	for ; g.Next(out, q); n++ {
		want := s
		want.payload = s.payload[n*1000 : (n+1)*1000]
		want.seq += uint32(n * 1000)
		want.flags = FlagACK
		if want.src.Is4() {
			want.id += uint16(n)
		}
		switch n {
		case 0:
			want.flags |= FlagCWR
		case 184:
			want.flags |= FlagPSH
		}
		if !bytes.Equal(out.Bytes()[EthernetLen:], want.build()) {
			t.Fatalf("segment %d: % x", n, out.Bytes()[:90])
		}
	}
	return n
}

func TestSplitterMakesAPlainPacketOfALastSegment(t *testing.T) {
	s := bigSpec(tcp6Spec)
	s.payload = s.payload[:66000]
	f := bigTCP(s, true)
	f.Offload.GSOSize = 65000
	p := mustParse(t, f)
	var x Splitter
	mustDo(t, x.Start(f, p))
	for n, want := range []int{65000, 1000} {
		if !x.Next(f, p) || p.PayloadLen() != want || f.Offload.GSO != GSONone || !f.Offload.NeedsCsum {
			t.Fatalf("packet %d: %d bytes, %+v", n, p.PayloadLen(), f.Offload)
		}
		FinishChecksum(f, p)
		check(t, f)
	}
	if x.Next(f, p) {
		t.Error("and a third one")
	}
}

func TestSplitterRefusesWhatItCannotSplit(t *testing.T) {
	ext := append([]byte{ProtoTCP, 31, 1, 253}, make([]byte, 252)...) // padding
	long := bigSpec(tcp6Spec).with(extDest, ext...)
	f := bigTCP(long, false)
	var s Splitter
	if r := s.Start(f, mustParse(t, f)); r != BadExtensionHeader || s.Next(f, new(Packet)) {
		t.Errorf("headers of 330 bytes: %v", r)
	}
	f = frameOf(tcp4Spec.build(), 0)
	if r := s.Start(f, mustParse(t, f)); r != BadOffload || s.Next(f, new(Packet)) {
		t.Errorf("a plain packet: %v", r)
	}
}

// Only Linux, which made the super-packet, can vouch for a length that the header lacks.
func TestLengthZeroIsRefusedWithoutSuperPacket(t *testing.T) {
	for _, c := range bigPackets {
		for name, o := range map[string]Offload{"plain": {}, "UDP": {GSO: GSOUDPL4, GSOSize: 1000}} {
			f := bigTCP(c.spec, c.jumbo)
			f.Offload = o
			if r := Parse(f, new(Packet)); r != BadLength {
				t.Errorf("%s, %s: %v", c.name, name, r)
			}
		}
	}
	f := bigTCP(bigSpec(tcp6Spec), true)
	f.Bytes()[EthernetLen+ip6HeaderLen+7]++ // the option disagrees with the frame
	if p := mustParse(t, f); !p.HopByHop {
		t.Error("a wrong jumbo payload option is skipped")
	}
}
