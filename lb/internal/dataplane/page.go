package dataplane

import "github.com/golb/golb/forward"

// golb answers HTTP itself where a service has a page for a fallback, and keeps no
// state for that: what has to be known of a connection comes back in the client's
// segments. The page is sent whole, in answer to the client's first segment with data.
// That is not acknowledged before the client has acknowledged all of the page. So
// the client repeats it as long as any of the page is missing, and each time is sent
// what is missing: no timer of golb's is needed.

const pageWindow = 8192 // what a client may send ahead: requests, not uploads

// MaxPage is the longest page in bytes, headers included: ten segments, which may be sent
// at once (RFC 6928), of the least size.
const MaxPage = 10 * 536

// page is a whole HTTP response that golb sends in place of a server's.
type page struct{ text []byte }

// mayBePage reports whether a segment of no connection may be one of a connection to the
// service's page.
func (v *Service) mayBePage(p *forward.Packet) bool {
	return p.TCPFlags&forward.FlagSYN == 0 && v.settings.Load().page != nil
}

// sendSYNACK answers the SYN of a connection to the page.
func (w *Worker) sendSYNACK(x *rxPacket) Reason {
	p, f := &x.packet, x.frame
	headers := 20 + 20
	if p.Version == 6 {
		headers = 40 + 20
	}
	room := w.ifaces[w.in].MTU - headers
	size, ok := cookieSize(min(forward.OfferedMSS(f, p), uint16(max(room, 0))))
	switch {
	case !ok:
		return NoServer
	case p.Frag != forward.NotFrag || !forward.MayAnswer(f, p) || !forward.ChecksumOK(f, p):
		return BadPageSYN
	case !w.mayAnswer(x.snap, answerPageSYN):
		return PageRateLimited
	}
	isn, _ := forward.Sequence(f, p)
	w.sendSegment(x, &forward.TCPSegment{
		Seq: w.plane.pageKey.make(&x.key, isn, size, w.now), Ack: isn + 1, Flags: forward.FlagSYN | forward.FlagACK,
		MSS: cookieSizes[size],
	})
	return consumed
}

// pageSegment answers a segment of a connection to the page; ok is false for any other
// segment.
func (w *Worker) pageSegment(x *rxPacket, v *Service, pg *page) (reason Reason, ok bool) {
	p, f := &x.packet, x.frame
	if p.Frag != forward.NotFrag || p.TCPFlags&(forward.FlagSYN|forward.FlagRST|forward.FlagACK) != forward.FlagACK ||
		!forward.MayAnswer(f, p) || !forward.ChecksumOK(f, p) {
		return 0, false
	}
	seq, ack := forward.Sequence(f, p)
	cookie, acked, ok := w.ackedBytes(pg, &x.key, ack)
	switch length := forward.SegmentLen(p); {
	case !ok:
		return 0, false
	case acked > len(pg.text): // and the FIN
		if !w.mayAnswer(x.snap, answerPageACK) {
			return PageRateLimited, true
		}
		w.sendSegment(x, &forward.TCPSegment{Seq: ack, Ack: seq + length, Flags: forward.FlagACK})
	case length == 0:
	case !w.plane.pageKey.isOfISN(&x.key, cookie, seq-1, w.now): // not the first, which comes again
	case !v.pageLimits.Load().take(x, &w.plane.table.secret, w.now) || !w.mayAnswer(x.snap, answerPage):
		return PageRateLimited, true
	default:
		v.pages.Add(1)
		w.sendPage(x, pg, seq, ack, acked, cookieSizeOf(cookie))
	}
	return consumed, true
}

// ackedBytes finds the cookie of the connection that an acknowledgment number belongs
// to, and how much of the page the client has: the end of some segment; one more than
// the page is long where it has the FIN too.
func (w *Worker) ackedBytes(pg *page, key *flowKey, ack uint32) (cookie uint32, acked int, ok bool) {
	try := func(n int, size int) bool {
		cookie, acked = ack-1-uint32(n), n
		return (size == 0 || cookieSizeOf(cookie) == size) && w.plane.pageKey.check(key, cookie, w.now)
	}
	total := len(pg.text)
	for _, n := range [...]int{0, total + 1, total} {
		if try(n, 0) {
			return cookie, acked, true
		}
	}
	for _, size := range cookieSizes {
		for n := int(size); n < total; n += int(size) {
			if try(n, int(size)) {
				return cookie, acked, true
			}
		}
	}
	return 0, 0, false
}

// sendPage sends the page from a byte on, without acknowledging what it answers.
func (w *Worker) sendPage(x *rxPacket, pg *page, seq, ack uint32, from, size int) {
	for {
		to := min(from+size, len(pg.text))
		s := forward.TCPSegment{Seq: ack, Ack: seq, Flags: forward.FlagACK, Payload: pg.text[from:to]}
		if to == len(pg.text) {
			s.Flags |= forward.FlagPSH | forward.FlagFIN
		}
		w.sendSegment(x, &s)
		if to == len(pg.text) {
			return
		}
		ack += uint32(to - from)
		from = to
	}
}

// sendSegment sends a segment in answer to a client's.
func (w *Worker) sendSegment(x *rxPacket, s *forward.TCPSegment) {
	p := &x.packet
	s.SrcMAC, s.DstMAC = forward.DstMAC(x.frame), forward.SrcMAC(x.frame)
	s.Src, s.Dst, s.SrcPort, s.DstPort = p.Dst, p.Src, p.DstPort, p.SrcPort
	s.Window = pageWindow
	out := w.lend(forward.MaxSegmentHeaders + len(s.Payload))
	if s.Build(&out) {
		out.Port = w.in
		w.send(&out)
	}
}
