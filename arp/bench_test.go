package arp

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

// BenchmarkInput is one frame from parsing to the frame in answer. What other
// hosts ask each other, "other", is what a busy network mostly has.
func BenchmarkInput(b *testing.B) {
	for _, bc := range []struct {
		name  string
		frame []byte
	}{
		{"ARP/answered", request(macOf(3), v4.addr(3), v4.addr(100), mac{})},
		{"ARP/other", request(macOf(3), v4.addr(3), v4.addr(99), mac{})},
		{"ND/answered", request(macOf(3), v6.addr(3), v6.addr(100), mac{})},
		{"ND/other", request(macOf(3), v6.addr(3), v6.addr(99), mac{})},
	} {
		b.Run(bc.name, func(b *testing.B) {
			m, sent := newTestMachine(b)
			b.ReportAllocs()
			for b.Loop() {
				m.input(bc.frame, epoch)
				*sent = (*sent)[:0]
			}
		})
	}
}

// BenchmarkRefresh is a confirmation of one of many neighbors: request out, answer
// in.
func BenchmarkRefresh(b *testing.B) {
	m, sent := newTestMachine(b)
	m.random = rand.Float64
	now := epoch
	for i := range 1000 {
		m.resolve(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), &subscriber{changed: func([6]byte, bool) {}}, now)
	}
	b.ReportAllocs()
	for b.Loop() {
		if at, ok := m.timers.next(); ok && at.After(now) {
			now = at
		}
		m.timers.run(now)
		for _, f := range *sent {
			q, err := parse(f)
			must(b, err)
			m.input(reply(macOf(2), &q), now)
		}
		*sent = (*sent)[:0]
	}
}
