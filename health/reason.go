package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"
)

// dialReason says in one line why a connection to address failed.
func dialReason(ctx context.Context, address string, err error) error {
	if errors.Is(err, syscall.EACCES) {
		err = errProhibited
	}
	return fmt.Errorf("connect to %s: %w", address, plain(ctx, err))
}

// plain strips a network error of the operation and addresses that the reason says
// anyway, and calls every kind of timeout the same.
func plain(ctx context.Context, err error) error {
	var timeout net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.As(err, &timeout) && timeout.Timeout() {
		if ctx.Err() == context.Canceled {
			return context.Canceled
		}
		return errTimeout
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// isClosed says whether err is that of a connection that the server has ended.
func isClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe)
}

// errTimeout is the reason of every check that ran out of time.
var errTimeout = errors.New("no answer in time")

// errProhibited is what sockets of IPv6 call EACCES, which sounds as if it were this
// host's permission (RFC 4443 section 3.1, codes 1 and 5).
var errProhibited = errors.New("ICMP administratively prohibited: a firewall refuses it")

// maxReason bounds a reason in bytes.
const maxReason = 300

// oneLine makes a reason of whatever a check returned: one line, bounded,
// printable. What a server sent may end up in it.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s[:min(len(s), 2*maxReason)])
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > maxReason {
		s = strings.ToValidUTF8(s[:maxReason], "") + "..."
	}
	if s == "" {
		return "check failed without a reason"
	}
	return s
}
