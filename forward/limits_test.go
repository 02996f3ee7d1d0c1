package forward

import (
	"bytes"
	"encoding/binary"
	"testing"
)

func TestRewritersRefuseWhatTheyCannotDo(t *testing.T) {
	f := frameOf(tcp4Spec.build(), 0)
	p := mustParse(t, f)
	was, wasP := append([]byte{}, f.Buf...), *p
	if r := NATRequest(f, p, &server6, 80); r != FamilyMismatch {
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

func TestSegmenterRefusesFragmentsAndOtherProtocols(t *testing.T) {
	for name, b := range map[string][]byte{
		"first fragment": edit(spec{src: client4, dst: vip4, proto: ProtoUDP, payload: pattern(8, 1)}, 6, 0x20), "SCTP": sctpSpec.build(), "ICMP": echo4.build(),
		"first TCP fragment": edit(segment(1, "0123"), 6, 0x20),
	} {
		f := frameOf(b, 0)
		p := new(Packet)
		f.Offload.GSOSize = 10
		if r := Parse(f, p); r != None {
			t.Fatalf("%s: %v", name, r)
		}
		var s Segmenter
		if r := s.Start(f, p, 10); r != BadOffload || s.Next(frameOf(nil, 2000), p) {
			t.Errorf("%s: %v", name, r)
		}
	}
}

// A partial checksum of 0 is not "no checksum".
func TestSegmentsOfUDPWithAPartialChecksumHaveOne(t *testing.T) {
	f := frameOf(udp4Spec.build(), 0)
	makePartial(t, f)
	p := mustParse(t, f)
	f.Offload.GSO, f.Offload.GSOSize = GSOUDPL4, 4
	copy(f.Bytes()[p.L4+udpChecksum:], []byte{0, 0})
	var s Segmenter
	mustDo(t, s.Start(f, p, 0))
	out, q := frameOf(nil, 100), new(Packet)
	for s.Next(out, q) {
		check(t, out)
		if binary.BigEndian.Uint16(out.Bytes()[q.L4+udpChecksum:]) == 0 {
			t.Error("a segment without a checksum")
		}
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
	if r := NATRequest(o, q, &server4, 1); r != FragmentedSCTP || !bytes.Equal(was, o.Bytes()) {
		t.Errorf("%v", r)
	}
	mustDo(t, NATRequest(o, q, &server4, s.dport))
}

func TestTCPMayBeSegmentedSmallerThanGSOSize(t *testing.T) {
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

func TestIteratorsStopAtABufferThatIsTooSmall(t *testing.T) {
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

// A UDP checksum whose value is 0 is sent as 0xffff (RFC 768), since 0 means that there is
// none. For one of all ports it is 0.
func TestAUDPChecksumNeverBecomesNone(t *testing.T) {
	for _, s := range []spec{udp4Spec, udp6Spec} {
		nat, finished := 0, 0
		for port := range 65536 {
			f := frameOf(s.build(), 0)
			p := mustParse(t, f)
			mustDo(t, NATRequest(f, p, &p.Dst, uint16(port)))
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

func TestLaterFragmentsHaveOnlyCopiedOptions(t *testing.T) {
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

func TestMalformedOptionsAreNotChanged(t *testing.T) {
	for _, o := range [][]byte{{7, 9, 4, 0}, {7, 1, 4, 0}, {1, 1, 1, 7}} {
		was := append([]byte{}, o...)
		if blankOptions(o); !bytes.Equal(o, was) {
			t.Errorf("% x became % x", was, o)
		}
	}
}
