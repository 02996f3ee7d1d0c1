package forward

import (
	"bytes"
	"net/netip"
	"testing"
)

func segmentOf(v6 bool) TCPSegment {
	s := TCPSegment{
		SrcMAC: MAC{2, 0, 0, 0, 0, 1}, DstMAC: MAC{2, 0, 0, 0, 0, 2},
		Src: AddrFrom(netip.MustParseAddr("192.0.2.1")), Dst: AddrFrom(netip.MustParseAddr("198.51.100.7")),
		SrcPort: 80, DstPort: 4000, Seq: 0xfffffffe, Ack: 7, Flags: FlagSYN | FlagACK, Window: 512, MSS: 1400,
	}
	if v6 {
		s.Src, s.Dst = AddrFrom(netip.MustParseAddr("2001:db8::1")), AddrFrom(netip.MustParseAddr("2001:db8:1::7"))
	}
	return s
}

func TestTCPSegmentIsWhatParseReads(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		for _, payload := range []string{"", "x", "HTTP/1.1 503 Service Unavailable\r\n\r\n"} {
			for _, mss := range []uint16{0, 1400} {
				s := segmentOf(v6)
				s.MSS, s.Payload = mss, []byte(payload)
				out := Frame{Buf: make([]byte, Headroom+MaxSegmentHeaders+len(payload)), Head: Headroom, Offload: Offload{NeedsCsum: true}}
				if !s.Build(&out) {
					t.Fatal("not built")
				}
				var p Packet
				if r := Parse(&out, &p); r != None {
					t.Fatal(r)
				}
				seq, ack := Sequence(&out, &p)
				want := mss
				if mss == 0 {
					want = map[bool]uint16{false: 536, true: 1220}[v6]
				}
				switch {
				case !ChecksumOK(&out, &p), out.Offload != Offload{}:
					t.Error("checksum is wrong or partial")
				case p.Src != s.Src || p.Dst != s.Dst || p.SrcPort != 80 || p.DstPort != 4000 || p.TCPFlags != s.Flags:
					t.Errorf("built %+v", p)
				case seq != s.Seq || ack != s.Ack || OfferedMSS(&out, &p) != want:
					t.Errorf("sequence %d, acknowledgment %d, MSS %d", seq, ack, OfferedMSS(&out, &p))
				case !bytes.Equal(out.Bytes()[p.Payload:p.End], s.Payload):
					t.Errorf("payload %q", out.Bytes()[p.Payload:p.End])
				case SrcMAC(&out) != s.SrcMAC || DstMAC(&out) != s.DstMAC:
					t.Error("wrong MACs")
				}
			}
		}
	}
}

func TestTCPSegmentNeedsRoom(t *testing.T) {
	s := segmentOf(true)
	for n := range MaxSegmentHeaders {
		out := Frame{Buf: make([]byte, n)}
		if s.Build(&out) {
			t.Fatalf("built in %d bytes", n)
		}
	}
	s.Src = AddrFrom4([4]byte{192, 0, 2, 1})
	if s.Build(&Frame{Buf: make([]byte, 2000)}) {
		t.Error("built between families")
	}
}

func TestTCPSegmentAllocatesNothing(t *testing.T) {
	s := segmentOf(false)
	s.Payload = make([]byte, 1400)
	buf := make([]byte, 2000)
	if n := testing.AllocsPerRun(100, func() {
		out := Frame{Buf: buf}
		s.Build(&out)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzTCPSegment(f *testing.F) {
	f.Add(uint16(80), uint32(1), uint32(2), uint8(FlagSYN), uint16(1460), []byte("page"), false)
	f.Fuzz(func(t *testing.T, port uint16, seq, ack uint32, flags uint8, mss uint16, payload []byte, v6 bool) {
		s := segmentOf(v6)
		s.SrcPort, s.Seq, s.Ack, s.Flags, s.MSS, s.Payload = port, seq, ack, flags, mss, payload
		out := Frame{Buf: make([]byte, 4096)}
		if !s.Build(&out) {
			return
		}
		var p Packet
		if r := Parse(&out, &p); r != None || !ChecksumOK(&out, &p) || !bytes.Equal(out.Bytes()[p.Payload:p.End], payload) {
			t.Errorf("%v: %+v", r, p)
		}
		if mss != 0 && OfferedMSS(&out, &p) != mss {
			t.Errorf("MSS %d, want %d", OfferedMSS(&out, &p), mss)
		}
	})
}
