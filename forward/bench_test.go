package forward

import "testing"

// Package benchmarks measures plain TCP and UDP.

func BenchmarkParseExtensions(b *testing.B) {
	f := frameOf(tcp6Spec.with(extHopByHop, ProtoTCP, 0, 1, 4, 0, 0, 0, 0).build(), 0)
	var p Packet
	for b.Loop() {
		if Parse(f, &p) != None {
			b.Fatal("does not parse")
		}
	}
}

// The checksum of SCTP cannot be updated, only computed.
func BenchmarkNATOfSCTP(b *testing.B) {
	f := frameOf(sctpSpec.build(), 0)
	p := mustParse(b, f)
	port := uint16(0)
	for b.Loop() {
		port++
		if NATRequest(f, p, &server4, port) != None {
			b.Fatal("refused")
		}
	}
}

func BenchmarkFragTable(b *testing.B) {
	first, later := fragmentFrame(udp4Spec, 0, 1400, true), fragmentFrame(udp4Spec, 1400, 800, false)
	p, q := mustParse(b, first), mustParse(b, later)
	t := NewFragTable(FragConfig{})
	b.Run("in order", func(b *testing.B) {
		for b.Loop() {
			t.First(p, 0, 1)
			t.Later(later, q, 0)
		}
	})
	b.Run("first last", func(b *testing.B) {
		dst := frameOf(nil, 2000)
		for b.Loop() {
			t.Later(later, q, 0)
			t.First(p, 0, 1)
			t.Take(p, dst)
		}
	})
}
