package forward

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"github.com/golb/golb/lb/lbtest/seeded"
)

// fragmentFrame makes a fragment with n bytes at offset off of a datagram.
func fragmentFrame(s spec, off, n int, more bool) *Frame {
	v := uint16(off)
	if s.src.Is4() {
		s.proto, s.payload = 254, pattern(n, byte(off)) // 254 (RFC 3692) has no transport header
		b := s.build()
		v >>= 3
		if more {
			v |= ip4MF
		}
		return frameOf(edit(s, 6, int(v>>8), 7, int(v&255), 4, int(b[4])), 0)
	}
	if more {
		v |= 1
	}
	h := []byte{254, 0, byte(v >> 8), byte(v), 0, 0, byte(s.id >> 8), byte(s.id)}
	s.proto, s.payload = 254, pattern(n, byte(off))
	return frameOf(s.with(extFragment, h...).build(), 0)
}

// fragTest is a table and its clock.
type fragTest struct {
	*testing.T
	table *FragTable
	now   uint32
}

func newFragTest(t *testing.T, c FragConfig) *fragTest {
	return &fragTest{T: t, table: NewFragTable(c)}
}

// give passes a fragment to the table, which must return want. It returns how many
// fragments had waited for a first fragment.
func (t *fragTest) give(f *Frame, want Reason) (waited int) {
	t.Helper()
	p := mustParse(t, f)
	if p.Frag == FirstFrag {
		if r := t.table.First(p, t.now, uint64(p.FragID)); r != want {
			t.Fatalf("first: %v, want %v", r, want)
		}
		dst := frameOf(nil, 65600)
		for t.table.Take(p, dst) {
			waited++
		}
		return waited
	}
	d, r := t.table.Later(f, p, t.now)
	if r != want {
		t.Fatalf("later at %d: %v, want %v", p.FragOff, r, want)
	}
	if r == None && d != uint64(p.FragID) {
		t.Fatalf("decision %d, want %d", d, p.FragID)
	}
	return 0
}

func from(s spec, last byte, id uint16) spec {
	s.src[15], s.id = last, id
	return s
}

func TestFragmentsFollowTheFirst(t *testing.T) {
	for _, s := range []spec{udp4Spec, udp6Spec} {
		ft := newFragTest(t, FragConfig{})
		ft.give(fragmentFrame(s, 0, 800, true), None)
		ft.give(fragmentFrame(s, 800, 800, true), None)
		if ft.table.Len() != 1 {
			t.Fatalf("%d datagrams", ft.table.Len())
		}
		ft.give(fragmentFrame(s, 1600, 13, false), None)
		if ft.table.Len() != 0 {
			t.Error("the datagram has passed and is not forgotten")
		}
	}
}

func TestFragmentsWaitForTheFirst(t *testing.T) {
	for _, s := range []spec{udp4Spec, udp6Spec} {
		ft := newFragTest(t, FragConfig{})
		last, middle := fragmentFrame(s, 1600, 13, false), fragmentFrame(s, 800, 800, true)
		last.Port, middle.Port = 3, 4
		ft.give(last, FragmentQueued)
		ft.give(middle, FragmentQueued)
		p := mustParse(t, fragmentFrame(s, 0, 800, true))
		mustDo(t, ft.table.First(p, 0, 1))
		for _, want := range []*Frame{last, middle} {
			dst := frameOf(nil, 2000)
			if !ft.table.Take(p, dst) || !bytes.Equal(dst.Bytes(), want.Bytes()) || dst.Port != want.Port {
				t.Fatal("not the frame that waited")
			}
		}
		if ft.table.Take(p, frameOf(nil, 2000)) || ft.table.Len() != 0 {
			t.Error("something is left")
		}
	}
}

func TestALoneLaterFragmentIsNeverSent(t *testing.T) {
	ft := newFragTest(t, FragConfig{})
	f := fragmentFrame(udp4Spec, 800, 800, true)
	ft.give(f, FragmentQueued)
	if ft.table.Take(mustParse(t, f), frameOf(nil, 2000)) {
		t.Error("taken without a first fragment")
	}
	if n := ft.table.Expire(29); n != 0 {
		t.Errorf("%d forgotten after 29 ticks", n)
	}
	if n := ft.table.Expire(30); n != 1 || ft.table.Len() != 0 {
		t.Errorf("%d forgotten after 30 ticks", n)
	}
}

func TestFragmentsOfDifferentDatagramsDoNotMix(t *testing.T) {
	ft := newFragTest(t, FragConfig{})
	ft.give(fragmentFrame(from(udp4Spec, 1, 1), 0, 8, true), None)
	ft.give(fragmentFrame(from(udp4Spec, 2, 1), 8, 8, false), FragmentQueued)
	ft.give(fragmentFrame(from(udp4Spec, 1, 2), 8, 8, false), FragmentQueued)
	other := from(udp4Spec, 1, 1)
	other.dst[15]++
	ft.give(fragmentFrame(other, 8, 8, false), FragmentQueued)
	ft.give(fragmentFrame(from(udp6Spec, 1, 1), 8, 8, false), FragmentQueued)
	f := fragmentFrame(from(udp4Spec, 1, 1), 8, 8, false)
	f = frameOf(edit(spec{src: f4(f), dst: vip4, proto: 253, id: 1, payload: make([]byte, 8)}, 7, 1), 0)
	ft.give(f, FragmentQueued) // another protocol (RFC 791 §2.3)
}

func f4(f *Frame) Addr { return AddrFrom4([4]byte(packetOf(f)[12:16])) }

func TestOverlapEndsTheDatagram(t *testing.T) {
	type frag struct {
		off, n int
		more   bool
	}
	for _, c := range []struct {
		name  string
		frags []frag // the last one overlaps
	}{
		{"tail of another", []frag{{0, 800, true}, {792, 16, true}}},
		{"head of another", []frag{{800, 800, true}, {792, 16, true}}},
		{"around another", []frag{{800, 80, true}, {792, 800, true}}},
		{"over two others", []frag{{800, 80, true}, {880, 80, true}, {1600, 80, true}, {872, 800, true}}},
		{"the first around another", []frag{{8, 80, true}, {0, 800, true}}},
		{"beyond the end", []frag{{800, 13, false}, {816, 80, true}}},
		{"to the end, and more", []frag{{800, 16, false}, {0, 816, true}}},
		{"a second end", []frag{{800, 13, false}, {800, 20, false}}},
		{"an end before what has come", []frag{{800, 80, true}, {400, 13, false}}},
	} {
		for _, s := range []spec{udp4Spec, udp6Spec} {
			t.Run(c.name, func(t *testing.T) {
				ft := newFragTest(t, FragConfig{})
				for i, g := range c.frags {
					want := FragmentQueued
					if g.off == 0 || c.frags[0].off == 0 {
						want = None
					}
					if i == len(c.frags)-1 {
						want = FragmentOverlap
					}
					ft.give(fragmentFrame(s, g.off, g.n, g.more), want)
				}
				if n := ft.give(fragmentFrame(s, 0, 8, true), FragmentOverlap); n != 0 {
					t.Errorf("%d fragments of a dropped datagram waited", n)
				}
				ft.give(fragmentFrame(s, 4000, 8, true), FragmentOverlap)
				ft.now = 31
				ft.give(fragmentFrame(s, 0, 8, true), None)
			})
		}
	}
}

func TestRepeatedFragmentsAreDropped(t *testing.T) {
	ft := newFragTest(t, FragConfig{})
	ft.give(fragmentFrame(udp4Spec, 800, 800, true), FragmentQueued)
	ft.give(fragmentFrame(udp4Spec, 800, 800, true), FragmentDuplicate)
	ft.give(fragmentFrame(udp4Spec, 1600, 800, true), FragmentQueued)
	ft.give(fragmentFrame(udp4Spec, 1000, 800, true), FragmentDuplicate) // nothing new in it, as in Linux
	if n := ft.give(fragmentFrame(udp4Spec, 0, 800, true), None); n != 2 {
		t.Errorf("%d waited, want 2", n)
	}
	ft.give(fragmentFrame(udp4Spec, 1600, 800, true), FragmentDuplicate)
}

func TestARepeatedFirstFragmentBeginsANewDatagram(t *testing.T) {
	ft := newFragTest(t, FragConfig{})
	ft.give(fragmentFrame(udp4Spec, 0, 800, true), None)
	ft.give(fragmentFrame(udp4Spec, 1600, 13, false), None) // 800 to 1600 is lost
	ft.now = 20
	ft.give(fragmentFrame(udp4Spec, 0, 800, true), None) // the identification is in use again
	ft.give(fragmentFrame(udp4Spec, 800, 1600, true), None)
	ft.give(fragmentFrame(udp4Spec, 2400, 5, false), None)
	if ft.table.Len() != 0 {
		t.Error("not forgotten")
	}
}

func TestTheClockMayWrap(t *testing.T) {
	ft := newFragTest(t, FragConfig{Timeout: 1000})
	ft.now = ^uint32(0) - 500
	ft.give(fragmentFrame(udp4Spec, 800, 800, true), FragmentQueued)
	ft.now += 999
	if ft.table.Expire(ft.now); ft.table.Len() != 1 {
		t.Error("forgotten early")
	}
	if ft.table.Expire(ft.now + 1); ft.table.Len() != 0 {
		t.Error("not forgotten")
	}
}

func TestAFloodEvictsItsOwnDatagrams(t *testing.T) {
	for _, first := range []bool{true, false} {
		for _, s := range []spec{udp4Spec, udp6Spec} {
			ft := newFragTest(t, FragConfig{MaxDatagrams: 64, PerSource: 8, MaxBytes: 64 * chunkSize})
			flood := s
			flood.src[0], flood.src[12] = s.src[0], s.src[12]+1
			if s.src.Is4() {
				flood.src = addr("192.0.2.1")
			} else {
				flood.src = addr("2001:db8:bad::1")
			}
			ft.give(fragmentFrame(from(s, 5, 1), 0, 8, true), None)
			ft.give(fragmentFrame(from(s, 5, 2), 8, 1400, true), FragmentQueued)
			for i := range 1000 {
				if flood.id = uint16(i); !s.src.Is4() {
					flood.src[15] = byte(i) // all of a /64 is one source
				}
				if first {
					ft.give(fragmentFrame(flood, 0, 1400, true), None)
				} else {
					ft.give(fragmentFrame(flood, 1400, 1400, true), FragmentQueued)
				}
			}
			if n := ft.table.Len(); n != 2+8 {
				t.Errorf("%d datagrams, want 2 and 8 of the flood", n)
			}
			ft.give(fragmentFrame(from(s, 5, 1), 8, 8, false), None)
			if n := ft.give(fragmentFrame(from(s, 5, 2), 0, 8, true), None); n != 1 {
				t.Errorf("%d waited, want 1", n)
			}
		}
	}
}

func TestWaitingMemoryIsBoundedPerSource(t *testing.T) {
	ft := newFragTest(t, FragConfig{MaxBytes: 16 * chunkSize}) // 4 of one source
	for i := range 10 {
		ft.give(fragmentFrame(from(udp4Spec, 5, uint16(i)), 8, 1400, true), FragmentQueued)
	}
	if ft.table.Len() != 4 {
		t.Errorf("%d datagrams wait, want 4", ft.table.Len())
	}
	for i := range 10 {
		want := 0
		if i >= 6 {
			want = 1
		}
		if n := ft.give(fragmentFrame(from(udp4Spec, 5, uint16(i)), 0, 8, true), None); n != want {
			t.Errorf("datagram %d: %d waited, want %d", i, n, want)
		}
	}
	// A datagram that needs more than its source's share is dropped as a whole.
	for i := range 4 {
		ft.give(fragmentFrame(from(udp4Spec, 6, 1), 1400*(i+1), 1400, true), FragmentQueued)
	}
	ft.give(fragmentFrame(from(udp4Spec, 6, 1), 1400*5, 1400, true), FragmentQueueFull)
	ft.give(fragmentFrame(from(udp4Spec, 6, 1), 0, 1400, true), FragmentQueueFull)
	big := fragmentFrame(from(udp4Spec, 7, 1), 8, 4*chunkSize, true)
	ft.give(big, FragmentQueueFull)
	if free := ft.table.chunks.nfree; free != 16 {
		t.Errorf("%d of 16 chunks are free", free)
	}
}

func TestAFullTableEvictsTheOldest(t *testing.T) {
	ft := newFragTest(t, FragConfig{MaxDatagrams: 16, PerSource: 4, MaxBytes: 8 * chunkSize})
	for i := range 12 {
		ft.now = uint32(i)
		ft.give(fragmentFrame(from(udp4Spec, byte(i), 1), 8, 8, true), FragmentQueued)
	}
	if ft.table.Len() != 8 {
		t.Errorf("%d wait in memory for 8", ft.table.Len())
	}
	for i := range 20 {
		ft.give(fragmentFrame(from(udp4Spec, byte(100+i), 1), 0, 8, true), None)
	}
	if ft.table.Len() != 16 {
		t.Errorf("%d datagrams, want 16", ft.table.Len())
	}
	ft.give(fragmentFrame(from(udp4Spec, 119, 1), 8, 8, false), None)
	ft.give(fragmentFrame(from(udp4Spec, 100, 1), 8, 8, false), FragmentQueued)
}

func TestTooManyHolesEndTheDatagram(t *testing.T) {
	ft := newFragTest(t, FragConfig{})
	for i := range maxSpans {
		ft.give(fragmentFrame(udp4Spec, 16*(i+1), 8, true), FragmentQueued)
	}
	ft.give(fragmentFrame(udp4Spec, 16*(maxSpans+1), 8, true), FragmentQueueFull)
	ft.give(fragmentFrame(udp4Spec, 0, 8, true), FragmentQueueFull)
}

// All fragments of a datagram pass exactly once, whatever their order and whichever
// others they are mixed with.
func TestAllFragmentsPassInAnyOrder(t *testing.T) {
	seeded.Check(t, func(t *rapid.T) {
		table := NewFragTable(FragConfig{Seed: rapid.Uint64().Draw(t, "seed"), MaxDatagrams: 64, PerSource: 64})
		type ev struct {
			id uint16
			f  *Frame
		}
		var evs []ev
		want := map[uint16][]byte{}
		n := rapid.IntRange(1, 8).Draw(t, "datagrams")
		for id := range uint16(n) {
			s := udp4Spec
			if rapid.Bool().Draw(t, "v6") {
				s = udp6Spec
			}
			s.id, s.payload = id, pattern(rapid.IntRange(100, 4000).Draw(t, "len"), byte(id))
			f := frameOf(s.build(), 0)
			p := mustParse(t, f)
			want[id] = f.Bytes()[p.L4:p.End]
			var g Fragmenter
			mustDo(t, g.Start(f, p, rapid.SampledFrom([]int{96, 576, 1280}).Draw(t, "mtu"), uint32(id)))
			for q := new(Packet); ; {
				o := &Frame{Buf: make([]byte, g.FrameLen())}
				if !g.Next(o, q) {
					break
				}
				if q.Frag != NotFrag {
					evs = append(evs, ev{id, o})
				} else {
					delete(want, id)
				}
			}
		}
		perm := rapid.Permutation(evs).Draw(t, "order")
		got, pieces := map[uint16][]byte{}, map[uint16]int{}
		passed := func(f *Frame) {
			p := mustParse(t, f)
			id := uint16(p.FragID)
			if got[id] == nil {
				got[id] = make([]byte, len(want[id]))
			}
			pieces[id] += copy(got[id][p.FragOff:], f.Bytes()[p.L4:p.End])
		}
		lost := map[uint16]bool{}
		for _, e := range perm {
			p := mustParse(t, e.f)
			if p.Frag == FirstFrag {
				switch r := table.First(p, 0, uint64(e.id)); r {
				case None:
					passed(e.f)
				case FragmentQueueFull:
					lost[e.id] = true
				default:
					t.Fatal(r)
				}
				for dst := frameOf(nil, 2000); table.Take(p, dst); {
					passed(dst)
				}
				continue
			}
			switch d, r := table.Later(e.f, p, 0); r {
			case None:
				if d != uint64(e.id) {
					t.Fatalf("decision %d, want %d", d, e.id)
				}
				passed(e.f)
			case FragmentQueued:
			case FragmentQueueFull: // too many holes: small MTUs in a bad order
				lost[e.id] = true
			default:
				t.Fatal(r)
			}
		}
		for id, w := range want {
			if lost[id] {
				continue
			}
			if !bytes.Equal(got[id], w) || pieces[id] != len(w) {
				t.Fatalf("datagram %d: %d bytes passed, want %d once each", id, pieces[id], len(w))
			}
		}
		if len(lost) == 0 && table.Len() != 0 {
			t.Fatalf("%d datagrams are not forgotten", table.Len())
		}
		checkTable(t, table)
	})
}

// checkTable checks that the table's chains and counters agree.
func checkTable(t tb, table *FragTable) {
	t.Helper()
	entries, chunks := 0, int32(0)
	perSource := map[int32]int32{}
	for _, head := range table.buckets {
		for i := head; i != nil32; i = table.entries[i].next {
			e := &table.entries[i]
			entries++
			for c := e.queue.head; c != nil32; c = table.chunks.meta[c].frame {
				n := chunksFor(int(table.chunks.meta[c].size))
				chunks += n
				perSource[e.source] += n
			}
		}
	}
	for i := table.free; i != nil32; i = table.entries[i].next {
		entries++
	}
	if entries != len(table.entries) {
		t.Fatalf("%d entries of %d", entries, len(table.entries))
	}
	if int(chunks+table.chunks.nfree) != len(table.chunks.meta) {
		t.Fatalf("%d chunks in use and %d free of %d", chunks, table.chunks.nfree, len(table.chunks.meta))
	}
	held := 0
	for _, head := range table.sources.buckets {
		for i := head; i != nil32; i = table.sources.recs[i].next {
			r := &table.sources.recs[i]
			if r.chunks != perSource[i] || r.entries() == 0 {
				t.Fatalf("source %v: %d chunks, want %d; %d entries", r.addr, r.chunks, perSource[i], r.entries())
			}
			held += int(r.entries())
		}
	}
	if held != table.Len() {
		t.Fatalf("sources hold %d datagrams of %d", held, table.Len())
	}
}
