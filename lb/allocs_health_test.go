//go:build !race

package lb

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/golb/golb/forward"
)

// TestWhatFollowsFromHealthAllocatesNothing is TestForwardAllocatesNothing for
// fallbacks, pages, evidence and probes.
func TestWhatFollowsFromHealthAllocatesNothing(t *testing.T) {
	src, dst := netip.MustParseAddrPort("198.51.100.1:4000"), netip.MustParseAddrPort("192.0.2.80:80")
	syn := rigFrame(rigClient, TCP, src, dst, forward.FlagSYN)
	check := func(name string, x *healthRig, frame []byte, vary func(round int, frame []byte), sent int) {
		t.Helper()
		w, p := x.n.workers[0], x.ports[0]
		p.keep = false
		buf := make([]byte, forward.Headroom+len(frame)+64)
		batch := make([]forward.Frame, 1)
		round := 0
		handle := func() {
			copy(buf[forward.Headroom:], frame)
			vary(round, buf[forward.Headroom:][:len(frame)])
			batch[0] = forward.Frame{Buf: buf, Head: forward.Headroom, Tail: forward.Headroom + len(frame)}
			w.Handle(batch)
			if round++; round%64 == 0 {
				x.advance(ticksPerSecond)
			}
		}
		for range 256 {
			handle()
		}
		p.n = 0
		handle()
		if p.n != sent {
			t.Errorf("%s: %d frames sent, want %d", name, p.n, sent)
		}
		if n := testing.AllocsPerRun(300, handle); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	same := func(int, []byte) {}
	check("fallback server", newHealthRig(t, Service{Fallback: sorry(DSR)}), syn, allocNewPort, 1)
	check("SYN repeated", newHealthRig(t, Service{}, 1), syn, same, 1)

	x := newHealthRig(t, pageService(strings.Repeat("sorry ", 800)))
	x.advance(ticksPerSecond)
	check("SYN to a page", x, syn, same, 1)
	c := newPageClient(t, x, 1, "")
	c.src, c.mss = src, 536
	c.tick()
	s := forward.TCPSegment{
		SrcMAC: rigClient, DstMAC: rigMAC, Src: forward.AddrFrom(src.Addr()), Dst: forward.AddrFrom(dst.Addr()),
		SrcPort: src.Port(), DstPort: dst.Port(), Seq: c.isn + 1, Ack: c.irs + 1, Flags: forward.FlagACK, Payload: []byte("GET"),
	}
	f := forward.Frame{Buf: make([]byte, 200)}
	s.Build(&f)
	check("request to a page", x, f.Bytes(), same, 10)
	s.Ack++
	f = forward.Frame{Buf: make([]byte, 200)}
	s.Build(&f)
	check("stray segment", x, f.Bytes(), same, 1) // a reset
}
