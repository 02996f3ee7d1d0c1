package forward

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/golb/golb/lb/lbtest/seeded"
)

func TestAnyPacketParses(t *testing.T) {
	seeded.Check(t, func(t *rapid.T) {
		s := anySample(t)
		p := mustParse(t, s.frame)
		if p.Src != s.src || p.Dst != s.dst || p.Proto != s.proto || p.TTL != s.ttl || p.TOS != s.tos {
			t.Fatalf("%+v", p)
		}
		if hasPorts(s.proto) && (p.SrcPort != s.sport || p.DstPort != s.dport) {
			t.Fatalf("ports %d > %d, want %d > %d", p.SrcPort, p.DstPort, s.sport, s.dport)
		}
		if !bytes.HasSuffix(s.payload, s.frame.Bytes()[p.Payload:p.End]) {
			t.Fatal("payload")
		}
		if s.proto == ProtoTCP && p.TCPFlags != s.flags {
			t.Fatal("flags")
		}
	})
}

func TestDSRChangesOnlyTTLAndMACs(t *testing.T) {
	seeded.Check(t, func(t *rapid.T) {
		s := anySample(t)
		p := mustParse(t, s.frame)
		s.spec.ttl--
		DSR(s.frame, p, macC, macB)
		verify(t, s.frame, p)
		b := s.frame.Bytes()
		if MAC(b[:6]) != macC || MAC(b[6:12]) != macB {
			t.Fatalf("MACs % x", b[:12])
		}
		want := s.spec.build()
		o := s.frame.Offload
		if o.NeedsCsum {
			makePartial(t, withPacket(want))
			blank(want, int(o.CsumStart)+int(o.CsumOffset)-EthernetLen)
			blank(b, int(o.CsumStart)+int(o.CsumOffset))
		}
		if !bytes.Equal(b[EthernetLen:p.End], want) {
			t.Fatalf("packet:\n got % x\nwant % x", b[EthernetLen:min(p.End, 120)], want[:min(len(want), 106)])
		}
	})
}

func withPacket(b []byte) *Frame { return frameOf(b, 0) }

func blank(b []byte, at int) { b[at], b[at+1] = 0, 0 }

func TestNATKeepsEveryChecksum(t *testing.T) {
	seeded.Check(t, func(t *rapid.T) {
		s := anySample(t)
		p := mustParse(t, s.frame)
		noChecksum := s.proto == ProtoUDP && s.noChecksum
		request := rapid.Bool().Draw(t, "request")
		to, port := server4, anyPort(t)
		if p.Version == 6 {
			to = server6
		}
		DecTTL(s.frame, p)
		if request {
			mustDo(t, NATRequest(s.frame, p, &to, port))
			s.dst, s.dport = to, port
		} else {
			mustDo(t, NATReply(s.frame, p, &to, port))
			s.src, s.sport = to, port
		}
		s.ttl--
		verify(t, s.frame, p)
		b, want := s.frame.Bytes(), s.spec.build()
		if o := s.frame.Offload; o.NeedsCsum {
			blank(want, int(o.CsumStart)+int(o.CsumOffset)-EthernetLen)
			blank(b, int(o.CsumStart)+int(o.CsumOffset))
		}
		if !bytes.Equal(b[EthernetLen:p.End], want) {
			t.Fatalf("packet:\n got % x\nwant % x", b[EthernetLen:min(p.End, 120)], want[:min(len(want), 106)])
		}
		if noChecksum && b[p.L4+6]|b[p.L4+7] != 0 {
			t.Fatal("a UDP checksum of 0 did not stay 0")
		}
	})
}

// TestNATWritesUDPChecksumsOfZeroAsOnes tries all ports, and so all checksums: 0 would mean
// that there is none (RFC 768).
func TestNATWritesUDPChecksumsOfZeroAsOnes(t *testing.T) {
	x := spec{src: client4, dst: vip4, sport: 30000, dport: 80, proto: ProtoUDP}
	ones := 0
	for port := range 1 << 16 {
		f := frameOf(x.build(), 0)
		p := mustParse(t, f)
		mustDo(t, NATRequest(f, p, &server4, uint16(port)))
		switch sum := binary.BigEndian.Uint16(f.Bytes()[p.L4+6:]); sum {
		case 0:
			t.Fatalf("port %d: checksum 0", port)
		case 0xffff:
			decode(t, f, p)
			ones++
		}
	}
	if ones != 1 {
		t.Errorf("checksum ffff for %d ports, want 1", ones)
	}
}

func TestNATAndBackIsTheSamePacket(t *testing.T) {
	seeded.Check(t, func(t *rapid.T) {
		s := anySpec(t).sampleIn(t, "none")
		was := slices.Clone(s.frame.Bytes())
		p := mustParse(t, s.frame)
		dst, port := p.Dst, p.DstPort
		to := server4
		if p.Version == 6 {
			to = server6
		}
		mustDo(t, NATRequest(s.frame, p, &to, 1))
		mustDo(t, NATRequest(s.frame, p, &dst, port))
		if !bytes.Equal(was, s.frame.Bytes()) {
			t.Fatal("not the same")
		}
	})
}

func TestNATLeavesDamageVisible(t *testing.T) {
	seeded.Check(t, func(t *rapid.T) {
		s := anySpec(t)
		if s.proto == ProtoICMP || s.proto == ProtoUDP && s.noChecksum {
			return
		}
		f := frameOf(s.build(), 0)
		p := mustParse(t, f)
		at := rapid.IntRange(p.L4+4, p.End-1).Draw(t, "at")
		if s.proto == ProtoUDP && at < p.L4+8 { // the length is in the sum twice; a checksum of 0 means none
			return
		}
		f.Bytes()[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		to := server4
		if p.Version == 6 {
			to = server6
		}
		mustDo(t, NATRequest(f, p, &to, 8080))
		if ChecksumOK(f, p) {
			t.Fatalf("byte %d was damaged, and the checksum is right", at)
		}
	})
}

func TestTunnelsCarryTheWholePacket(t *testing.T) {
	seeded.Check(t, func(t *rapid.T) {
		s := anySample(t)
		p := mustParse(t, s.frame)
		tun := anyTunnel(t)
		DecTTL(s.frame, p)
		s.ttl--
		want := s.spec.build()
		if s.frame.Offload.GSO != GSONone {
			if r := Encapsulate(s.frame, p, tun, 1, 2); r != BadOffload {
				t.Fatalf("a super-packet: %v", r)
			}
			return
		}
		if len(want)+tun.Overhead() > 65535 {
			if r := Encapsulate(s.frame, p, tun, 1, 2); r != TooLong {
				t.Fatalf("%d bytes: %v", len(want)+tun.Overhead(), r)
			}
			return
		}
		inner := *p
		mustDo(t, Encapsulate(s.frame, p, tun, 77, 4242))
		verify(t, s.frame, p)
		got := s.frame.Bytes()[p.L3+tun.Overhead():]
		if s.proto == ProtoUDP || s.proto == ProtoTCP { // 0 and 0xffff are equal, and completing gives either
			off, _ := checksumOffset(s.proto)
			at := inner.L4 - inner.L3 + off
			blank(got, at)
			blank(want, at)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("inner packet:\n got % x\nwant % x", got[:min(len(got), 120)], want[:min(len(want), 120)])
		}
		if p.TTL != inner.TTL || p.TOS>>2 != inner.TOS>>2 || p.Src != tun.Local || p.Dst != tun.Remote {
			t.Fatalf("%+v", p)
		}
		if ecn := inner.TOS & 3; p.TOS&3 != []uint8{0, 1, 2, 2}[ecn] {
			t.Fatalf("ECN %d outside, %d inside", p.TOS&3, ecn)
		}
		if df := tun.PMTUDisc && inner.DF && inner.Version == 4 && tun.Remote.Is4(); p.DF != df {
			t.Fatalf("DF %v", p.DF)
		}
	})
}

func anyTunnel(t *rapid.T) *Tunnel {
	tun := &Tunnel{
		Kind: rapid.SampledFrom([]TunnelKind{IPIP, GUE, GRE}).Draw(t, "kind"),
		Csum: rapid.Bool().Draw(t, "csum"), PMTUDisc: rapid.Bool().Draw(t, "pmtu"),
		Port: guePort, Local: local4, Remote: server4,
	}
	if rapid.Bool().Draw(t, "over v6") {
		tun.Local, tun.Remote = local6, server6
	}
	return tun
}

func TestSegmenterRestoresTheSegments(t *testing.T) {
	seeded.Check(t, func(t *rapid.T) {
		spec := anySpec(t)
		if spec.proto == ProtoSCTP || spec.proto == ProtoICMP || spec.proto == ProtoICMPv6 {
			spec.proto, spec.payload = ProtoTCP, spec.payload[:len(spec.payload)/2]
			spec.options, spec.ext = nil, 0
		}
		spec.noChecksum = false
		if len(spec.payload) == 0 {
			spec.payload = []byte{1}
		}
		s := spec.sampleIn(t, rapid.SampledFrom(offloadStates[3:]).Draw(t, "state"))
		p := mustParse(t, s.frame)
		size := int(s.frame.Offload.GSOSize)
		var seg Segmenter
		mustDo(t, seg.Start(s.frame, p, 0))
		count, off := seg.Count(), 0
		out := &Frame{Buf: make([]byte, Headroom+seg.FrameLen())}
		n := 0
		for ; ; n++ {
			out.Head = Headroom
			q := new(Packet)
			if !seg.Next(out, q) {
				break
			}
			want := spec
			want.payload = spec.payload[off:min(off+size, len(spec.payload))]
			want.seq += uint32(off)
			want.id += uint16(n)
			off += len(want.payload)
			if off < len(spec.payload) {
				want.flags &^= FlagFIN | FlagPSH
			}
			if n > 0 {
				want.flags &^= FlagCWR
			}
			if b := want.build(); !bytes.Equal(packetOf(out), b) {
				t.Fatalf("segment %d:\n got % x\nwant % x", n, packetOf(out)[:min(len(b), 80)], b[:min(len(b), 80)])
			}
			verify(t, out, q)
		}
		if off != len(spec.payload) || n != count {
			t.Fatalf("%d of %d bytes in %d segments, Count said %d", off, len(spec.payload), n, count)
		}
	})
}

func TestFragmentsReassembleToThePacket(t *testing.T) {
	seeded.Check(t, func(t *rapid.T) {
		s := anySpec(t)
		s.df = false
		if !s.src.Is4() {
			s.options, s.ext = nil, 0
		}
		smp := s.sampleIn(t, rapid.SampledFrom(offloadStates[:3]).Draw(t, "offload"))
		p := mustParse(t, smp.frame)
		mtu := rapid.IntRange(100, 9000).Draw(t, "mtu")
		var g Fragmenter
		mustDo(t, g.Start(smp.frame, p, mtu, 0xabcdef01))
		want := slices.Clone(smp.frame.Bytes()[p.L4:p.End])
		got := fragmentAndJoin(t, &g, p, mtu)
		if !bytes.Equal(got, want) {
			t.Fatalf("%d bytes, want %d", len(got), len(want))
		}
	})
}

// fragmentAndJoin fragments the packet and returns the payload of the joined fragments.
// It fragments each IPv4 fragment once more.
func fragmentAndJoin(t *rapid.T, g *Fragmenter, p *Packet, mtu int) (got []byte) {
	for more := true; more; {
		f, q := &Frame{Buf: make([]byte, Headroom+g.FrameLen()), Head: Headroom}, new(Packet)
		if !g.Next(f, q) {
			t.Fatal("no last fragment")
		}
		verify(t, f, q)
		if q.End-q.L3 > mtu {
			t.Fatalf("fragment of %d bytes, MTU %d", q.End-q.L3, mtu)
		}
		if int(q.FragOff) != len(got) {
			t.Fatalf("fragment at %d, want %d", q.FragOff, len(got))
		}
		if q.Version == 4 {
			got = append(got, refragment(t, f, q)...)
		} else {
			got = append(got, f.Bytes()[q.L4:q.End]...)
		}
		more = q.MoreFrags
	}
	return got
}

func refragment(t *rapid.T, f *Frame, p *Packet) (got []byte) {
	var g Fragmenter
	mustDo(t, g.Start(f, p, 96, 0))
	for {
		o, q := &Frame{Buf: make([]byte, g.FrameLen())}, new(Packet)
		if !g.Next(o, q) {
			return got
		}
		if int(q.FragOff) != int(p.FragOff)+len(got) {
			t.Fatalf("fragment of a fragment at %d", q.FragOff)
		}
		check(t, o)
		got = append(got, o.Bytes()[q.L4:q.End]...)
	}
}

func TestFragmentsGoThroughEveryMethod(t *testing.T) {
	seeded.Check(t, func(t *rapid.T) {
		s := anySpec(t)
		s.df = false
		if !s.src.Is4() {
			s.options, s.ext = nil, 0
		}
		for s.proto == ProtoSCTP || len(s.payload) < 200 {
			s.proto = ProtoUDP
			s.payload = pattern(2000, 1)
		}
		f := frameOf(s.build(), 0)
		p := mustParse(t, f)
		method := rapid.SampledFrom([]string{"dsr", "request", "reply", "tunnel"}).Draw(t, "method")
		to := server4
		if p.Version == 6 {
			to = server6
		}
		tun := anyTunnel(t)
		var g Fragmenter
		mustDo(t, g.Start(f, p, 160, 9))
		var got []byte
		var last Packet
		for {
			o, q := &Frame{Buf: make([]byte, Headroom+g.FrameLen()), Head: Headroom}, new(Packet)
			if !g.Next(o, q) {
				break
			}
			switch method {
			case "dsr":
				DSR(o, q, macC, macB)
			case "request":
				mustDo(t, NATRequest(o, q, &to, 8080))
			case "reply":
				mustDo(t, NATReply(o, q, &to, 8080))
			default:
				mustDo(t, Encapsulate(o, q, tun, 1, 2))
				verify(t, o, q)
				continue
			}
			verify(t, o, q)
			got = append(got, o.Bytes()[q.L4:q.End]...)
			last = *q
		}
		if method == "tunnel" {
			return
		}
		checkTransport(t, got, last.Src, last.Dst, s.proto)
	})
}

func TestClampMSSKeepsTheChecksum(t *testing.T) {
	seeded.Check(t, func(t *rapid.T) {
		s := anySpec(t)
		s.proto, s.flags = ProtoTCP, FlagSYN|s.flags
		s.options, s.ext = nil, 0
		s.tcpOptions = rapid.SampledFrom([][]byte{{2, 4, 5, 0xb4}, {1, 2, 4, 5, 0xb4}, {3, 3, 7, 2, 4, 5, 0xb4, 1}, {3, 3, 7}}).Draw(t, "opt")
		smp := s.sampleIn(t, rapid.SampledFrom(offloadStates).Draw(t, "state"))
		if smp.frame.Offload.GSO != GSONone && !smp.frame.Offload.NeedsCsum {
			return // its checksum is undefined
		}
		p := mustParse(t, smp.frame)
		mss := rapid.Uint16().Draw(t, "mss")
		want := len(s.tcpOptions) > 3 && mss < 1460
		if got := ClampMSS(smp.frame, p, mss); got != want {
			t.Fatalf("clamped %v, want %v", got, want)
		}
		smp.frame.Tail = smp.frame.Head + p.End
		verify(t, smp.frame, p)
		if at := findMSS(smp.frame.Bytes()[p.L4:p.Payload]); want {
			if got := smp.frame.Bytes()[p.L4+at:]; uint16(got[0])<<8|uint16(got[1]) != mss {
				t.Fatalf("MSS % x", got[:2])
			}
		}
	})
}
