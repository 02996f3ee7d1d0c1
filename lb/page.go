package lb

import (
	"fmt"
	"strings"

	"github.com/golb/golb/forward"
)

// golb answers HTTP itself where a service has a page for a fallback, and keeps no
// state for that: what it has to know of a connection comes back in the client's
// segments. The page goes out whole, in answer to the client's first segment with data.
// That is not acknowledged before the client has acknowledged all of the page. So
// the client repeats it as long as any of the page is missing, and each time is sent
// what is: no timer of golb's is needed.

const (
	pageWindow = 8192 // what a client may send ahead: requests, not uploads
	// maxPage is the longest page in bytes, headers included: ten segments, which may
	// go out at once (RFC 6928), of the least size.
	maxPage = 10 * 536
	// DefaultPage, as Fallback.Page, stands for a short page that says so much as that
	// the service is not available.
	DefaultPage = "default"
	defaultPage = "<!DOCTYPE html>\n<title>Service unavailable</title>\n<h1>Service unavailable</h1>\n<p>Please try again in a moment.</p>\n"
)

// page is what a client gets in place of a server's answer.
type page struct{ text []byte }

// newPage makes the page of a config; nil where that has none.
func newPage(text string) *page {
	switch {
	case text == "":
		return nil
	case text == DefaultPage:
		text = defaultPage
	case strings.HasPrefix(text, "HTTP/"):
		return &page{[]byte(headerLines(text))}
	}
	kind := "text/plain"
	if strings.HasPrefix(strings.TrimSpace(text), "<") {
		kind = "text/html"
	}
	return &page{fmt.Appendf(nil, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: %s; charset=utf-8\r\nContent-Length: %d\r\n"+
		"Retry-After: 10\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n%s", kind, len(text), text)}
}

// headerLines ends the lines of a header as HTTP wants it, where a config file did not.
func headerLines(text string) string {
	if strings.Contains(text, "\r\n") {
		return text
	}
	header, body, _ := strings.Cut(text, "\n\n")
	return strings.ReplaceAll(header, "\n", "\r\n") + "\r\n\r\n" + body
}

func (v *validator) page(path string, s *Service) {
	p := newPage(s.Fallback.Page)
	switch {
	case p == nil:
	case s.Fallback.hasServer():
		v.fail(path, nil, "beside a fallback server", "either server or page")
	case !s.takes(TCP):
		v.fail(path, nil, "the service takes no tcp", "a page with tcp only")
	case len(p.text) > maxPage:
		v.fail(path, nil, fmt.Sprintf("%d bytes with its header", len(p.text)), fmt.Sprintf("up to %d", maxPage))
	}
}

// answers reports whether a segment of no connection may be one of a connection to the
// service's page.
func (v *service) answers(p *forward.Packet) bool {
	return p.TCPFlags&forward.FlagSYN == 0 && v.settings.Load().page != nil
}

// greet answers the SYN of a connection to the page.
func (w *worker) greet(snap *snapshot, f *forward.Frame, key *words) Reason {
	p := w.packet
	headers := 20 + 20
	if p.Version == 6 {
		headers = 40 + 20
	}
	room := w.mtus[w.in] - headers
	size, ok := cookieSize(min(forward.OfferedMSS(f, p), uint16(max(room, 0))))
	switch {
	case !ok:
		return NoServer
	case p.Frag != forward.NotFrag || !forward.MayAnswer(f, p) || !forward.ChecksumOK(f, p) || !w.mayAnswer(snap):
		return RateLimited
	}
	isn, _ := forward.Sequence(f, p)
	w.say(f, &forward.TCPSegment{
		Seq: w.pageKey.make(key, isn, size, w.now), Ack: isn + 1, Flags: forward.FlagSYN | forward.FlagACK,
		MSS: cookieSizes[size],
	})
	return resent
}

// converse answers a segment of a connection to the page; ok is false where it is none
// of such.
func (w *worker) converse(f *forward.Frame, v *service, pg *page, key *words) (ok bool) {
	p := w.packet
	if p.Frag != forward.NotFrag || p.TCPFlags&(forward.FlagSYN|forward.FlagRST|forward.FlagACK) != forward.FlagACK ||
		!forward.MayAnswer(f, p) || !forward.ChecksumOK(f, p) {
		return false
	}
	seq, ack := forward.Sequence(f, p)
	cookie, has, ok := w.progress(pg, key, ack)
	switch said := forward.SegmentLen(p); {
	case !ok:
		return false
	case has > len(pg.text): // and the FIN
		w.say(f, &forward.TCPSegment{Seq: ack, Ack: seq + said, Flags: forward.FlagACK})
	case said == 0:
	case cookieMark(cookie) != w.pageKey.mark(seq-1): // not the first, which comes again
	default:
		v.pages.Add(1)
		w.tell(f, pg, seq, ack, has, cookieSizeOf(cookie))
	}
	return true
}

// progress finds the cookie of the connection that an acknowledgment number belongs to,
// and how much of the page the client has: the end of some segment; one more than the
// page is long where it has the FIN too.
func (w *worker) progress(pg *page, key *words, ack uint32) (cookie uint32, has int, ok bool) {
	try := func(n int, size int) bool {
		cookie, has = ack-1-uint32(n), n
		return (size == 0 || cookieSizeOf(cookie) == size) && w.pageKey.check(key, cookie, w.now)
	}
	total := len(pg.text)
	for _, n := range [...]int{0, total + 1, total} {
		if try(n, 0) {
			return cookie, has, true
		}
	}
	for _, size := range cookieSizes {
		for n := int(size); n < total; n += int(size) {
			if try(n, int(size)) {
				return cookie, has, true
			}
		}
	}
	return 0, 0, false
}

// tell sends the page from a byte on, without acknowledging what it answers.
func (w *worker) tell(f *forward.Frame, pg *page, seq, ack uint32, from, size int) {
	for {
		to := min(from+size, len(pg.text))
		s := forward.TCPSegment{Seq: ack, Ack: seq, Flags: forward.FlagACK, Payload: pg.text[from:to]}
		if to == len(pg.text) {
			s.Flags |= forward.FlagPSH | forward.FlagFIN
		}
		w.say(f, &s)
		if to == len(pg.text) {
			return
		}
		ack += uint32(to - from)
		from = to
	}
}

// say sends a segment in answer to a client's.
func (w *worker) say(f *forward.Frame, s *forward.TCPSegment) {
	p := w.packet
	s.SrcMAC, s.DstMAC = forward.DstMAC(f), forward.SrcMAC(f)
	s.Src, s.Dst, s.SrcPort, s.DstPort = p.Dst, p.Src, p.DstPort, p.SrcPort
	s.Window = pageWindow
	out := w.lend(forward.MaxSegmentHeaders + len(s.Payload))
	if s.Build(&out) {
		out.Port = w.in
		w.send(&out)
	}
}
