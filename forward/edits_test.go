package forward

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/golb/golb/lb/lbtest/seeded"
)

func segment(seq uint32, payload string) spec {
	s := tcp4Spec
	s.seq, s.payload, s.flags = seq, []byte(payload), FlagACK
	return s
}

func TestEditsReplaceBytesOfTheStream(t *testing.T) {
	const line = "227 at (10,0,0,1,4,0).\r\n"
	var e Edits
	if !e.Add(1008, len("10,0,0,1,4,0"), []byte("192,0,2,100,4,0")) {
		t.Fatal("not added")
	}
	tests := []struct {
		name, in string
		seq      uint32
		want     string
		wantSeq  uint32
	}{
		{"before", "220 hello\r\n", 900, "220 hello\r\n", 900},
		{"whole", line, 1000, "227 at (192,0,2,100,4,0).\r\n", 1000},
		{"with what follows", line + "200 ok\r\n", 1000, "227 at (192,0,2,100,4,0).\r\n200 ok\r\n", 1000},
		{"behind", "200 ok\r\n", 1024, "200 ok\r\n", 1027},
		{"head alone", line[:8], 1000, line[:8], 1000},
		{"cut inside", line[:12], 1000, line[:8], 1000},
		{"the rest of that", line[12:], 1012, "192,0,2,100,4,0).\r\n", 1008},
		{"inside alone", line[10:12], 1010, "", 1008},
		{"its last byte", line[19:20], 1019, "192,0,2,100,4,0", 1008},
		{"nothing, behind", "", 1024, "", 1027},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := frameOf(segment(tt.seq, tt.in).build(), 0)
			p := mustParse(t, f)
			if r := e.Rewrite(f, p, 1500); r != None {
				t.Fatal(r)
			}
			verifyEdited(t, f, p)
			if got := string(f.Bytes()[p.Payload:p.End]); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
			if got := tcp(f.Bytes()[p.L4:]).seq(); got != tt.wantSeq {
				t.Errorf("sequence number %d, want %d", got, tt.wantSeq)
			}
		})
	}
}

// verifyEdited checks a frame's lengths and checksums, and that its Packet is what Parse
// finds.
func verifyEdited(t tb, f *Frame, p *Packet) {
	t.Helper()
	check(t, f)
	var q Packet
	if r := Parse(f, &q); r != None || q != *p {
		t.Fatalf("Parse: %v\n got %+v\nwant %+v", r, *p, q)
	}
}

func TestEditsRefuseInvalidReplacements(t *testing.T) {
	var e Edits
	if !e.Add(100, 10, []byte("x")) {
		t.Fatal("not added")
	}
	for _, bad := range []struct {
		at   uint32
		was  int
		text string
	}{{109, 1, "x"}, {50, 10, "x"}, {200, 0, "x"}, {200, 256, "x"}, {200, 1, ""}, {200, 1, fmt.Sprintf("%49d", 0)}} {
		if e.Add(bad.at, bad.was, []byte(bad.text)) {
			t.Errorf("%+v was added", bad)
		}
	}
	if !e.Add(110, 1, []byte("y")) || !e.At(100) || !e.At(110) || e.At(109) {
		t.Errorf("%+v", e)
	}
	if !e.Add(200, 255, []byte("z")) || !e.Add(500, 1, make([]byte, MaxEdit)) {
		t.Error("the longest texts were refused")
	}
}

// frameParts is all of a frame that Edits could change.
type frameParts struct {
	bytes      string
	head, tail int
	offload    Offload
	packet     Packet
}

func partsOf(f *Frame, p *Packet) frameParts {
	return frameParts{string(f.Buf), f.Head, f.Tail, f.Offload, *p}
}

func TestEditsLeaveOtherPacketsAlone(t *testing.T) {
	long := bytes.Repeat([]byte("x"), 64)
	tcpData := segment(1000, string(long))
	udp, udp6, sctp := udp4Spec, udp6Spec, sctpSpec
	udp.payload, udp6.payload = long, long
	for name, s := range map[string]spec{"UDP": udp, "UDP over IPv6": udp6, "SCTP": sctp, "ICMP": echo4} {
		checkEditsLeave(t, name, s.build(), nil)
	}
	checkEditsLeave(t, "later TCP fragment", edit(tcpData, 6, 0, 7, 9), nil)
	checkEditsLeave(t, "segment without ACK", tcp4Spec.build(), (*Edits).Acknowledge)
}

// checkEditsLeave checks that Rewrite and Acknowledge, or only the one function, do not
// change a packet whose transport header, read as TCP's, follows a replacement.
func checkEditsLeave(t *testing.T, name string, packet []byte, only func(*Edits, *Frame, *Packet)) {
	t.Helper()
	f := frameOf(packet, 0)
	p := mustParse(t, f)
	at := f.Bytes()[p.L4:]
	var e Edits
	e.Add(binary.BigEndian.Uint32(at[4:])-100, 1, []byte("shift all that follows"))
	before := partsOf(f, p)
	if only != nil {
		only(&e, f, p)
	} else {
		if r := e.Rewrite(f, p, 1500); r != None {
			t.Errorf("%s: %v", name, r)
		}
		e.Acknowledge(f, p)
	}
	if partsOf(f, p) != before {
		t.Errorf("%s was changed", name)
	}
}

// Of a fragment only the sequence number can be edited.
func TestEditsRefuseFragmentsWithBytesToReplace(t *testing.T) {
	data := bytes.Repeat([]byte("x"), 44)
	for name, tt := range map[string]struct {
		at   uint32 // of the replacement; the fragment's payload begins at 1000
		want Reason
		seq  uint32
	}{
		"before":                        {900, None, 1009},
		"in it":                         {1010, BadFragment, 1000},
		"in what later fragments have":  {1000 + 0xfff0, BadFragment, 1000},
		"after the longest datagram":    {1000 + 0x1_0000, None, 1000},
		"the byte before it, and in it": {999, BadFragment, 1000},
	} {
		var e Edits
		e.Add(tt.at, 2, []byte("replacement"))
		f := frameOf(edit(segment(1000, string(data)), 6, 0x20), 0)
		p := mustParse(t, f)
		before := partsOf(f, p)
		if r := e.Rewrite(f, p, 1500); r != tt.want || r != None && partsOf(f, p) != before {
			t.Errorf("%s: %v", name, r)
		}
		if seq, _ := Sequence(f, p); seq != tt.seq {
			t.Errorf("%s: sequence number %d, want %d", name, seq, tt.seq)
		}
	}
}

func TestEditedSegmentsLongerThanTheMTUAreSplit(t *testing.T) {
	for _, s := range []spec{tcp4Spec, tcp6Spec} {
		s.payload, s.flags = bytes.Repeat([]byte("x"), 1000), FlagACK
		var e Edits
		e.Add(s.seq+500, 1, []byte("replacement"))
		f := frameOf(s.build(), 0)
		p := mustParse(t, f)
		if r := e.Rewrite(f, p, p.End-p.L3+9); r != None {
			t.Fatal(r)
		}
		verifyEdited(t, f, p)
		if f.Offload.GSO != s.gsoType() || f.Offload.GSOSize != 1000 || p.PayloadLen() != 1010 {
			t.Errorf("%+v with %d bytes", f.Offload, p.PayloadLen())
		}
		f = frameOf(s.build(), 0)
		p = mustParse(t, f)
		if e.Rewrite(f, p, p.End-p.L3+10); f.Offload.GSO != GSONone {
			t.Errorf("%+v though it fits", f.Offload)
		}
		same := Edits{}
		same.Add(s.seq+500, 11, []byte("replacement"))
		f = frameOf(s.build(), 0)
		p = mustParse(t, f)
		if same.Rewrite(f, p, 100); f.Offload.GSO != GSONone {
			t.Errorf("%+v though it has not grown", f.Offload)
		}
	}
}

func TestEditedSuperPacketsKeepTheirSegmentSize(t *testing.T) {
	for _, s := range []spec{tcp4Spec, tcp6Spec} {
		s.payload, s.flags = bytes.Repeat([]byte("x"), 1000), FlagACK
		var e Edits
		e.Add(s.seq+500, 1, []byte("replacement"))
		f := frameOf(s.build(), 0)
		makePartial(t, f)
		f.Offload.GSO, f.Offload.GSOSize = s.gsoType()|GSOECN, 300
		p := mustParse(t, f)
		if r := e.Rewrite(f, p, 100); r != None {
			t.Fatal(r)
		}
		verifyEdited(t, f, p)
		if f.Offload.GSO != s.gsoType()|GSOECN || f.Offload.GSOSize != 300 {
			t.Errorf("%+v, want the type and size from before", f.Offload)
		}
	}
}

func TestEditsDoNotChangeFramesWithoutRoom(t *testing.T) {
	var e Edits
	s := segment(7, "0123456789")
	e.Add(9, 1, []byte("replacement"))
	f := frameOf(s.build(), 0)
	f.Buf, f.Head, f.Tail = f.Buf[f.Head-10:], 10, f.Tail-f.Head+10
	p := mustParse(t, f)
	if r := e.Rewrite(f, p, 1500); r != None || f.Head != 0 {
		t.Errorf("%v with the headroom that it takes", r)
	}
	verifyEdited(t, f, p)
	f = frameOf(s.build(), 0)
	f.Buf, f.Head, f.Tail = f.Buf[f.Head-9:], 9, f.Tail-f.Head+9
	p = mustParse(t, f)
	before := bytes.Clone(f.Buf)
	if r := e.Rewrite(f, p, 1500); r != NoHeadroom || !bytes.Equal(f.Buf, before) {
		t.Errorf("%v; changed: %v", r, !bytes.Equal(f.Buf, before))
	}
	s.payload = pattern(65000, 1)
	s.payload = append(s.payload, pattern(485, 1)...)
	f = frameOf(s.build(), 0)
	p = mustParse(t, f)
	if r := e.Rewrite(f, p, 70000); r != None {
		t.Errorf("%v with %d bytes", r, p.End-p.L3)
	}
	s.payload = append(s.payload, pattern(1, 1)...)
	f = frameOf(s.build(), 0)
	p = mustParse(t, f)
	before = bytes.Clone(f.Buf)
	if r := e.Rewrite(f, p, 70000); r != TooLong || !bytes.Equal(f.Buf, before) {
		t.Errorf("%v; changed: %v", r, !bytes.Equal(f.Buf, before))
	}
}

func TestEditsKeepBadChecksumsBad(t *testing.T) {
	var e Edits
	e.Add(9, 1, []byte("replacement"))
	f := frameOf(segment(7, "0123456789").build(), 0)
	p := mustParse(t, f)
	f.Bytes()[p.Payload] ^= 4
	if e.Rewrite(f, p, 1500); ChecksumOK(f, p) {
		t.Error("a damaged segment got a good checksum")
	}
}

func TestAcknowledgeMapsAckAndSACK(t *testing.T) {
	var e Edits
	e.Add(1000, 12, []byte("192,0,2,100,4,0")) // 3 longer
	for _, odd := range []int{0, 1} {
		s := tcp4Spec
		s.flags, s.ack = FlagACK, 1000
		for range odd {
			s.tcpOptions = append(s.tcpOptions, tcpOptNop)
		}
		s.tcpOptions = append(s.tcpOptions, tcpOptSACK, 18)
		for _, n := range []uint32{1015, 1020, 1030, 1040} {
			s.tcpOptions = binary.BigEndian.AppendUint32(s.tcpOptions, n)
		}
		for _, partial := range []bool{false, true} {
			f := frameOf(s.build(), 0)
			if partial {
				makePartial(t, f)
			}
			p := mustParse(t, f)
			e.Acknowledge(f, p)
			verifyEdited(t, f, p)
			h := f.Bytes()[p.L4:]
			if got := tcp(h).ack(); got != 1000 {
				t.Errorf("acknowledgment %d, want 1000", got)
			}
			for i, want := range []uint32{1012, 1017, 1027, 1037} {
				if got := binary.BigEndian.Uint32(h[22+odd+4*i:]); got != want {
					t.Errorf("SACK edge %d: %d, want %d", i, got, want)
				}
			}
		}
	}
	for ack, want := range map[uint32]uint32{999: 999, 1000: 1000, 1001: 1000, 1014: 1000, 1015: 1012, 2000: 1997} {
		if got := e.toSender(ack); got != want {
			t.Errorf("acknowledgment %d: %d, want %d", ack, got, want)
		}
	}
}

// A sender splits and repeats the segments of a stream at random. The receiver must get
// exactly the edited stream, and its acknowledgments must mean the same bytes to the
// sender.
func TestEditedStreamArrivesForAnySegmentation(t *testing.T) {
	seeded.Check(t, func(t *rapid.T) {
		s := anyEditedStream(t)
		for s.sent < len(s.stream) {
			s.advance(t)
			for range rapid.IntRange(0, 3).Draw(t, "repeats") {
				lo := rapid.IntRange(s.safe, s.sent).Draw(t, "from")
				hi := min(s.sent, lo+rapid.IntRange(0, 60).Draw(t, "length"))
				s.transmit(t, lo, hi)
			}
			s.acknowledge(t)
		}
		for at := s.safe; at < s.sent; at += 7 { // a replacement at the end of a segment was held back
			s.transmit(t, at, min(at+7, s.sent))
		}
		if want := s.edited(); !bytes.Equal(s.received, want) {
			t.Fatalf("received %q\nwant %q", s.received, want)
		}
	})
}

type editedStream struct {
	spec
	edits    Edits
	isn      uint32
	stream   []byte
	plan     []plannedEdit // ascending
	done     int           // how many of plan have been added
	sent     int
	safe     int    // nothing before it is sent again
	received []byte // by the receiver; 0 where it has nothing
}

type plannedEdit struct {
	at, was int
	text    []byte
}

// longestText keeps a segment with all edits from growing by more than the headroom.
const longestText = Headroom / maxEdits

func anyEditedStream(t *rapid.T) *editedStream {
	s := &editedStream{spec: tcp4Spec, isn: rapid.Uint32().Draw(t, "isn")}
	if rapid.Bool().Draw(t, "v6") {
		s.spec = tcp6Spec
	}
	at := 0
	for range rapid.IntRange(1, 12).Draw(t, "edits") {
		at += rapid.IntRange(0, 30).Draw(t, "gap")
		e := plannedEdit{at: at, was: rapid.IntRange(1, 30).Draw(t, "was")}
		e.text = bytes.Repeat([]byte{'A' + byte(len(s.plan))}, rapid.IntRange(1, longestText).Draw(t, "is"))
		s.plan = append(s.plan, e)
		at += e.was
	}
	s.stream = make([]byte, at+rapid.IntRange(0, 30).Draw(t, "rest"))
	for i := range s.stream {
		s.stream[i] = 'a' + byte(i%26)
	}
	return s
}

// advance sends new data: up to some byte before the next edit, or a segment that ends
// with the next edit.
func (s *editedStream) advance(t *rapid.T) {
	limit := len(s.stream)
	if s.done < len(s.plan) {
		limit = s.plan[s.done].at
	}
	if to := s.sent + rapid.IntRange(1, 40).Draw(t, "new"); to < limit || s.done == len(s.plan) {
		from := s.sent
		s.sent = min(to, limit)
		s.transmit(t, from, s.sent)
		return
	}
	if s.done >= maxEdits {
		for at := s.safe; at < s.sent; at += 9 { // all has arrived before the oldest edit is dropped
			s.transmit(t, at, min(at+9, s.sent))
		}
		old := s.plan[s.done-maxEdits]
		s.safe = max(s.safe, old.at+old.was)
	}
	e := s.plan[s.done]
	if !s.edits.Add(s.isn+uint32(e.at), e.was, e.text) {
		t.Fatalf("%+v was not added", e)
	}
	s.done++
	from := s.sent
	s.sent = e.at + e.was
	s.transmit(t, from, s.sent)
}

func (s *editedStream) transmit(t *rapid.T, lo, hi int) {
	s.seq, s.payload, s.flags = s.isn+uint32(lo), s.stream[lo:hi], FlagACK
	f := s.sampleIn(t, rapid.SampledFrom(offloadStates).Draw(t, "offload")).frame
	p := mustParse(t, f)
	if r := s.edits.Rewrite(f, p, 1500); r != None {
		t.Fatal(r)
	}
	verifyEdited(t, f, p)
	at := int(int32(tcp(f.Bytes()[p.L4:]).seq() - s.isn))
	if at < 0 {
		t.Fatalf("byte %d of the sender became %d of the receiver", lo, at)
	}
	for i, c := range f.Bytes()[p.Payload:p.End] {
		for len(s.received) <= at+i {
			s.received = append(s.received, 0)
		}
		if had := s.received[at+i]; had != 0 && had != c {
			t.Fatalf("byte %d was %q and now is %q", at+i, had, c)
		}
		s.received[at+i] = c
	}
}

// acknowledge sends the receiver's acknowledgment of all that it has without a gap.
func (s *editedStream) acknowledge(t *rapid.T) {
	n := bytes.IndexByte(append(s.received[:len(s.received):len(s.received)], 0), 0)
	ack := s.spec
	ack.payload, ack.flags, ack.ack = nil, FlagACK, s.isn+uint32(n)
	f := frameOf(ack.build(), 0)
	p := mustParse(t, f)
	s.edits.Acknowledge(f, p)
	verifyEdited(t, f, p)
	got := int(tcp(f.Bytes()[p.L4:]).ack() - s.isn)
	if got < s.safe || got > s.sent || len(s.editedUpTo(got)) != n {
		t.Fatalf("acknowledged %d of the receiver's bytes, which became %d of the sender's %d", n, got, s.sent)
	}
}

func (s *editedStream) edited() []byte { return s.editedUpTo(len(s.stream)) }

func (s *editedStream) editedUpTo(n int) (out []byte) {
	at := 0
	for _, e := range s.plan {
		if e.at+e.was > n {
			break
		}
		out = append(append(out, s.stream[at:e.at]...), e.text...)
		at = e.at + e.was
	}
	return append(out, s.stream[at:n]...)
}

func FuzzEdits(f *testing.F) {
	seed(f, uint16(20), byte(10), []byte("192,0,2,100,4,0"))
	f.Fuzz(func(t *testing.T, b []byte, needs bool, gso byte, size, start, off, at uint16, was byte, text []byte) {
		fr := fuzzFrame(b, needs, gso, size, start, off)
		var p, q Packet
		if !parsed(t, fr, &p) || p.Proto != ProtoTCP || p.Frag == LaterFrag {
			return
		}
		var e Edits
		if !e.Add(tcp(fr.Bytes()[p.L4:]).seq()+uint32(at), int(was), text) {
			return
		}
		single := p.Frag == NotFrag && GSOType(gso) == GSONone
		ok := single && ChecksumOK(fr, &p)
		before := bytes.Clone(fr.Bytes())
		if r := e.Rewrite(fr, &p, 1500); r != None && !bytes.Equal(fr.Bytes(), before) {
			t.Fatalf("%v, and the frame has changed", r)
		}
		e.Acknowledge(fr, &p)
		if r := Parse(fr, &q); r != None || q != p {
			t.Fatalf("%v\n%+v\n%+v", r, p, q)
		}
		if single && fr.Offload.GSO == GSONone && ChecksumOK(fr, &p) != ok {
			t.Fatalf("checksum was right: %v, and now is not", ok)
		}
	})
}

func TestEditsAllocateNothing(t *testing.T) {
	reply := frameOf(segment(1000, "227 at (10,0,0,1,4,0).\r\n").build(), 0)
	ack := tcp4Spec
	ack.flags, ack.ack = FlagACK, 2000
	work := Frame{Buf: make([]byte, 1500)}
	load := func(f *Frame, p *Packet) {
		work.Head, work.Tail = Headroom, Headroom+copy(work.Buf[Headroom:], f.Bytes())
		if Parse(&work, p) != None {
			panic("does not parse")
		}
	}
	acks := frameOf(ack.build(), 0)
	var e Edits
	var p Packet
	if n := testing.AllocsPerRun(100, func() {
		load(reply, &p)
		x, ok := ParseFTP(work.Bytes()[p.Payload:p.End], true)
		var text [MaxEdit]byte
		e = Edits{}
		if !ok || !e.Add(1000+uint32(x.At), x.Len, x.Append(text[:0], vip4, x.Port)) || e.Rewrite(&work, &p, 1500) != None {
			panic("not edited")
		}
		load(acks, &p)
		e.Acknowledge(&work, &p)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A TCP checksum of 0 is valid, and 0xffff, which ones-complement arithmetic makes of it, is
// another one (RFC 1624 §3).
func TestEditsLeaveTheBytesOfUneditedSegments(t *testing.T) {
	s := segment(1000, "\x00\x00")
	f := frameOf(s.build(), 0)
	p := mustParse(t, f)
	s.payload = bytes.Clone(f.Bytes()[p.L4+tcpChecksum:][:2]) // so that the sum is 0xffff
	f = frameOf(s.build(), 0)
	p = mustParse(t, f)
	for _, sum := range []uint16{0, 0xffff} {
		binary.BigEndian.PutUint16(f.Bytes()[p.L4+tcpChecksum:], sum)
		before := partsOf(f, p)
		var e Edits
		if r := e.Rewrite(f, p, 1500); r != None || partsOf(f, p) != before {
			t.Errorf("checksum %#04x: %v; changed: %v", sum, r, partsOf(f, p) != before)
		}
		if e.Acknowledge(f, p); partsOf(f, p) != before {
			t.Errorf("checksum %#04x: changed by Acknowledge", sum)
		}
	}
}
