package health

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"sync"

	"github.com/golb/golb/health/internal/budget"
)

const (
	// maxLine bounds a line of a text protocol in bytes; the longest that one of
	// them allows is 1000 (RFC 5321 section 4.5.3.1.6).
	maxLine = 2048
	// maxTalk bounds all that is read of one connection in bytes.
	maxTalk = 256 << 10
	// maxFramed bounds what is read of one in bytes below TLS and HTTP/2, which read
	// on by themselves: head and body of an answer, handshake and frames.
	maxFramed = 4 * maxTalk
)

// talk is a conversation on one connection: it ends with its context, and what it
// reads is bounded, so that a hung or hostile server costs its own timeout and a
// few KiB. Its methods take what they wait for, which is how their errors begin.
type talk struct {
	ctx  context.Context
	conn net.Conn // what is spoken on: TLS, or raw
	raw  net.Conn
	in   *bufio.Reader
	from *budget.Reader // what in reads
	// below is under TLS and HTTP/2; nil where there is neither.
	below *bounded
	stop  func() bool
}

// dialTalk connects.
func dialTalk(ctx context.Context, dial DialFunc, network, address string) (*talk, error) {
	conn, err := dial.dial(ctx, network, address)
	if err != nil {
		return nil, dialReason(ctx, address, err)
	}
	return newTalk(ctx, conn), nil
}

// newTalk takes over conn.
func newTalk(ctx context.Context, conn net.Conn) *talk {
	t := &talk{ctx: ctx, conn: conn, raw: conn}
	// Errors of a deadline are those of a closed connection; the next read says it.
	if at, limited := ctx.Deadline(); limited {
		_ = conn.SetDeadline(at)
	}
	t.stop = context.AfterFunc(ctx, func() { _ = conn.Close() })
	t.read(conn)
	return t
}

// read makes r what is read from now on.
func (t *talk) read(r io.Reader) {
	t.from = &budget.Reader{From: r, Left: maxTalk, Spent: errTooMuch}
	t.in = bufio.NewReaderSize(t.from, maxLine)
}

// bounded is a connection of which no more than maxFramed bytes are read. It
// remembers why reading ended, which those who read on by themselves may not tell.
type bounded struct {
	net.Conn
	from budget.Reader // of one reader at a time

	mu  sync.Mutex
	err error
}

// bound makes conn, which t speaks on, a bounded one.
func (t *talk) bound(conn net.Conn) net.Conn {
	t.below = &bounded{Conn: conn, from: budget.Reader{From: conn, Left: maxFramed, Spent: errTooMuch}}
	return t.below
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.from.Read(p)
	if err != nil {
		b.mu.Lock()
		b.err = err
		b.mu.Unlock()
	}
	return n, err
}

// cause is the error at which reading ended.
func (b *bounded) cause() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// errTooMuch is the reason of every check that had read its fill.
var errTooMuch = fmt.Errorf("more than %d KiB", maxTalk>>10)

func (t *talk) close() {
	// What close reports says nothing of the server. TLS says goodbye first, for up
	// to 5 s, but no longer than the context.
	_ = t.conn.Close()
	t.stop()
	_ = t.raw.Close()
}

// fail turns an error while waiting for what into a reason.
func (t *talk) fail(what string, err error) error {
	switch {
	case t.ctx.Err() != nil:
		return fmt.Errorf("%s: %w", what, plain(t.ctx, t.ctx.Err()))
	case isClosed(err):
		return fmt.Errorf("%s: connection closed", what)
	}
	return fmt.Errorf("%s: %w", what, plain(t.ctx, err))
}

// send writes b, a part of what.
func (t *talk) send(what, b string) error {
	if _, err := io.WriteString(t.conn, b); err != nil {
		return t.fail(what, err)
	}
	return nil
}

// line reads a line without its end.
func (t *talk) line(what string) (string, error) {
	b, err := t.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", fmt.Errorf("%s: line longer than %d bytes: %s", what, maxLine, quote(b))
	}
	if err != nil && (len(b) == 0 || !errors.Is(err, io.EOF)) {
		return "", t.cut(what, err, b)
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// full reads exactly len(b) bytes.
func (t *talk) full(what string, b []byte) error {
	if n, err := io.ReadFull(t.in, b); err != nil {
		return t.cut(what, err, b[:n])
	}
	return nil
}

// cut is fail where the answer had begun with got.
func (t *talk) cut(what string, err error, got []byte) error {
	err = t.fail(what, err)
	if len(got) > 0 && !errors.Is(err, errTooMuch) {
		err = fmt.Errorf("%w after %s", err, quote(got))
	}
	return err
}

// seen is head and what is known of the bytes after it, for a reason.
func (t *talk) seen(head []byte) []byte {
	more, _ := t.in.Peek(t.in.Buffered()) // as many as there are: no error
	return slices.Concat(head, more)
}

// secure is startTLS as a step.
func (t *talk) secure(o *TLSOptions, addr netip.AddrPort) func() error {
	return func() error { return t.startTLS(o.config(addr.Addr())) }
}

// startTLS turns the connection into TLS. What came before it in the clear and was
// not read is a command injection (CVE-2011-0411) and fails.
func (t *talk) startTLS(cfg *tls.Config) error {
	if n := t.in.Buffered(); n > 0 {
		return fmt.Errorf("tls: %d bytes in the clear before the handshake", n)
	}
	conn := tls.Client(t.bound(t.conn), cfg)
	if err := conn.HandshakeContext(t.ctx); err != nil {
		return tlsReason(t.ctx, err, cfg.NextProtos)
	}
	t.conn = conn
	t.read(conn)
	return nil
}

// bye sends a last line. The verdict has fallen, so an error is none.
func (t *talk) bye(command string) { _, _ = io.WriteString(t.conn, command+"\r\n") }

// reply reads a reply of SMTP, FTP or NNTP: three digits and text, on several lines
// where a hyphen follows the digits (RFC 5321 section 4.2.1, RFC 959 section 4.2).
// It fails where the code does not begin with want, one to three digits, nor with one
// of also, which the caller deals with.
func (t *talk) reply(what, want string, also ...string) (string, error) {
	first, err := t.line(what)
	if err != nil {
		return "", err
	}
	begins := func(code string) bool { return strings.HasPrefix(first, code) }
	if len(first) < 3 || strings.Trim(first[:3], "0123456789") != "" || !begins(want) && !slices.ContainsFunc(also, begins) {
		if want == "" {
			return "", wanted(what, first, "a reply")
		}
		return "", wanted(what, first, (want + "xxx")[:3])
	}
	last, end := first, first[:3]+" "
	for n := 1; strings.HasPrefix(first[3:], "-") && last != first[:3] && !strings.HasPrefix(last, end); n++ {
		if n == 100 {
			return "", fmt.Errorf("%s: more than 100 lines: %s", what, quote(first))
		}
		if last, err = t.line(what); err != nil {
			return "", err
		}
	}
	return last, nil
}

// command sends a command line and reads its reply.
func (t *talk) command(what, command, want string, also ...string) (string, error) {
	if err := t.send(what, command+"\r\n"); err != nil {
		return "", err
	}
	return t.reply(what, want, also...)
}

// wanted is the reason where an answer is not the right one.
func wanted(what string, got any, want string) error {
	switch s := got.(type) {
	case string:
		got = quote(s)
	case []byte:
		got = quote(s)
	}
	return fmt.Errorf("%s: got %v, want %s", what, got, want)
}

// quote quotes the beginning of what a server sent, so short that a reason has room
// for what was wanted.
func quote[T string | []byte](b T) string {
	const most, mostQuoted = 80, 120
	for n := min(len(b), most); ; n = n * 3 / 4 {
		if q := fmt.Sprintf("%q", string(b[:n])); len(q) <= mostQuoted {
			if n < len(b) {
				q += "..."
			}
			return q
		}
	}
}

// search reads r until re matches, within limit bytes, and keeps no more than the
// beginning. Its error is a reason.
func search(ctx context.Context, what string, r io.Reader, re *regexp.Regexp, limit int64) error {
	seen := &beginning{r: io.LimitReader(r, limit)}
	if !looksAhead(re) {
		seen.re = re
	}
	if re.MatchReader(bufio.NewReader(seen)) || seen.matched {
		return nil
	}
	if ctx.Err() != nil {
		seen.err = ctx.Err()
	}
	switch failed := seen.err != nil && !isClosed(seen.err); {
	case failed && seen.n == 0:
		return fmt.Errorf("%s: %w", what, plain(ctx, seen.err))
	case failed:
		return fmt.Errorf("%s: %w after %d bytes without a match of %q, which begin %s", what, plain(ctx, seen.err), seen.n, re, quote(seen.head))
	case seen.n == limit:
		return fmt.Errorf("%s: no match of %q in the first %d KiB, which begin %s", what, re, limit>>10, quote(seen.head))
	}
	return wanted(what, seen.head, fmt.Sprintf("a match of %q", re))
}

// looksAhead says whether a match of re may depend on what comes after it.
func looksAhead(re *regexp.Regexp) bool {
	var does func(*syntax.Regexp) bool
	does = func(part *syntax.Regexp) bool {
		switch part.Op {
		case syntax.OpEndLine, syntax.OpEndText, syntax.OpWordBoundary, syntax.OpNoWordBoundary:
			return true
		}
		return slices.ContainsFunc(part.Sub, does)
	}
	tree, err := syntax.Parse(re.String(), syntax.Perl)
	return err != nil || does(tree)
}

// beginning passes a reader on and remembers its first bytes, its length and its
// error, which a regular expression does not report.
type beginning struct {
	r    io.Reader
	head []byte
	n    int64
	err  error

	// Matching a reader takes one character more than the match. An answer that is
	// short enough is therefore matched as it is before more of it is waited for,
	// which may never come.
	re      *regexp.Regexp // nil where more of the answer may change the match
	matched bool
}

// maxHead bounds what is remembered, in bytes: matching it again with each byte of a
// slow server must cost little.
const maxHead = 1024

func (b *beginning) Read(p []byte) (int, error) {
	if b.re != nil && b.n > 0 && b.n == int64(len(b.head)) && b.re.Match(b.head) {
		b.matched = true
		return 0, io.EOF
	}
	n, err := b.r.Read(p)
	b.n += int64(n)
	b.head = append(b.head, p[:min(n, maxHead-len(b.head))]...)
	b.err = err
	return n, err
}

// step is a part of a conversation that a setting may leave out.
type step struct {
	on bool
	do func() error
}

// walk takes the steps that are on, up to the first error.
func walk(steps []step) error {
	for _, s := range steps {
		if !s.on {
			continue
		}
		if err := s.do(); err != nil {
			return err
		}
	}
	return nil
}
