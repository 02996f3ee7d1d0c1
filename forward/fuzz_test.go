package forward

import (
	"bytes"
	"path/filepath"
	"testing"
)

// Each target takes any frame, from its Ethernet header on, and any offload header. Seeds
// are the recorded packets and one frame of each kind of traffic; inputs that once failed
// are in testdata/fuzz.

func seed(f *testing.F, more ...any) {
	add := func(fr *Frame) {
		o := fr.Offload
		f.Add(append([]any{fr.Bytes(), o.NeedsCsum, byte(o.GSO), o.GSOSize, o.CsumStart, o.CsumOffset}, more...)...)
	}
	for _, fr := range traffic(f, 600) {
		add(fr)
	}
	files, err := filepath.Glob("testdata/kernel/*.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range files {
		for _, r := range readRecordings(f, path) {
			add(frameOf(r.in, 0))
		}
	}
}

// fuzzFrame makes the frame, in a buffer without a byte after it.
func fuzzFrame(b []byte, needs bool, gso byte, size, start, off uint16) *Frame {
	f := &Frame{Buf: append(make([]byte, Headroom, Headroom+len(b)), b...), Head: Headroom, Tail: Headroom + len(b)}
	f.Offload = Offload{NeedsCsum: needs, GSO: GSOType(gso), GSOSize: size, CsumStart: start, CsumOffset: off}
	return f
}

// parsed reports whether the frame parses, and checks the result.
func parsed(t *testing.T, f *Frame, p *Packet) bool {
	t.Helper()
	r := Parse(f, p)
	if f.Offload == (Offload{}) && f.Len() >= EthernetLen {
		q := Packet{SCTPChunk: SCTPNoChunk}
		if any := q.parseAny(f.Bytes(), false); any != r || r == None && q != *p {
			t.Fatalf("%v, and without the short cut %v\n%+v\n%+v", r, any, p, q)
		}
	}
	if r != None {
		return false
	}
	if p.L3 != EthernetLen || p.L4 < p.L3+20 || p.Payload < p.L4 || p.End < p.Payload || p.End > f.Len() {
		t.Fatalf("offsets %+v of %d bytes", p, f.Len())
	}
	return true
}

func family(p *Packet) Addr {
	if p.Version == 6 {
		return server6
	}
	return server4
}

func FuzzParse(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, b []byte, needs bool, gso byte, size, start, off uint16) {
		fr := fuzzFrame(b, needs, gso, size, start, off)
		var p Packet
		if !parsed(t, fr, &p) {
			return
		}
		if !bytes.Equal(fr.Bytes(), b) {
			t.Fatal("Parse has changed the frame")
		}
		if n := p.NetLen(fr); n <= 0 || n > p.End-p.L3 {
			t.Fatalf("NetLen %d", n)
		}
		ChecksumOK(fr, &p)
		if !bytes.Equal(fr.Bytes(), b) {
			t.Fatal("ChecksumOK has changed the frame")
		}
		out := &Frame{Buf: make([]byte, MaxReply)}
		for _, sent := range []bool{
			TimeExceeded(out, fr, &p, family(&p), 1), TooBig(out, fr, &p, family(&p), 1, 1400),
			PortUnreachable(out, fr, &p, family(&p), 1), TCPReset(out, fr, &p, family(&p)),
		} {
			if sent {
				check(t, out)
			}
		}
		ClampMSS(fr, &p, 500)
		EchoReply(fr, &p, 1)
		fr = fuzzFrame(b, needs, gso, size, start, off)
		if parsed(t, fr, &p) && p.TTL > 1 {
			DSR(fr, &p, macC, macB)
			var q Packet
			if r := Parse(fr, &q); r != None || q != p {
				t.Fatalf("after DSR: %v\n%+v\n%+v", r, p, q)
			}
		}
	})
}

func FuzzEmbedded(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, b []byte, needs bool, gso byte, size, start, off uint16) {
		fr := fuzzFrame(b, needs, gso, size, start, off)
		var p, q, inner Packet
		if !parsed(t, fr, &p) {
			return
		}
		MTU(fr, &p)
		if ParseEmbedded(fr, &p, &q) != None {
			return
		}
		if q.L3 < p.Payload || q.L4 < q.L3+20 || q.Payload < q.L4 || q.End < q.Payload || q.End > p.End {
			t.Fatalf("offsets %+v in %+v", q, p)
		}
		if ParseTunneled(fr, &q, &inner) == None {
			out := &Frame{Buf: make([]byte, MaxReply)}
			if TooBig(out, fr, &inner, family(&inner), 1, 1400) {
				check(t, out)
			}
		}
		mustDo(t, NATEmbeddedRequest(fr, &p, &q, family(&p), 8080))
		mustDo(t, NATEmbeddedReply(fr, &p, &q, family(&p), 8080))
		FinishChecksum(fr, &p)
		if !ChecksumOK(fr, &p) {
			t.Fatal("ICMP checksum after NAT")
		}
		var again Packet
		if Parse(fr, &p) != None || ParseEmbedded(fr, &p, &again) != None || again != q {
			t.Fatalf("after NAT:\n%+v\n%+v", q, again)
		}
	})
}

func FuzzNAT(f *testing.F) {
	seed(f, uint16(8080))
	f.Fuzz(func(t *testing.T, b []byte, needs bool, gso byte, size, start, off, port uint16) {
		fr := fuzzFrame(b, needs, gso, size, start, off)
		var p, q Packet
		if !parsed(t, fr, &p) {
			return
		}
		single := p.Frag == NotFrag && GSOType(gso) == GSONone
		ok := single && ChecksumOK(fr, &p)
		to := family(&p)
		for _, r := range []Reason{NATRequest(fr, &p, &to, port), NATReply(fr, &p, &to, port)} {
			if r != None && r != FragmentedSCTP {
				t.Fatal(r)
			}
		}
		if r := Parse(fr, &q); r != None || q != p {
			t.Fatalf("after NAT: %v\n%+v\n%+v", r, p, q)
		}
		if single && ChecksumOK(fr, &p) != ok {
			t.Fatalf("checksum was right: %v, and now is not", ok)
		}
	})
}

func FuzzEncapsulate(f *testing.F) {
	seed(f, byte(0), byte(0))
	f.Fuzz(func(t *testing.T, b []byte, needs bool, gso byte, size, start, off uint16, kind, flags byte) {
		fr := fuzzFrame(b, needs, gso, size, start, off)
		var p, q Packet
		if !parsed(t, fr, &p) {
			return
		}
		inner := bytes.Clone(fr.Bytes()[p.L3:p.End])
		tun := Tunnel{Kind: TunnelKind(kind % 3), Csum: flags&1 != 0, PMTUDisc: flags&2 != 0, Port: guePort, Local: local4, Remote: server4}
		if flags&4 != 0 {
			tun.Local, tun.Remote = local6, server6
		}
		if r := Encapsulate(fr, &p, &tun, 1, 2); r != None {
			if r != BadOffload && r != TooLong {
				t.Fatal(r)
			}
			return
		}
		if r := Parse(fr, &q); r != None || q != p {
			t.Fatalf("outer: %v\n%+v\n%+v", r, p, q)
		}
		FinishChecksum(fr, &p)
		if got := fr.Bytes()[p.L3+tun.Overhead():]; !needs && !bytes.Equal(got, inner) || len(got) != len(inner) {
			t.Fatal("the inner packet is not what it was")
		}
		if !ChecksumOK(fr, &p) {
			t.Fatal("outer checksum")
		}
	})
}

func FuzzSegment(f *testing.F) {
	seed(f, uint16(0))
	f.Fuzz(func(t *testing.T, b []byte, needs bool, gso byte, size, start, off, mss uint16) {
		fr := fuzzFrame(b, needs, gso, size, start, off)
		var p, q Packet
		var s Segmenter
		if !parsed(t, fr, &p) || s.Start(fr, &p, int(mss)) != None {
			return
		}
		var got []byte
		out := &Frame{Buf: make([]byte, s.FrameLen())}
		n := s.Count()
		for ; s.Next(out, &q); n-- {
			got = append(got, out.Bytes()[q.Payload:q.End]...)
			var again Packet
			if r := Parse(out, &again); r != None || again != q {
				t.Fatalf("segment: %v\n%+v\n%+v", r, q, again)
			}
			if !ChecksumOK(out, &q) {
				t.Fatal("checksum")
			}
		}
		if n != 0 || !bytes.Equal(got, fr.Bytes()[p.Payload:p.End]) {
			t.Fatalf("%d bytes of %d, %d segments too few", len(got), p.PayloadLen(), n)
		}
	})
}

func FuzzSplit(f *testing.F) {
	for _, c := range bigPackets {
		c.spec.payload = c.spec.payload[:300]
		fr := bigTCP(c.spec, c.jumbo)
		f.Add(fr.Bytes(), true, byte(fr.Offload.GSO), uint16(100), fr.Offload.CsumStart, fr.Offload.CsumOffset)
	}
	f.Fuzz(func(t *testing.T, b []byte, needs bool, gso byte, size, start, off uint16) {
		fr := fuzzFrame(b, needs, gso, size, start, off)
		var p, again Packet
		var s Splitter
		if !parsed(t, fr, &p) || s.Start(fr, &p) != None {
			return
		}
		want := bytes.Clone(fr.Bytes()[p.Payload:p.End])
		var got []byte
		for s.Next(fr, &p) {
			if r := Parse(fr, &again); r != None || again != p || p.Oversized {
				t.Fatalf("%v\n%+v\n%+v", r, p, again)
			}
			got = append(got, fr.Bytes()[p.Payload:p.End]...)
			clear(fr.Buf[:fr.Head+p.Payload])
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("%d bytes of %d", len(got), len(want))
		}
	})
}

func FuzzFragment(f *testing.F) {
	seed(f, uint16(200))
	f.Fuzz(func(t *testing.T, b []byte, needs bool, gso byte, size, start, off, mtu uint16) {
		fr := fuzzFrame(b, needs, gso, size, start, off)
		var p, q Packet
		var g Fragmenter
		if !parsed(t, fr, &p) || g.Start(fr, &p, int(mtu), 7) != None {
			return
		}
		var got []byte
		out := &Frame{Buf: make([]byte, g.FrameLen())}
		for g.Next(out, &q) {
			if q.End != out.Len() || q.End-q.L3 > int(mtu) {
				t.Fatalf("%d bytes, MTU %d", q.End-q.L3, mtu)
			}
			if int(q.FragOff) != int(p.FragOff)+len(got) {
				t.Fatalf("at %d, want %d", q.FragOff, int(p.FragOff)+len(got))
			}
			got = append(got, out.Bytes()[q.L4:q.End]...)
			checkFragmentParses(t, out, &q)
		}
		if !bytes.Equal(got, fr.Bytes()[p.L4:p.End]) || q.MoreFrags != p.MoreFrags {
			t.Fatalf("%d bytes of %d", len(got), p.End-p.L4)
		}
	})
}

// checkFragmentParses parses a fragment. One failure is allowed: a first fragment so short
// that it cuts the transport header, which Parse refuses.
func checkFragmentParses(t *testing.T, f *Frame, q *Packet) {
	t.Helper()
	var again Packet
	switch r := Parse(f, &again); r {
	case None:
		if again != *q {
			t.Fatalf("fragment:\n%+v\n%+v", *q, again)
		}
	case BadL4Header:
		if q.Frag != FirstFrag {
			t.Fatal(r)
		}
	default:
		t.Fatal(r)
	}
}

// FuzzFragTable reads its input as a program: each four bytes are a fragment of one of a
// few datagrams and sources, or time that passes.
func FuzzFragTable(f *testing.F) {
	f.Add([]byte{0, 0, 10, 1, 0, 10, 5, 0})
	f.Add([]byte{0, 10, 5, 0, 0, 0, 10, 1})
	f.Add([]byte{0, 0, 10, 1, 0, 5, 10, 1, 0, 20, 5, 0})
	f.Add([]byte{0, 10, 200, 1, 16, 10, 200, 1, 32, 10, 200, 1, 0, 0, 10, 1, 255, 31, 0, 0})
	f.Fuzz(func(t *testing.T, prog []byte) {
		table := NewFragTable(FragConfig{MaxDatagrams: 8, PerSource: 3, MaxBytes: 12 * chunkSize})
		dst := frameOf(nil, 4000)
		frames := map[[4]byte]*Frame{}
		for now := uint32(0); len(prog) >= 4; prog = prog[4:] {
			step := [4]byte(prog)
			if step[0] == 255 {
				now += uint32(step[1])
				table.Expire(now)
				continue
			}
			fr := frames[step]
			if fr == nil {
				s := udp4Spec
				if step[0]&128 != 0 {
					s = udp6Spec
				}
				fr = fragmentFrame(from(s, step[0]&3, uint16(step[0]>>4&3)), int(step[1])*8, int(step[2])*8+8, step[3]&1 != 0)
				frames[step] = fr
			}
			var p Packet
			if Parse(fr, &p) != None {
				continue
			}
			switch p.Frag {
			case FirstFrag:
				if table.First(&p, now, uint64(p.FragID)) == None {
					for table.Take(&p, dst) {
						var q Packet
						if Parse(dst, &q) != None || q.FragID != p.FragID || q.Src != p.Src || q.Dst != p.Dst {
							t.Fatalf("took %+v for %+v", q, p)
						}
					}
				}
			case LaterFrag:
				if d, r := table.Later(fr, &p, now); r == None && d != uint64(p.FragID) {
					t.Fatalf("decision %d for %+v", d, p)
				}
			}
			checkTable(t, table)
		}
	})
}
