package lb

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"

	"github.com/golb/golb/forward"
)

// answerRig has something to draw each kind of answer from.
type answerRig struct {
	*healthRig
	n uint32
}

var (
	pageVIP = netip.MustParseAddrPort("192.0.2.80:80")  // whose service has a page and no server
	dsrVIP  = netip.MustParseAddrPort("192.0.2.81:443") // whose service has a server
)

func newAnswerRig(t *testing.T) *answerRig {
	cfg := Config{MaxConnections: minConnections, Services: []Service{
		{VIP: pageVIP.Addr(), Port: pageVIP.Port(), Fallback: Fallback{Page: "<p>" + strings.Repeat("sorry ", 800)}},
		{VIP: dsrVIP.Addr(), Port: dsrVIP.Port(), Servers: []Server{{Address: rigServer(1)}}},
	}}
	x := &answerRig{healthRig: &healthRig{t: t}}
	x.rig = newRig(t, cfg)
	x.advance(2 * ticksPerSecond)
	return x
}

// client is another address for each call.
func (x *answerRig) client() netip.AddrPort {
	x.n++
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(x.n >> 8), byte(x.n)}), 4000)
}

// answers are the frames that draw one answer each, by kind.
func (x *answerRig) answers() map[string]func() []byte {
	return map[string]func() []byte{
		"echo": func() []byte { return rigPing(x.client().Addr(), dsrVIP.Addr()) },
		"too big": func() []byte {
			f := rigFrame(rigClient, TCP, x.client(), dsrVIP, forward.FlagSYN)
			return rigLengthen(f, 3000)
		},
		"time exceeded": func() []byte {
			f := rigFrame(rigClient, TCP, x.client(), dsrVIP, forward.FlagSYN)
			f[14+8] = 1
			rigHeaderSum(f)
			return f
		},
		"unreachable": func() []byte { return rigFrame(rigClient, UDP, x.client(), dsrVIP, 0) },
		"reset": func() []byte {
			return rigFrame(rigClient, TCP, x.client(), netip.AddrPortFrom(dsrVIP.Addr(), 81), forward.FlagSYN)
		},
		"page SYN": func() []byte { return rigFrame(rigClient, TCP, x.client(), pageVIP, forward.FlagSYN) },
	}
}

// rigPing is an echo request.
func rigPing(src, dst netip.Addr) []byte {
	m := []byte{8, 0, 0, 0, 0, 1, 0, 1}
	binary.BigEndian.PutUint16(m[2:], rigFold(rigSum(0, m)))
	f := append(rigMAC[:], rigClient[:]...)
	return append(append(f, rigHeader(1, src, dst, len(m))...), m...)
}

// rigLengthen makes a frame's IP packet n bytes long, with Don't Fragment.
func rigLengthen(f []byte, n int) []byte {
	f = append(f, make([]byte, n+14-len(f))...)
	binary.BigEndian.PutUint16(f[14+2:], uint16(n))
	f[14+6] |= 0x40
	rigHeaderSum(f)
	return f
}

// TestAFloodOfOneAnswerLeavesTheOthersTheirs floods golb with 5,000 frames a second of
// each kind that it answers, and looks whether each other kind is answered, and a page
// delivered.
func TestAFloodOfOneAnswerLeavesTheOthersTheirs(t *testing.T) {
	const perTick = 5000 / ticksPerSecond
	for flood := range newAnswerRig(t).answers() {
		t.Run(flood, func(t *testing.T) {
			x := newAnswerRig(t)
			kinds := x.answers()
			answered := 0
			wait := func() {
				for range 4 {
					x.advance(1)
					for range perTick {
						_, sent := x.handle(0, kinds[flood]())
						answered += len(sent)
					}
				}
			}
			const rounds = 8
			for range rounds {
				wait()
				for kind, frame := range kinds {
					if kind == flood {
						continue
					}
					if reason, sent := x.handle(0, frame()); len(sent) != 1 {
						t.Errorf("%s: %d frames, %v", kind, len(sent), reason)
					}
				}
			}
			if most := (rounds*4/ticksPerSecond + 1) * defaultAnswerRate; answered == 0 || answered > most {
				t.Errorf("the flood drew %d answers, want at most %d", answered, most)
			}
			if flood == "page SYN" {
				return
			}
			c := newPageClient(t, x.healthRig, 1, "GET / HTTP/1.1\r\n\r\n")
			c.wait = wait
			for range 4 {
				c.tick()
			}
			if !c.done() {
				t.Error("the page was not delivered")
			}
		})
	}
}

// TestARepeatedRequestDrawsThePageOnceInAWhile bounds what golb sends to who has a cookie:
// on one connection, to one client, and to all.
func TestARepeatedRequestDrawsThePageOnceInAWhile(t *testing.T) {
	const pageFrames = 10
	for _, c := range []struct {
		name            string
		clients, ports  int
		requests, ticks int
		pages           int // at most
	}{
		{name: "one connection", clients: 1, ports: 1, requests: 20000, ticks: 5, pages: 3},
		{name: "one client", clients: 1, ports: 400, requests: 20000, ticks: 16, pages: 2*defaultAnswerRate/8 + 1},
		{name: "many clients", clients: 60, ports: 16, requests: 40000, ticks: 32, pages: 3*defaultAnswerRate + 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := newHealthRig(t, pageService("<p>"+strings.Repeat("sorry ", 860)))
			x.advance(2 * ticksPerSecond)
			var requests [][]byte
			for client := range c.clients {
				for port := range c.ports {
					requests = append(requests, pageRequest(t, x, client, port))
				}
			}
			x.advance(2 * ticksPerSecond)
			frames, bytes, before := 0, 0, x.b.Stats().Services[0].Pages
			for n := range c.requests {
				if n%(c.requests/c.ticks) == 0 {
					x.advance(1)
				}
				_, sent := x.handle(0, requests[n%len(requests)])
				frames += len(sent)
				for _, f := range sent {
					bytes += len(f)
				}
			}
			pages := int(x.b.Stats().Services[0].Pages - before)
			if pages == 0 || pages > c.pages || frames > pages*pageFrames {
				t.Errorf("%d requests drew %d pages in %d frames of %d bytes, want at most %d pages", c.requests, pages, frames, bytes, c.pages)
			}
			if x.b.Stats().Drops[PageRateLimited] == 0 {
				t.Error("what was not answered is not counted")
			}
		})
	}
}

// pageRequest opens a connection to the page and returns the frame of its request.
func pageRequest(t *testing.T, x *healthRig, client, port int) []byte {
	c := newPageClient(t, x, client, "")
	c.src, c.mss = netip.AddrPortFrom(c.src.Addr(), uint16(4000+port)), 536
	c.tick()
	if !c.open {
		t.Fatal("no SYN-ACK")
	}
	s := forward.TCPSegment{
		SrcMAC: rigClient, DstMAC: rigMAC, Src: forward.AddrFrom(c.src.Addr()), Dst: forward.AddrFrom(c.dst.Addr()),
		SrcPort: c.src.Port(), DstPort: c.dst.Port(), Seq: c.isn + 1, Ack: c.irs + 1, Flags: forward.FlagACK, Window: 65535, Payload: []byte("GET / ")[:6],
	}
	f := forward.Frame{Buf: make([]byte, forward.MaxSegmentHeaders+len(s.Payload))}
	if !s.Build(&f) {
		t.Fatal("request not built")
	}
	return f.Bytes()
}
