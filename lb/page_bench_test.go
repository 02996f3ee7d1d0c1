package lb

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golb/golb/forward"
)

// BenchmarkPage is what a worker needs for a SYN to a page, and for a request that is
// answered with ten segments.
func BenchmarkPage(b *testing.B) {
	const clients = 2048
	src, dst := netip.MustParseAddrPort("198.51.100.1:4000"), netip.MustParseAddrPort("192.0.2.80:80")
	s := pageService(strings.Repeat("sorry ", 800))
	s.VIP, s.Port = dst.Addr(), dst.Port()
	x := newRig(b, Config{MaxConnections: minConnections, Services: []Service{s}, Settings: Settings{AnswerRate: 1 << 30}})
	x.advance(ticksPerSecond)
	seg := forward.TCPSegment{
		SrcMAC: rigClient, DstMAC: rigMAC, Src: forward.AddrFrom(src.Addr()), Dst: forward.AddrFrom(dst.Addr()),
		SrcPort: src.Port(), DstPort: dst.Port(), Seq: 7, Flags: forward.FlagSYN, MSS: 536,
	}
	f := forward.Frame{Buf: make([]byte, 200)}
	// The page is sent on one connection only once in a while, so there are several.
	var syns, requests [clients][]byte
	for i := range clients {
		seg := seg
		seg.SrcPort += uint16(i)
		seg.Build(&f)
		syns[i] = slices.Clone(f.Bytes())
		_, sent := x.handle(0, syns[i])
		answer := forward.Frame{Buf: sent[0], Tail: len(sent[0])}
		var p forward.Packet
		forward.Parse(&answer, &p)
		iss, _ := forward.Sequence(&answer, &p)
		seg.Seq, seg.Ack, seg.Flags, seg.MSS, seg.Payload = 8, iss+1, forward.FlagACK, 0, []byte("GET / HTTP/1.1\r\n\r\n")
		seg.Build(&f)
		requests[i] = slices.Clone(f.Bytes())
	}
	for _, c := range []struct {
		name   string
		frames [clients][]byte
		want   int
	}{{"syn", syns, 1}, {"request", requests, 10}} {
		b.Run(c.name, func(b *testing.B) {
			w, port := x.n.workers[0], x.ports[0]
			port.keep, port.n = false, 0
			buf := make([]byte, forward.Headroom+forward.MaxSegmentHeaders+64)
			batch := make([]forward.Frame, 1)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				if n%clients == 0 {
					x.now = x.now.Add(time.Second / 4)
				}
				frame := c.frames[n%clients]
				copy(buf[forward.Headroom:], frame)
				batch[0] = forward.Frame{Buf: buf, Head: forward.Headroom, Tail: forward.Headroom + len(frame)}
				w.Handle(batch)
				n++
			}
			if port.n != c.want*n {
				b.Errorf("%d frames for %d", port.n, n)
			}
		})
	}
}
