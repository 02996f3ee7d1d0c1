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
	"slices"
	"strings"
	"sync"

	"github.com/golb/golb/health/internal/budget"
)

const (
	// maxLine bounds a line of a text protocol in bytes; the longest that one of
	// them allows is 1000 (RFC 5321 section 4.5.3.1.6).
	maxLine = 2048
	// maxRead bounds in bytes what is read of one connection.
	maxRead = 256 << 10
	// maxRawRead bounds in bytes what TLS and HTTP/2 read of one connection: head and
	// body of an answer, handshake and frames.
	maxRawRead = 4 * maxRead
)

// errTooMuch is the reason of every check that has read as much as it may.
var errTooMuch = fmt.Errorf("more than %d KiB", maxRead>>10)

// session is one connection of a check. It ends with its context and bounds what it
// reads, so that a hung or hostile server costs no more than the check's timeout and a
// few KiB. The parameter what of its methods names the step of the protocol; their
// errors begin with it and are reasons. A session is for one goroutine.
type session struct {
	ctx    context.Context
	conn   net.Conn // to write to: the TLS connection once there is one
	raw    net.Conn // as it was dialed
	in     *bufio.Reader
	budget *budget.Reader // below in
	// limited is below TLS and HTTP/2; nil where there is neither.
	limited *limitedConn
	stop    func() bool // no longer closes raw when ctx ends
}

// dialSession connects.
func dialSession(ctx context.Context, dial DialFunc, network, address string) (*session, error) {
	conn, err := dial.dial(ctx, network, address)
	if err != nil {
		return nil, dialReason(ctx, address, err)
	}
	return newSession(ctx, conn), nil
}

// newSession takes ownership of conn.
func newSession(ctx context.Context, conn net.Conn) *session {
	s := &session{ctx: ctx, conn: conn, raw: conn}
	// A connection that is closed already reports it at the next read.
	if at, limited := ctx.Deadline(); limited {
		_ = conn.SetDeadline(at)
	}
	s.stop = context.AfterFunc(ctx, func() { _ = conn.Close() })
	s.readFrom(conn)
	return s
}

// readFrom makes r what the session reads from now on, with a new budget.
func (s *session) readFrom(r io.Reader) {
	s.budget = &budget.Reader{From: r, Left: maxRead, Spent: errTooMuch}
	s.in = bufio.NewReaderSize(s.budget, maxLine)
}

// limitedConn is a connection of which at most maxRawRead bytes are read. It keeps the
// error that ended reading, which TLS and HTTP/2 replace by one of their own.
type limitedConn struct {
	net.Conn
	budget budget.Reader // used by one reader at a time

	mu  sync.Mutex
	err error
}

// limit returns conn as a limitedConn.
func (s *session) limit(conn net.Conn) net.Conn {
	s.limited = &limitedConn{Conn: conn, budget: budget.Reader{From: conn, Left: maxRawRead, Spent: errTooMuch}}
	return s.limited
}

func (c *limitedConn) Read(p []byte) (int, error) {
	n, err := c.budget.Read(p)
	if err != nil {
		c.mu.Lock()
		c.err = err
		c.mu.Unlock()
	}
	return n, err
}

// readError returns the error that ended reading, nil where none has.
func (c *limitedConn) readError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (s *session) close() {
	// What Close returns tells nothing about the server. TLS sends an alert first,
	// which may wait for 5 s, but not beyond the context.
	_ = s.conn.Close()
	s.stop()
	_ = s.raw.Close()
}

// wrap makes a reason of an error.
func (s *session) wrap(what string, err error) error {
	switch {
	case s.ctx.Err() != nil:
		return fmt.Errorf("%s: %w", what, netReason(s.ctx, s.ctx.Err()))
	case isClosed(err):
		return fmt.Errorf("%s: connection closed", what)
	}
	return fmt.Errorf("%s: %w", what, netReason(s.ctx, err))
}

// wrapPartial is wrap where part of an answer had come.
func (s *session) wrapPartial(what string, err error, got []byte) error {
	err = s.wrap(what, err)
	if len(got) > 0 && !errors.Is(err, errTooMuch) {
		err = fmt.Errorf("%w after %s", err, quote(got))
	}
	return err
}

// send writes text.
func (s *session) send(what, text string) error {
	if _, err := io.WriteString(s.conn, text); err != nil {
		return s.wrap(what, err)
	}
	return nil
}

// quit sends a last line. The server has passed, so an error changes nothing.
func (s *session) quit(command string) { _, _ = io.WriteString(s.conn, command+"\r\n") }

// readLine reads a line and returns it without its end.
func (s *session) readLine(what string) (string, error) {
	b, err := s.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", fmt.Errorf("%s: line longer than %d bytes: %s", what, maxLine, quote(b))
	}
	if err != nil && (len(b) == 0 || !errors.Is(err, io.EOF)) {
		return "", s.wrapPartial(what, err, b)
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// readFull reads exactly len(b) bytes.
func (s *session) readFull(what string, b []byte) error {
	if n, err := io.ReadFull(s.in, b); err != nil {
		return s.wrapPartial(what, err, b[:n])
	}
	return nil
}

// withBuffered returns head and the bytes behind it that have come, for a reason.
func (s *session) withBuffered(head []byte) []byte {
	more, _ := s.in.Peek(s.in.Buffered()) // as many as there are: no error
	return slices.Concat(head, more)
}

// startTLS turns the connection into TLS. What the server sent in the clear before it
// and nothing has read is a command injection (CVE-2011-0411) and fails.
func (s *session) startTLS(cfg *tls.Config) error {
	if n := s.in.Buffered(); n > 0 {
		return fmt.Errorf("tls: %d bytes in the clear before the handshake", n)
	}
	conn, err := s.handshake(s.conn, cfg)
	if err != nil {
		return err
	}
	s.conn = conn
	s.readFrom(conn)
	return nil
}

// tlsStep is startTLS as a step.
func (s *session) tlsStep(o *TLSOptions, addr netip.AddrPort) func() error {
	return func() error { return s.startTLS(o.config(addr.Addr())) }
}

// readReply reads a reply of SMTP, FTP or NNTP: three digits and text, on several
// lines where a hyphen follows the digits (RFC 5321 section 4.2.1, RFC 959 section
// 4.2). It returns the last line, and fails unless the code begins with want, one to
// three digits, or with one of also.
func (s *session) readReply(what, want string, also ...string) (string, error) {
	first, err := s.readLine(what)
	if err != nil {
		return "", err
	}
	begins := func(code string) bool { return strings.HasPrefix(first, code) }
	if len(first) < 3 || strings.Trim(first[:3], "0123456789") != "" || !begins(want) && !slices.ContainsFunc(also, begins) {
		if want == "" {
			return "", mismatch(what, first, "a reply")
		}
		return "", mismatch(what, first, (want + "xxx")[:3])
	}
	last, end := first, first[:3]+" "
	for n := 1; strings.HasPrefix(first[3:], "-") && last != first[:3] && !strings.HasPrefix(last, end); n++ {
		if n == 100 {
			return "", fmt.Errorf("%s: more than 100 lines: %s", what, quote(first))
		}
		if last, err = s.readLine(what); err != nil {
			return "", err
		}
	}
	return last, nil
}

// command sends a command line and reads its reply.
func (s *session) command(what, command, want string, also ...string) (string, error) {
	if err := s.send(what, command+"\r\n"); err != nil {
		return "", err
	}
	return s.readReply(what, want, also...)
}

// commandStep is command as a step.
func (s *session) commandStep(what, command, want string) func() error {
	return func() error { _, err := s.command(what, command, want); return err }
}

// step is a part of a protocol that the settings of a check may leave out.
type step struct {
	on bool
	do func() error
}

// runSteps does the steps that are on, up to the first error.
func runSteps(steps []step) error {
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
