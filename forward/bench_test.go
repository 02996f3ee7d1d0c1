package forward

import (
	"fmt"
	"testing"
)

func BenchmarkParse(b *testing.B) {
	for _, c := range []struct {
		name string
		spec spec
	}{{"tcp4", tcp4Spec}, {"udp4", udp4Spec}, {"tcp6", tcp6Spec}, {"tcp6-hop-by-hop", tcp6Spec.with(extHopByHop, ProtoTCP, 0, 1, 4, 0, 0, 0, 0)}} {
		b.Run(c.name, func(b *testing.B) {
			f := frameOf(c.spec.build(), 0)
			var p Packet
			for b.Loop() {
				if Parse(f, &p) != None {
					b.Fatal("does not parse")
				}
			}
		})
	}
}

func BenchmarkChecksum(b *testing.B) {
	for _, n := range []int{20, 64, 1460, 65535} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			data := pattern(n, 1)
			b.SetBytes(int64(n))
			for b.Loop() {
				sum(data)
			}
		})
	}
}

func BenchmarkDSR(b *testing.B) {
	for name, s := range map[string]spec{"tcp4": tcp4Spec, "tcp6": tcp6Spec} {
		b.Run(name, func(b *testing.B) {
			f := frameOf(s.build(), 0)
			p := mustParse(b, f)
			for b.Loop() {
				DSR(f, p, macC, macB)
			}
		})
	}
}

func BenchmarkNAT(b *testing.B) {
	for name, s := range map[string]spec{"tcp4": tcp4Spec, "tcp6": tcp6Spec, "udp4": udp4Spec, "sctp4": sctpSpec} {
		b.Run(name, func(b *testing.B) {
			f := frameOf(s.build(), 0)
			p := mustParse(b, f)
			to := server4
			if p.Version == 6 {
				to = server6
			}
			port := uint16(0)
			for b.Loop() {
				port++
				NATRequest(f, p, &to, port)
			}
		})
	}
}

func BenchmarkEncapsulate(b *testing.B) {
	s := tcp4Spec
	s.payload = pattern(1400, 1)
	for _, kind := range []TunnelKind{IPIP, GUE, GRE} {
		for _, unfinished := range []bool{false, true} {
			name := kind.String()
			if unfinished {
				name += "-unfinished"
			}
			b.Run(name, func(b *testing.B) {
				f := frameOf(s.build(), 0)
				if unfinished {
					leave(b, f)
				}
				p := mustParse(b, f)
				t := &Tunnel{Kind: kind, Csum: true, Local: local4, Remote: server4, Port: guePort}
				was, head, tail := *p, f.Head, f.Tail
				offload := f.Offload
				for b.Loop() {
					*p, f.Head, f.Tail, f.Offload = was, head, tail, offload
					if Encapsulate(f, p, t, 1, 2) != None {
						b.Fatal("refused")
					}
				}
			})
		}
	}
}

func BenchmarkSegment(b *testing.B) {
	for name, s := range map[string]spec{"tcp4": tcp4Spec, "tcp6": tcp6Spec, "udp4": udp4Spec} {
		b.Run(name, func(b *testing.B) {
			s.payload = pattern(64000, 1)
			f := frameOf(s.build(), 0)
			leave(b, f)
			f.Offload.GSO, f.Offload.GSOSize = s.gsoType(), 1400
			p := mustParse(b, f)
			out := frameOf(nil, 2000)
			b.SetBytes(64000)
			for b.Loop() {
				var g Segmenter
				var q Packet
				g.Start(f, p, 0)
				for g.Next(out, &q) {
				}
			}
		})
	}
}

func BenchmarkFragTable(b *testing.B) {
	first, later := piece(udp4Spec, 0, 1400, true), piece(udp4Spec, 1400, 800, false)
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
