package lb

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb/internal/dataplane"
)

// pageClient is a client's TCP, as far as a page needs one: it repeats what was not
// acknowledged, and takes only what comes in order.
type pageClient struct {
	t        *testing.T
	x        *healthRig
	src, dst netip.AddrPort
	isn      uint32
	mss      uint16
	request  []byte
	lost     func() bool
	wait     func() // until its timer comes

	una, nxt uint32 // of what it sent, counted from isn
	irs      uint32
	rcv      uint32 // next it expects, counted from irs
	got      []byte
	fin      bool // seen
	closed   bool // sent its own
	open     bool // has the SYN-ACK
	frames   int  // that golb sent
	reset    bool
	super    bool // requests come as super-packets with unfinished checksums
}

func newPageClient(t *testing.T, x *healthRig, n int, request string) *pageClient {
	c := &pageClient{t: t, x: x, isn: uint32(n+1) * 0x9e3779b9, mss: 1460, request: []byte(request), lost: func() bool { return false }}
	c.wait = func() { x.advance(ticksPerSecond / 4) }
	c.src, c.dst = netip.MustParseAddrPort(fmt.Sprintf("198.51.100.%d:4000", n%250+1)), netip.MustParseAddrPort("192.0.2.80:80")
	if x.b.cfg.Services[0].anyVIP().Is6() {
		c.src, c.dst = netip.MustParseAddrPort("[2001:db8:1::7]:4000"), netip.MustParseAddrPort("[2001:db8::80]:80")
	}
	return c
}

// transmit sends a segment, and takes what comes back.
func (c *pageClient) transmit(seq uint32, flags uint8, payload []byte) {
	if c.lost() {
		return
	}
	s := forward.TCPSegment{
		SrcMAC: rigClient, DstMAC: rigMAC, Src: forward.AddrFrom(c.src.Addr()), Dst: forward.AddrFrom(c.dst.Addr()),
		SrcPort: c.src.Port(), DstPort: c.dst.Port(), Seq: c.isn + seq, Ack: c.irs + c.rcv, Flags: flags, Window: 65535, Payload: payload,
	}
	if flags&forward.FlagSYN != 0 {
		s.Ack, s.MSS = 0, c.mss
	}
	f := forward.Frame{Buf: make([]byte, forward.Headroom+forward.MaxSegmentHeaders+len(payload)+64), Head: forward.Headroom}
	if !s.Build(&f) {
		c.t.Fatal("client's segment not built")
	}
	if c.super && len(payload) > 0 {
		f.Offload = forward.Offload{NeedsCsum: true, CsumStart: uint16(f.Len() - len(payload) - 20), CsumOffset: 16, GSO: forward.GSOTCPv4, GSOSize: 100}
		f.Bytes()[f.Offload.CsumStart+16] ^= 0x55 // not the checksum yet
	}
	w, p := c.x.n.workers[0], c.x.ports[0]
	p.keep, p.sent = true, p.sent[:0]
	w.Handle([]forward.Frame{f})
	answers := make([][]byte, len(p.sent))
	copy(answers, p.sent)
	c.frames += len(answers)
	for _, a := range answers {
		if !c.lost() {
			c.receive(a)
		}
	}
}

func (c *pageClient) receive(b []byte) {
	f := forward.Frame{Buf: b, Tail: len(b)}
	var p forward.Packet
	if r := forward.Parse(&f, &p); r != forward.None || !forward.ChecksumOK(&f, &p) {
		c.t.Fatalf("golb sent a bad frame: %v", r)
	}
	seq, ack := forward.Sequence(&f, &p)
	if p.TCPFlags&forward.FlagRST != 0 {
		c.reset = true
		return
	}
	if p.TCPFlags&forward.FlagSYN != 0 {
		if ack == c.isn+1 && !c.open {
			if got := forward.OfferedMSS(&f, &p); got > c.mss {
				c.t.Errorf("golb offers segments of %d for %d", got, c.mss)
			}
			c.open, c.irs, c.rcv, c.una, c.nxt = true, seq, 1, 1, 1
		}
		return
	}
	if a := ack - c.isn; int32(a-c.una) > 0 {
		c.una = a
	}
	if int32(seq-c.irs-c.rcv) <= 0 && p.End > p.Payload || p.TCPFlags&forward.FlagFIN != 0 {
		old := int(c.irs + c.rcv - seq)
		if payload := b[p.Payload:p.End]; old >= 0 && old <= len(payload) {
			if len(payload) > int(c.mss) {
				c.t.Errorf("a segment of %d bytes to a client that takes %d", len(payload), c.mss)
			}
			c.got = append(c.got, payload[old:]...)
			c.rcv += uint32(len(payload) - old)
			if p.TCPFlags&forward.FlagFIN != 0 && !c.fin {
				c.fin = true
				c.rcv++
			}
		}
	}
	if p.End > p.Payload || p.TCPFlags&forward.FlagFIN != 0 {
		defer c.transmit(c.nxt, forward.FlagACK, nil)
	}
}

// tick is a timeout of the client's: it sends what is not acknowledged.
func (c *pageClient) tick() {
	c.wait()
	if !c.open {
		c.transmit(0, forward.FlagSYN, nil)
		if c.open {
			c.transmit(1, forward.FlagACK, nil)
		}
		return
	}
	const chunk = 700
	for at := int(c.una) - 1; at >= 0 && at < len(c.request); at += chunk {
		end := min(at+chunk, len(c.request))
		c.nxt = max(c.nxt, uint32(end)+1)
		c.transmit(uint32(at)+1, forward.FlagACK|forward.FlagPSH, c.request[at:end])
	}
	if c.fin {
		c.closed = true
	}
	if end := uint32(len(c.request)) + 1; c.closed && c.una <= end {
		c.nxt = end + 1
		c.transmit(end, forward.FlagACK|forward.FlagFIN, nil)
	}
}

// done reports whether the client has the page and knows that golb knows.
func (c *pageClient) done() bool { return c.closed && c.una == uint32(len(c.request))+2 }

func pageService(text string) Service {
	return Service{Fallback: Fallback{Page: text}}
}

func TestPageIsServedWithoutState(t *testing.T) {
	long := "<html>" + strings.Repeat("sorry ", 840)
	get := "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n"
	for _, c := range []struct {
		name    string
		text    string
		request string
		mss     uint16
		v6      bool
		super   bool
		want    string // begins with
	}{
		{"default", DefaultPage, get, 1460, false, false, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/html; "},
		{"text", "back soon\n", get, 1460, false, false, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; "},
		{"answer", "HTTP/1.1 302 Found\nLocation: https://sorry.example/\nConnection: close\n\n", get, 1460, false, false, "HTTP/1.1 302 Found\r\nLocation: https://sorry.example/\r\nConnection: close\r\n\r\n"},
		{"ten segments", long, get, 536, false, false, "HTTP/1.1 503"},
		{"segments of an odd size", long, get, 1111, false, false, "HTTP/1.1 503"},
		{"IPv6", long, get, 1440, true, false, "HTTP/1.1 503"},
		{"request of many segments", long, "POST / HTTP/1.1\r\nContent-Length: 20000\r\n\r\n" + strings.Repeat("x", 7000), 1460, false, false, "HTTP/1.1 503"},
		{"request as super-packet", long, get + strings.Repeat("x", 600), 1460, false, true, "HTTP/1.1 503"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := pageService(c.text)
			if c.v6 {
				s.VIP, s.Port = netip.MustParseAddr("2001:db8::80"), 80
			}
			x := newHealthRig(t, s)
			cl := newPageClient(t, x, 1, c.request)
			cl.mss, cl.super = c.mss, c.super
			for range 6 {
				cl.tick()
			}
			if !cl.done() || cl.reset || !strings.HasPrefix(string(cl.got), c.want) || !bytes.Equal(cl.got, (&Fallback{Page: c.text}).response()) {
				t.Errorf("done %v, reset %v, got %q", cl.done(), cl.reset, cl.got)
			}
			if st := x.b.Stats(); st.Connections != 0 || st.Services[0].Pages == 0 {
				t.Errorf("%d connections in the table, %d pages", st.Connections, st.Services[0].Pages)
			}
		})
	}
}

func TestPageSurvivesLoss(t *testing.T) {
	x := newHealthRig(t, pageService("<p>"+strings.Repeat("sorry ", 800)))
	want := x.b.cfg.Services[0].Fallback.response()
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		c := newPageClient(t, x, int(seed), "GET / HTTP/1.1\r\n"+strings.Repeat("X: y\r\n", rng.IntN(400))+"\r\n")
		c.mss = []uint16{536, 1000, 1460}[rng.IntN(3)]
		c.lost = func() bool { return rng.IntN(100) < 30 }
		ticks := 0
		for ; !c.done() && ticks < 200; ticks++ {
			if rng.IntN(4) == 0 {
				x.advance(ticksPerSecond) // up to a minute of tries
			}
			c.tick()
		}
		if !c.done() || c.reset || !bytes.Equal(c.got, want) {
			t.Fatalf("seed %d: after %d tries: done %v, reset %v, %d of %d bytes", seed, ticks, c.done(), c.reset, len(c.got), len(want))
		}
	}
}

func TestPageEndsWhenServersAreBack(t *testing.T) {
	s := pageService(DefaultPage)
	x := newHealthRig(t, s, 1)
	c := newPageClient(t, x, 1, "GET / HTTP/1.1\r\n\r\n")
	x.reportChecks(false, 1)
	c.tick()
	x.reportChecks(true, 1)
	if got := x.open(); got != 1 {
		t.Errorf("a new connection goes to %d", got)
	}
	for range 4 {
		c.tick() // that began before is answered nonetheless
	}
	if !c.done() {
		t.Errorf("got %q", c.got)
	}
}

func TestPageAnswersNobodyWhoGuesses(t *testing.T) {
	x := newHealthRig(t, pageService(DefaultPage))
	c := newPageClient(t, x, 1, "GET / HTTP/1.1\r\n\r\n")
	c.tick()
	if !c.open {
		t.Fatal("no SYN-ACK")
	}
	for _, twist := range []struct {
		name string
		do   func(*pageClient)
	}{
		{"another acknowledgment", func(c *pageClient) { c.irs += 3 }},
		{"another port", func(c *pageClient) { c.src = netip.AddrPortFrom(c.src.Addr(), 4001) }},
		{"another address", func(c *pageClient) { c.src = netip.MustParseAddrPort("198.51.100.99:4000") }},
	} {
		o := *c
		twist.do(&o)
		o.frames = 0
		o.tick()
		if o.frames != 1 || !o.reset {
			t.Errorf("%s: %d frames, reset %v; want a reset alone", twist.name, o.frames, o.reset)
		}
	}
	closed := *c
	x.advance(6 * 64 * ticksPerSecond)
	if closed.tick(); !closed.reset {
		t.Error("a cookie of six minutes ago is good")
	}
}

func TestPageIsForSYNsOnlyAsOftenAsAnswersMayBe(t *testing.T) {
	x := newHealthRig(t, pageService(DefaultPage))
	x.advance(2 * ticksPerSecond)
	sent := 0
	for n := range 3 * defaultAnswerRate {
		src := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(n >> 8), byte(n)}), 4000)
		_, out := x.handle(0, rigFrame(rigClient, TCP, src, netip.MustParseAddrPort("192.0.2.80:80"), forward.FlagSYN))
		sent += len(out)
	}
	if sent != defaultAnswerRate {
		t.Errorf("%d answers within a moment, want %d", sent, defaultAnswerRate)
	}
}

func TestPageIsChecked(t *testing.T) {
	for _, c := range []struct {
		service Service
		ok      bool
	}{
		{Service{Fallback: Fallback{Page: DefaultPage}}, true},
		{Service{Fallback: Fallback{Page: strings.Repeat("x", dataplane.MaxPage)}}, false},
		{Service{Protocol: UDP, Fallback: Fallback{Page: DefaultPage}}, false},
		{Service{Fallback: Fallback{Page: DefaultPage, Server: Server{Address: rigServer(1)}}}, false},
	} {
		s := c.service
		s.VIP, s.Port = netip.MustParseAddr("192.0.2.80"), 80
		if err := (&Config{Interfaces: []string{"eth0"}, Services: []Service{s}}).Validate(Env{}); (err == nil) != c.ok {
			t.Errorf("%.60v: %v", c.service, err)
		}
	}
}

// FuzzPage sees that whatever comes, golb sends no more than what one request may ask
// for, and nothing that does not parse.
func FuzzPage(f *testing.F) {
	f.Add(uint32(1), uint32(2), uint8(forward.FlagACK), []byte("GET"), uint16(0), true)
	f.Fuzz(func(t *testing.T, seq, ack uint32, flags uint8, payload []byte, extra uint16, right bool) {
		x := newHealthRig(t, pageService(strings.Repeat("sorry", 900)))
		c := newPageClient(t, x, 1, "")
		c.tick()
		if right {
			seq, ack = seq%3, c.irs+1+uint32(extra)
		}
		b := rigFrame(rigClient, TCP, c.src, c.dst, flags)
		b = append(b, payload...)
		if len(b) > 1500 {
			return
		}
		binary.BigEndian.PutUint16(b[16:], uint16(len(b)-14))
		b[24], b[25] = 0, 0
		binary.BigEndian.PutUint16(b[24:], rigFold(rigSum(0, b[14:34])))
		binary.BigEndian.PutUint32(b[38:], c.isn+seq)
		binary.BigEndian.PutUint32(b[42:], ack)
		b[50], b[51] = 0, 0
		sum := rigSum(rigSum(rigSum(0, b[26:34]), b[34:])+6+uint32(len(b)-34), nil)
		binary.BigEndian.PutUint16(b[50:], rigFold(sum))
		_, sent := x.handle(0, b)
		if len(sent) > 10 {
			t.Errorf("%d frames for one", len(sent))
		}
		for _, s := range sent {
			g := forward.Frame{Buf: s, Tail: len(s)}
			var p forward.Packet
			if r := forward.Parse(&g, &p); r != forward.None || !forward.ChecksumOK(&g, &p) {
				t.Errorf("sent %v", r)
			}
		}
	})
}
