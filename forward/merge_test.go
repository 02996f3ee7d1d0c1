package forward

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
)

// mergeSpecs are flows whose packets can be merged.
var mergeSpecs = map[string]spec{
	"tcp4": {src: client4, dst: vip4, sport: 40001, dport: 80, proto: ProtoTCP, flags: FlagACK, tcpOptions: []byte{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2}},
	"tcp6": {src: client6, dst: vip6, sport: 40001, dport: 80, proto: ProtoTCP, flags: FlagACK},
	"udp4": {src: client4, dst: vip4, sport: 40001, dport: 443, proto: ProtoUDP, df: true},
	"udp6": {src: client6, dst: vip6, sport: 40001, dport: 443, proto: ProtoUDP},
}

// segments returns n packets of a flow, as a sender's segmentation makes them.
func (s spec) segments(n, size int) (list []spec) {
	for i := range n {
		x := s
		x.payload = pattern(size, byte(i))
		x.seq += uint32(i * size)
		x.id += uint16(i)
		list = append(list, x)
	}
	return list
}

// roomyFrame returns a frame in a buffer like that of a port.
func roomyFrame(packet []byte) Frame { return *frameOf(packet, 65536) }

func framesOf(list []spec) (fs []Frame) {
	for _, s := range list {
		fs = append(fs, roomyFrame(s.build()))
	}
	return fs
}

// segmentAsKernel splits a super-packet as inet_gso_segment, ipv6_gso_segment,
// tcp_gso_segment and __udp_gso_segment do. Of any other frame it completes the checksum.
func segmentAsKernel(t tb, f *Frame) (list [][]byte) {
	t.Helper()
	b, o := f.Bytes(), f.Offload
	if o.GSO == GSONone {
		b = slices.Clone(b)
		if o.NeedsCsum {
			c := ^refSum(b[o.CsumStart:])
			if c == 0 && o.CsumOffset == 6 { // UDP, where 0 would mean none (RFC 768)
				c = 0xffff
			}
			binary.BigEndian.PutUint16(b[o.CsumStart+o.CsumOffset:], c)
		}
		return [][]byte{b}
	}
	l4 := int(o.CsumStart)
	tcp := o.GSO != GSOUDPL4
	from := l4 + 8
	if tcp {
		from = l4 + int(b[l4+12]>>4)*4
	}
	if int(o.HdrLen) != from || !o.NeedsCsum || len(b)-from <= int(o.GSOSize) {
		t.Fatalf("offload %+v of %d bytes, payload at %d", o, len(b), from)
	}
	for i, at := 0, from; at < len(b); i++ {
		n := min(int(o.GSOSize), len(b)-at)
		p := slices.Concat(b[:from], b[at:at+n])
		ip, h := p[14:], p[l4:]
		var src, dst Addr
		if ip[0]>>4 == 4 {
			binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
			binary.BigEndian.PutUint16(ip[4:], binary.BigEndian.Uint16(b[18:])+uint16(i))
			ip[10], ip[11] = 0, 0
			binary.BigEndian.PutUint16(ip[10:], ^refSum(ip[:20]))
			src, dst = AddrFrom4([4]byte(ip[12:16])), AddrFrom4([4]byte(ip[16:20]))
		} else {
			binary.BigEndian.PutUint16(ip[4:], uint16(len(ip)-40))
			src, dst = Addr(ip[8:24]), Addr(ip[24:40])
		}
		field, proto := h[6:], uint8(ProtoUDP)
		if tcp {
			field, proto = h[16:], ProtoTCP
			binary.BigEndian.PutUint32(h[4:], binary.BigEndian.Uint32(b[l4+4:])+uint32(at-from))
			if at+n < len(b) {
				h[13] &^= FlagPSH | FlagFIN
			}
			if i > 0 {
				h[13] &^= FlagCWR
			}
			if cwr := b[l4+13]&FlagCWR != 0; cwr != (o.GSO&GSOECN != 0) {
				t.Fatalf("CWR %v, offload %+v", cwr, o)
			}
		} else {
			binary.BigEndian.PutUint16(h[4:], uint16(len(h)))
		}
		field[0], field[1] = 0, 0
		c := ^refSum(refPseudo(src, dst, proto, len(h)), h)
		if c == 0 && !tcp {
			c = 0xffff
		}
		binary.BigEndian.PutUint16(field, c)
		list = append(list, p)
		at += n
	}
	return list
}

func TestAFlowBecomesOnePacket(t *testing.T) {
	for name, s := range mergeSpecs {
		t.Run(name, func(t *testing.T) {
			for _, tc := range []struct{ n, size, last, want int }{
				{2, 1448, 1448, 1}, {44, 1448, 1448, 1}, {44, 1448, 1, 1}, {46, 1448, 1448, 2}, {64, 100, 100, 1}, {65, 100, 100, 2}, {3, 30000, 30000, 2}, {1, 1448, 1448, 1},
			} {
				list := s.segments(tc.n, tc.size)
				end := &list[tc.n-1]
				end.payload = end.payload[:tc.last]
				if s.proto == ProtoTCP {
					list[0].flags |= FlagCWR
					end.flags |= FlagPSH | FlagFIN
				}
				var m Merger
				out := m.Merge(framesOf(list), true)
				if len(out) != tc.want {
					t.Errorf("%d packets of %d bytes became %d, want %d", tc.n, tc.size, len(out), tc.want)
				}
				sameSegments(t, list, out)
			}
		})
	}
}

// sameSegments checks that out, when segmented, is list.
func sameSegments(t *testing.T, list []spec, out []Frame) {
	t.Helper()
	var got [][]byte
	for i := range out {
		check(t, &out[i])
		mustParse(t, &out[i])
		got = append(got, segmentAsKernel(t, &out[i])...)
	}
	if len(got) != len(list) {
		t.Fatalf("%d packets, want %d", len(got), len(list))
	}
	for i, s := range list {
		if want := s.build(); !bytes.Equal(got[i][EthernetLen:], want) {
			t.Fatalf("packet %d:\n got %x\nwant %x", i, got[i][EthernetLen:][:60], want[:60])
		}
	}
}

// fixChecksums computes the checksums of a packet without IPv4 options.
func fixChecksums(f *Frame) {
	ip := f.Bytes()[EthernetLen:]
	ip[10], ip[11] = 0, 0
	binary.BigEndian.PutUint16(ip[10:], ^refSum(ip[:20]))
	field := ip[20+6:]
	if ip[9] == ProtoTCP {
		field = ip[20+16:]
	}
	field[0], field[1] = 0, 0
	src, dst := AddrFrom4([4]byte(ip[12:16])), AddrFrom4([4]byte(ip[16:20]))
	binary.BigEndian.PutUint16(field, ^refSum(refPseudo(src, dst, ip[9], len(ip)-20), ip[20:]))
}

const mergeL4 = EthernetLen + 20

// differences are changes to two mergeable packets that forbid merging them, by the flow
// that they apply to: all or one of mergeSpecs.
func differences(t *testing.T) map[string]map[string]func(a, b *Frame) {
	type change = func(a, b *Frame)
	flip := func(off int) change { return func(_, b *Frame) { b.Bytes()[off] ^= 1; fixChecksums(b) } }
	first := func(off int, bits byte) change { return func(a, _ *Frame) { a.Bytes()[off] ^= bits; fixChecksums(a) } }
	second := func(off int, bits byte) change { return func(_, b *Frame) { b.Bytes()[off] ^= bits; fixChecksums(b) } }
	both := func(off int, bits byte) change {
		return func(a, b *Frame) { first(off, bits)(a, b); second(off, bits)(a, b) }
	}
	const flags = mergeL4 + 13
	udpSum := func(f *Frame) []byte { return f.Bytes()[mergeL4+6 : mergeL4+8] }
	offload := func(o Offload) change { return func(_, b *Frame) { b.Offload = o } }
	return map[string]map[string]func(a, b *Frame){
		"": {
			"destination MAC":     flip(5),
			"source MAC":          flip(11),
			"DSCP":                second(EthernetLen+1, 0x80),
			"CE mark":             second(EthernetLen+1, 3),
			"identification":      second(EthernetLen+5, 4),
			"same identification": func(a, b *Frame) { copy(b.Bytes()[EthernetLen+4:], a.Bytes()[EthernetLen+4:][:2]); fixChecksums(b) },
			"Don't Fragment":      second(EthernetLen+6, 0x40),
			"TTL":                 flip(EthernetLen + 8),
			"source address":      flip(EthernetLen + 15),
			"destination address": flip(EthernetLen + 19),
			"source port":         flip(mergeL4 + 1),
			"destination port":    flip(mergeL4 + 3),
			"no room":             func(a, _ *Frame) { a.Buf = a.Buf[:a.Tail+999] },
			"longer": func(a, b *Frame) {
				a.Tail--
				a.Bytes()[EthernetLen+3]--
				if checksumAt(a) == 6 {
					a.Bytes()[mergeL4+5]--
				} else {
					b.Bytes()[mergeL4+7]--
				}
				fixChecksums(a)
				fixChecksums(b)
			},
			"damage in the first": func(a, _ *Frame) { a.Bytes()[a.Len()-1] ^= 1 },
			"damage in the next":  func(_, b *Frame) { b.Bytes()[b.Len()-1] ^= 1 },
			"damage in its IP":    func(_, b *Frame) { b.Bytes()[EthernetLen+10] ^= 1 },
			"wrong partial checksum": func(_, b *Frame) {
				makePartial(t, b)
				b.Bytes()[mergeL4+checksumAt(b)]++
			},
			"partial checksum at the wrong place": func(_, b *Frame) { makePartial(t, b); b.Offload.CsumOffset ^= 4 },
			"partial checksum elsewhere":          offload(Offload{NeedsCsum: true, CsumStart: mergeL4 + 40, CsumOffset: 6}),
			"a super-packet":                      func(_, b *Frame) { makePartial(t, b); b.Offload.GSO, b.Offload.GSOSize = GSOTCPv4, 500 },
			"IPv4 checksum ffff": func(a, b *Frame) {
				findID(a, b)
				b.Bytes()[EthernetLen+10], b.Bytes()[EthernetLen+11] = 0xff, 0xff
			},
		},
		"tcp4": {
			"sequence number":  flip(mergeL4 + 7),
			"acknowledgment":   flip(mergeL4 + 11),
			"reserved bits":    flip(mergeL4 + 12),
			"window":           flip(mergeL4 + 15),
			"urgent pointer":   flip(mergeL4 + 19),
			"timestamp":        flip(mergeL4 + 31),
			"ECE":              second(flags, FlagECE),
			"CWR":              second(flags, FlagCWR),
			"CWR on both":      both(flags, FlagCWR),
			"PSH on the first": first(flags, FlagPSH),
			"FIN on the first": first(flags, FlagFIN),
			"SYN":              both(flags, FlagSYN),
			"RST":              both(flags, FlagRST),
			"URG":              both(flags, FlagURG),
			"no ACK":           both(flags, FlagACK),
			"checksum ffff": func(_, b *Frame) {
				at := b.Bytes()[mergeL4+16:]
				v := binary.BigEndian.Uint16(at) // moved into the payload, so that the right checksum is 0
				payload := b.Bytes()[b.Len()-2:]
				binary.BigEndian.PutUint16(payload, refSum(payload, binary.BigEndian.AppendUint16(nil, v)))
				fixChecksums(b)
				if at[0]|at[1] != 0 {
					t.Fatalf("checksum %x", at[:2])
				}
				at[0], at[1] = 0xff, 0xff
			},
		},
		"udp4": {
			"no checksum":           func(_, b *Frame) { clear(udpSum(b)) },
			"no checksums":          func(a, b *Frame) { clear(udpSum(a)); clear(udpSum(b)) },
			"verified, no checksum": func(_, b *Frame) { clear(udpSum(b)); b.Offload.DataValid = true },
			"UDP length":            func(_, b *Frame) { b.Bytes()[mergeL4+5]--; fixChecksums(b) },
		},
	}
}

func checksumAt(f *Frame) int {
	if f.Bytes()[EthernetLen+9] == ProtoUDP {
		return 6
	}
	return 16
}

// findID gives a and b identifications that follow each other, so that the header
// checksum of b is 0.
func findID(a, b *Frame) {
	for id := range uint16(65535) {
		binary.BigEndian.PutUint16(a.Bytes()[EthernetLen+4:], id)
		binary.BigEndian.PutUint16(b.Bytes()[EthernetLen+4:], id+1)
		if fixChecksums(b); b.Bytes()[EthernetLen+10]|b.Bytes()[EthernetLen+11] == 0 {
			fixChecksums(a)
			return
		}
	}
}

func TestPacketsThatSegmentationCannotRestoreAreNotMerged(t *testing.T) {
	all := differences(t)
	for _, proto := range []string{"tcp4", "udp4"} {
		for _, of := range []string{"", proto} {
			for name, change := range all[of] {
				t.Run(proto+"/"+name, func(t *testing.T) {
					fs := framesOf(mergeSpecs[proto].segments(2, 1000))
					change(&fs[0], &fs[1])
					before := [][]byte{slices.Clone(fs[0].Bytes()), slices.Clone(fs[1].Bytes())}
					var m Merger
					out := m.Merge(fs, true)
					if len(out) != 2 || !bytes.Equal(out[0].Bytes(), before[0]) || !bytes.Equal(out[1].Bytes(), before[1]) {
						t.Errorf("merged: %d left", len(out))
					}
				})
			}
		}
	}
}

func TestMalformedFramesAreNotMerged(t *testing.T) {
	for name, s := range mergeSpecs {
		at, header := EthernetLen+2, uint16(20) // IPv4 total length
		if !s.src.Is4() {
			at, header = EthernetLen+4, 0 // IPv6 payload length
		}
		for _, n := range []uint16{0, 7, 19, 2000, 40000} { // of the transport packet
			fs := framesOf(s.segments(2, 1000))
			binary.BigEndian.PutUint16(fs[1].Bytes()[at:], header+n)
			fs[1].Offload.DataValid = true
			before := slices.Clone(fs[1].Bytes())
			var m Merger
			if out := m.Merge(fs, true); len(out) != 2 || !bytes.Equal(out[1].Bytes(), before) {
				t.Errorf("%s: a length of %d was merged", name, n)
			}
		}
	}
}

func TestIPv6HeadersThatDifferAreNotMerged(t *testing.T) {
	for _, off := range []int{1, 2, 3, 7, 23, 39} { // class, flow label, hop limit, the ends of the addresses
		for _, proto := range []string{"tcp6", "udp6"} {
			fs := framesOf(mergeSpecs[proto].segments(2, 1000))
			b := fs[1].Bytes()
			b[EthernetLen+off] ^= 1
			fs[1].Offload.DataValid = true
			var m Merger
			if out := m.Merge(fs, true); len(out) != 2 {
				t.Errorf("%s: byte %d", proto, off)
			}
		}
	}
}

func TestUDPIsMergedOnlyWhereItMayBe(t *testing.T) {
	var m Merger
	fs := framesOf(append(mergeSpecs["udp4"].segments(4, 500), mergeSpecs["tcp4"].segments(4, 500)...))
	if out := m.Merge(fs, false); len(out) != 5 {
		t.Errorf("%d left, want 4 of UDP and one of TCP", len(out))
	}
}

// Merging moves a packet to the place of its flow's first one. It must not overtake another
// packet of its flow.
func TestPacketsOfAFlowDoNotOvertakeEachOther(t *testing.T) {
	for name, between := range map[string]func(s spec) spec{
		"pure ACK":  func(s spec) spec { s.payload = nil; return s },
		"options":   func(s spec) spec { s.options = []byte{1, 1, 1, 0}; return s },
		"fragment":  func(s spec) spec { s.proto = 0; return s },
		"probe":     func(s spec) spec { s.seq--; s.payload = []byte{0}; return s },
		"duplicate": func(s spec) spec { s.seq -= 1000; return s },
	} {
		t.Run(name, func(t *testing.T) {
			list := mergeSpecs["tcp4"].segments(4, 1000)
			fs := framesOf(list)
			s := between(list[2])
			x := roomyFrame(s.build())
			if s.proto == 0 {
				x = roomyFrame(list[2].build())
				x.Bytes()[EthernetLen+6] = 0x20
				fixChecksums(&x)
			}
			want := slices.Clone(x.Bytes())
			var m Merger
			out := m.Merge(slices.Insert(fs, 2, x), true)
			if len(out) != 3 || !bytes.Equal(out[1].Bytes(), want) {
				t.Errorf("%d left", len(out))
			}
		})
	}
}

func TestInterleavedFlowsAreMerged(t *testing.T) {
	var fs []Frame
	for i := range 16 {
		for _, name := range []string{"tcp4", "tcp6", "udp4", "udp6"} {
			fs = append(fs, framesOf(mergeSpecs[name].segments(16, 1000)[i:i+1])...)
		}
	}
	var m Merger
	if out := m.Merge(fs, true); len(out) != 4 {
		t.Errorf("%d left of four flows", len(out))
	}
}

// A Merger has room for most of the flows of a batch.
func TestManyInterleavedFlowsAreMerged(t *testing.T) {
	left := 0
	const flows, rounds = 16, 50
	for round := range rounds {
		var runs [][]spec
		for i := range flows {
			s := mergeSpecs["tcp4"]
			s.sport, s.src = uint16(1024+round*flows+i), AddrFrom4([4]byte{10, 0, byte(round), byte(i * 16)})
			runs = append(runs, s.segments(4, 100))
		}
		var list []spec
		for i := range 4 {
			for _, r := range runs {
				list = append(list, r[i])
			}
		}
		var m Merger
		left += len(m.Merge(framesOf(list), true))
	}
	if left > flows*rounds*5/4 {
		t.Errorf("%d frames left of %d flows", left, flows*rounds)
	}
}

func TestPartialAndVerifiedChecksumsAreNotComputed(t *testing.T) {
	for name, s := range mergeSpecs {
		for _, state := range []string{"partial", "verified"} {
			fs := framesOf(s.segments(3, 1000))
			for i := range fs {
				if fs[i].Offload.DataValid = true; state == "partial" {
					makePartial(t, &fs[i])
				} else {
					fs[i].Bytes()[fs[i].Len()-1] ^= 1 // not noticed: the checksum is not computed
				}
			}
			var m Merger
			if out := m.Merge(fs, true); len(out) != 1 {
				t.Errorf("%s, %s: %d left", name, state, len(out))
			}
		}
	}
}
