package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/golb/golb/health/printable"
)

// ErrNotTried is wrapped by the error of a check that this host could not make, so
// that it tells nothing about the server. [NotTried] finds it; a Checker of your own
// may return it.
var ErrNotTried = errors.New("not tried")

// NotTried reports whether a Checker's error is trouble of this host and not of the
// server: ErrNotTried, or what the system returns where it has no descriptor (EMFILE,
// ENFILE), buffer or memory (ENOBUFS, ENOMEM), process (EAGAIN), free port or source
// address (EADDRNOTAVAIL, EADDRINUSE), or no such protocol (EAFNOSUPPORT,
// EPROTONOSUPPORT, ENOSYS). The error must wrap the system's.
func NotTried(err error) bool {
	if errors.Is(err, ErrNotTried) {
		return true
	}
	var errno syscall.Errno
	return errors.As(err, &errno) && slices.Contains([]syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EAGAIN, syscall.EADDRNOTAVAIL,
		syscall.EADDRINUSE, syscall.EAFNOSUPPORT, syscall.EPROTONOSUPPORT, syscall.ENOSYS,
	}, errno)
}

var (
	// errTimeout is the reason of every check that ran out of time.
	errTimeout = errors.New("no answer in time")
	// errProhibited is what a socket reports as EACCES after ICMPv6 "administratively
	// prohibited" (RFC 4443 section 3.1, codes 1 and 5); the system's text would read as
	// if this host lacked a permission.
	errProhibited = errors.New("ICMP administratively prohibited: a firewall refuses it")
)

// dialReason is the reason where a connection to address failed.
func dialReason(ctx context.Context, address string, err error) error {
	if errors.Is(err, syscall.EACCES) {
		err = errProhibited
	}
	return fmt.Errorf("connect to %s: %w", address, netReason(ctx, err))
}

// netReason returns a network error without the operation and the addresses, which
// reasons name anyway; every kind of timeout becomes errTimeout.
func netReason(ctx context.Context, err error) error {
	var local localTrouble
	if errors.As(err, &local) {
		return local
	}
	var timeout net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.As(err, &timeout) && timeout.Timeout() && !NotTried(err) {
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

// libraryReason is netReason for the errors of crypto/tls and net/http: those that
// begin with one of the prefixes lose it, and what they quote of the peer is made
// printable.
func libraryReason(ctx context.Context, err error, prefixes ...string) error {
	reason := netReason(ctx, err)
	text := reason.Error()
	for _, prefix := range prefixes {
		text = strings.TrimPrefix(text, prefix)
	}
	if text == reason.Error() {
		return printable.Error(reason, maxReason)
	}
	return errors.New(printable.Line(text, maxReason))
}

// isClosed reports whether err is that of a connection that the server has closed.
func isClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe)
}

// maxReason bounds a reason in bytes.
const maxReason = 300

// reasonText is the reason in the error of any Checker: one printable line, bounded,
// never empty.
func reasonText(err error) string {
	if s := printable.Line(err.Error(), maxReason); s != "" {
		return s
	}
	return "check failed without a reason"
}

// mismatch is the reason where an answer is not the expected one.
func mismatch[T string | []byte](what string, got T, want string) error {
	return fmt.Errorf("%s: got %s, want %s", what, quote(got), want)
}

// quote quotes the beginning of what a server sent. It leaves room in a reason for
// what was expected.
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
