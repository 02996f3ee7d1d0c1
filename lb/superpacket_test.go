//go:build !race

package lb

import (
	"testing"

	"github.com/golb/golb/forward"
)

// A super-packet without Don't Fragment whose packets are too long for the server's link
// becomes packets that fit: shorter segments, or fragments of its datagrams.
func TestSuperPacketsOfTooLongPacketsAreCut(t *testing.T) {
	const payload = 8000
	tcp := forward.Offload{NeedsCsum: true, GSO: forward.GSOTCPv4, GSOSize: 2000, CsumStart: 34, CsumOffset: 16, HdrLen: 54}
	udp := forward.Offload{NeedsCsum: true, GSO: forward.GSOUDPL4, GSOSize: 2000, CsumStart: 34, CsumOffset: 6, HdrLen: 42}
	tests := []struct {
		service   string
		proto     Protocol
		offload   forward.Offload
		packets   int
		transport int // bytes of all transport headers
	}{
		{"dsr4", TCP, tcp, 6, 6 * 20}, // of up to 1460 bytes each
		{"dsr4", UDP, udp, 8, 4 * 8},  // four datagrams of two fragments
		{"nat4", TCP, tcp, 6, 6 * 20},
		{"nat4", UDP, udp, 8, 4 * 8},
	}
	for _, tt := range tests {
		t.Run(tt.service+" "+tt.proto.String(), func(t *testing.T) {
			x := newAllocRig(t)
			w, port, dst := x.n.workers[0], x.ports[0], allocDst(tt.service)
			x.handle(0, rigFrame(rigClient, tt.proto, allocClient4, dst, forward.FlagSYN))
			port.sent = nil
			n := copy(x.buf[forward.Headroom:], allocLonger(rigFrame(rigClient, tt.proto, allocClient4, dst, forward.FlagACK), payload))
			w.Handle([]forward.Frame{{Buf: x.buf, Head: forward.Headroom, Tail: forward.Headroom + n, Offload: tt.offload}})
			total := 0
			for _, b := range port.sent {
				var p forward.Packet
				f := forward.Frame{Buf: b, Tail: len(b)}
				if r := forward.Parse(&f, &p); r != forward.None || len(b) > 14+1500 || !forward.ChecksumOK(&f, &p) {
					t.Errorf("%d bytes, %v", len(b), r)
				}
				total += p.End - p.L4
			}
			if len(port.sent) != tt.packets || total != payload+tt.transport {
				t.Errorf("%d packets of %d bytes, want %d of %d", len(port.sent), total, tt.packets, payload+tt.transport)
			}
		})
	}
}
