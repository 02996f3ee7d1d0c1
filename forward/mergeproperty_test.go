package forward

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/golb/golb/lb/lbtest/seeded"
)

// stream is a flow whose packets are mostly those of a bulk sender.
type stream struct {
	spec
	size   int
	idStep uint16
	ecn    bool // often says that it slows down (CWR)
}

func anyStream(t *rapid.T) *stream {
	return anyStreamOf(t, rapid.SampledFrom([]string{"tcp4", "tcp6", "udp4", "udp6"}).Draw(t, "flow"))
}

func anyStreamOf(t *rapid.T, name string) *stream {
	s := &stream{spec: mergeSpecs[name], size: rapid.IntRange(1, 1460).Draw(t, "size"), idStep: 1}
	s.sport = anyPort(t)
	s.seq, s.id = rapid.Uint32().Draw(t, "seq"), rapid.Uint16().Draw(t, "id")
	s.tos = rapid.Byte().Draw(t, "tos")
	if rapid.IntRange(0, 9).Draw(t, "id step") == 0 {
		s.idStep = uint16(rapid.IntRange(0, 2).Draw(t, "step"))
	}
	return s
}

// next returns the stream's next packet, which can sometimes not be merged.
func (s *stream) next(t *rapid.T) Frame {
	x := s.spec
	n := s.size
	odd := rapid.IntRange(0, 60).Draw(t, "odd")
	if s.ecn && odd > 50 {
		odd = 5
	}
	switch odd {
	case 0:
		n = rapid.IntRange(0, s.size).Draw(t, "n")
	case 1:
		n = 0
	case 2:
		n += rapid.IntRange(0, 100).Draw(t, "more")
	case 3:
		x.flags |= rapid.Byte().Draw(t, "flags")
	case 4:
		x.flags |= FlagPSH
	case 5:
		x.flags |= FlagCWR
	case 6:
		s.ttl = uint8(rapid.IntRange(1, 255).Draw(t, "ttl"))
	case 7:
		s.seq += rapid.Uint32().Draw(t, "gap")
	case 8:
		s.ack++
	case 9:
		x.noChecksum = s.proto == ProtoUDP
	case 10:
		s.tos ^= uint8(rapid.IntRange(0, 3).Draw(t, "ECN"))
	case 11:
		if s.src.Is4() {
			x.options = []byte{1, 1, 1, 0}
		}
	case 12:
		s.id++
	}
	x.ttl, x.tos, x.seq, x.ack, x.id = s.ttl, s.tos, s.seq, s.ack, s.id
	x.payload = pattern(n, byte(s.seq))
	s.seq += uint32(n)
	s.id += s.idStep
	f := roomyFrame(x.build())
	s.state(t, &f, x.noChecksum, odd)
	return f
}

// state gives the frame an offload state, or damages it.
func (s *stream) state(t *rapid.T, f *Frame, noChecksum bool, odd int) {
	switch b := f.Bytes(); {
	case odd == 13:
		b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		return
	case odd == 14 && s.src.Is4():
		b[EthernetLen+6] = byte(rapid.IntRange(0, 0x3f).Draw(t, "fragment"))
		fixHeaderChecksum(b[EthernetLen:])
		return
	}
	switch rapid.IntRange(0, 3).Draw(t, "offload") {
	case 0:
		f.Offload.DataValid = true
	case 1:
		if !noChecksum {
			makePartial(t, f)
		}
	case 2:
		for range rapid.IntRange(0, 20).Draw(t, "padding") {
			f.Bytes()[:f.Len()+1][f.Len()] = 0xee
			f.Tail++
		}
	}
}

func fixHeaderChecksum(ip []byte) {
	ip[10], ip[11] = 0, 0
	binary.BigEndian.PutUint16(ip[10:], ^refSum(ip[:int(ip[0]&15)*4]))
}

// flowsOf segments super-packets, and groups packets that must not overtake each other.
// Fragments belong to every flow between their addresses.
func flowsOf(t tb, fs []Frame) map[string][][]byte {
	var all [][]byte
	flows := map[string][][]byte{}
	type fragment struct{ hosts string }
	var keys []any
	for i := range fs {
		for _, b := range segmentAsKernel(t, &fs[i]) {
			b = withoutPadding(b)
			all = append(all, b)
			if len(b) < EthernetLen+20 {
				keys, flows["short"] = append(keys, "short"), nil
				continue
			}
			ip := b[EthernetLen:]
			switch etherType := binary.BigEndian.Uint16(b[12:]); {
			case etherType == etherTypeIPv6 && len(ip) >= 44:
				keys = append(keys, fmt.Sprintf("%x %x %x", ip[6], ip[8:40], ip[40:44]))
			case etherType != etherTypeIPv4:
				keys = append(keys, "not IP")
			case ip[6]&0x3f != 0 || ip[7] != 0:
				keys = append(keys, fragment{fmt.Sprintf("%x %x", ip[9], ip[12:20])})
			default:
				hl := min(int(ip[0]&15)*4, len(ip)-4)
				keys = append(keys, fmt.Sprintf("%x %x %x", ip[9], ip[12:20], ip[hl:hl+4]))
			}
			if k, ok := keys[len(keys)-1].(string); ok {
				flows[k] = nil
			}
		}
	}
	for i, b := range all {
		for k := range flows {
			f, frag := keys[i].(fragment)
			if keys[i] == k || frag && len(k) > len(f.hosts) && k[:len(f.hosts)] == f.hosts {
				flows[k] = append(flows[k], b)
			}
		}
	}
	return flows
}

func withoutPadding(b []byte) []byte {
	if len(b) >= EthernetLen+20 {
		n := int(b[16])<<8 | int(b[17])
		if b[12] == 0x86 && b[13] == 0xdd {
			n = 40 + (int(b[18])<<8 | int(b[19]))
		}
		b = b[:min(len(b), EthernetLen+n)]
	}
	return b
}

func TestSegmentationRestoresMergedPackets(t *testing.T) {
	for _, c := range []struct {
		name, flow string
		ecn        bool
		gso        GSOType
	}{
		{"TCP over IPv4", "tcp4", false, GSOTCPv4},
		{"TCP over IPv6", "tcp6", false, GSOTCPv6},
		{"UDP", "udp4", false, GSOUDPL4},
		{"TCP over IPv4 with ECN", "tcp4", true, GSOTCPv4 | GSOECN},
		{"TCP over IPv6 with ECN", "tcp6", true, GSOTCPv6 | GSOECN},
	} {
		t.Run(c.name, func(t *testing.T) {
			merged := map[GSOType]int{}
			seeded.Check(t, func(t *rapid.T) {
				s := anyStreamOf(t, c.flow)
				s.ecn = c.ecn
				mergeAny(t, []*stream{s}, merged)
			})
			if merged[c.gso] == 0 {
				t.Errorf("no super-packet of type %d: %v", c.gso, merged)
			}
		})
	}
}

// mergeAny merges packets of these flows and of some others, and counts the super-packets
// by type.
func mergeAny(t *rapid.T, streams []*stream, merged map[GSOType]int) {
	for range rapid.IntRange(0, 3).Draw(t, "other flows") {
		streams = append(streams, anyStream(t))
	}
	udp := rapid.Bool().Draw(t, "udp")
	var fs []Frame
	at := 0
	for range rapid.IntRange(1, 100).Draw(t, "frames") {
		if rapid.IntRange(0, 3).Draw(t, "other") == 0 {
			at = rapid.IntRange(0, len(streams)-1).Draw(t, "of")
		}
		fs = append(fs, streams[at].next(t))
	}
	in := cloneFrames(fs)
	var m Merger
	out := m.Merge(fs, udp)
	compareFlows(t, in, out)
	for i := range out {
		o := &out[i]
		if o.Len() > maxMerged || o.Offload.GSO == GSOUDPL4 && !udp {
			t.Fatalf("%d bytes, %+v", o.Len(), o.Offload)
		}
		segmentsAgree(t, o)
		merged[o.Offload.GSO]++
	}
}

func cloneFrames(fs []Frame) []Frame {
	list := slices.Clone(fs)
	for i := range list {
		list[i].Buf = slices.Clone(list[i].Buf)
	}
	return list
}

func compareFlows(t tb, in, out []Frame) {
	t.Helper()
	want, got := flowsOf(t, in), flowsOf(t, out)
	if len(want) != len(got) {
		t.Fatalf("%d flows, want %d", len(got), len(want))
	}
	for k := range want {
		if !slices.EqualFunc(want[k], got[k], bytes.Equal) {
			t.Fatalf("flow %s: %d packets, want %d, or others", k, len(got[k]), len(want[k]))
		}
	}
}

// segmentsAgree checks Segmenter against segmentAsKernel.
func segmentsAgree(t tb, f *Frame) {
	t.Helper()
	if f.Offload.GSO == GSONone {
		return
	}
	check(t, f)
	want := segmentAsKernel(t, f)
	var s Segmenter
	mustDo(t, s.Start(f, mustParse(t, f), 0))
	out, q := frameOf(nil, s.FrameLen()), new(Packet)
	n := 0
	for ; s.Next(out, q); n++ {
		if n == len(want) || !bytes.Equal(out.Bytes(), want[n]) {
			t.Fatalf("segment %d of %d", n, len(want))
		}
	}
	if n != len(want) {
		t.Fatalf("%d segments, want %d", n, len(want))
	}
}

// FuzzMerge makes several frames of a packet by edits. Each edit is three bytes: a
// position, a value to add there, and how many bytes to cut off at the end; position 255
// ends a frame.
func FuzzMerge(f *testing.F) {
	for _, name := range []string{"tcp4", "tcp6", "udp4", "udp6"} {
		s := mergeSpecs[name]
		s.payload = pattern(30, 1)
		for _, needs := range []bool{false, true} {
			// Identification and sequence number increase from frame to frame.
			f.Add(roomyBytes(s), needs, []byte{EthernetLen + 5, 1, 0, EthernetLen + 20 + 7, 30, 0, 255, 0, 0})
			f.Add(roomyBytes(s), needs, []byte{EthernetLen + 40 + 7, 30, 0, 255, 0, 0, EthernetLen + 40 + 7, 30, 10, 255, 0, 0})
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, valid bool, edits []byte) {
		if len(b) > 1000 || len(edits) > 3*100 {
			return
		}
		var fs []Frame
		add := func() {
			x := Frame{Buf: make([]byte, Headroom+4096), Head: Headroom, Tail: Headroom + len(b)}
			copy(x.Buf[Headroom:], b)
			x.Offload.DataValid = valid
			fs = append(fs, x)
		}
		add()
		for ; len(edits) >= 3; edits = edits[3:] {
			at, plus, cut := int(edits[0]), edits[1], int(edits[2])
			if at == 255 {
				fixLengths(b)
				add()
				continue
			}
			if at < len(b) {
				b[at] += plus
			}
			b = b[:max(0, len(b)-cut)]
		}
		in := cloneFrames(fs)
		var m Merger
		out := m.Merge(fs, true)
		if valid { // checksums that are wrong, but said to be verified, are right afterwards
			return
		}
		compareFlows(t, in, out)
		for i := range out {
			segmentsAgree(t, &out[i])
		}
	})
}

func roomyBytes(s spec) []byte { return frameOf(s.build(), 0).Bytes() }

// fixLengths corrects lengths and checksums of a frame like those of mergeSpecs.
func fixLengths(b []byte) {
	if len(b) < EthernetLen+20+8 {
		return
	}
	ip := b[EthernetLen:]
	var l4, pseudo []byte
	var proto byte
	switch {
	case b[12] == 8 && b[13] == 0 && ip[0] == 0x45:
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
		fixHeaderChecksum(ip)
		l4, proto = ip[20:], ip[9]
		pseudo = refPseudo(AddrFrom4([4]byte(ip[12:16])), AddrFrom4([4]byte(ip[16:20])), proto, len(l4))
	case b[12] == 0x86 && b[13] == 0xdd && len(ip) >= 48:
		binary.BigEndian.PutUint16(ip[4:], uint16(len(ip)-40))
		l4, proto = ip[40:], ip[6]
		pseudo = refPseudo(Addr(ip[8:24]), Addr(ip[24:40]), proto, len(l4))
	default:
		return
	}
	at := 16
	if proto == ProtoUDP {
		at = 6
		binary.BigEndian.PutUint16(l4[4:], uint16(len(l4)))
	}
	if at+2 > len(l4) {
		return
	}
	l4[at], l4[at+1] = 0, 0
	c := ^refSum(pseudo, l4)
	if c == 0 && proto == ProtoUDP {
		c = 0xffff
	}
	binary.BigEndian.PutUint16(l4[at:], c)
}

// Not parallel: AllocsPerRun counts every goroutine's.
func TestMergingAllocatesNothing(t *testing.T) {
	b := newMergeBatch(mergeSpecs["tcp4"].segments(16, 1000), mergeSpecs["tcp6"].segments(16, 1000), mergeSpecs["udp4"].segments(16, 1000), mergeSpecs["udp6"].segments(16, 1000))
	var m Merger
	left := 0
	if n := testing.AllocsPerRun(100, func() { left = len(m.Merge(b.fresh(), true)) }); n != 0 || left != 4 {
		t.Errorf("%v allocations, %d frames left", n, left)
	}
}

// mergeBatch is a batch that can be merged repeatedly.
type mergeBatch struct {
	all, batch []Frame
	headers    [][96]byte
}

func newMergeBatch(runs ...[]spec) *mergeBatch {
	b := &mergeBatch{all: framesOf(slices.Concat(runs...))}
	const size = Headroom + MaxFrame + 100 // as in a port, so that headers do not share cache sets
	memory := make([]byte, len(b.all)*size)
	for i := range b.all {
		f := &b.all[i]
		buf := memory[i*size:][:size:size]
		copy(buf, f.Buf[:f.Tail])
		f.Buf = buf
	}
	b.batch = slices.Clone(b.all)
	for i := range b.all {
		b.headers = append(b.headers, [96]byte(b.all[i].Buf[Headroom:]))
	}
	return b
}

// fresh returns the batch as it was before merging, which changes headers and the bytes
// after frames.
func (b *mergeBatch) fresh() []Frame {
	copy(b.batch, b.all)
	for i := range b.headers {
		copy(b.all[i].Buf[Headroom:b.all[i].Tail], b.headers[i][:])
	}
	return b.batch
}
