package afpacket

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// alarm is a sleep until a socket has something, or somebody rings.
type alarm struct {
	rung atomic.Bool // so that a reader that does not sleep need not ask the kernel
	fd   int         // an eventfd; -1 where there is nobody to wake
	fds  [2]unix.PollFd
}

func (a *alarm) init(socket int) (err error) {
	if a.fd, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	a.fds = [2]unix.PollFd{{Fd: int32(socket), Events: unix.POLLIN}, {Fd: int32(a.fd), Events: unix.POLLIN}}
	return nil
}

// ring may be called from any goroutine. The eventfd is written once for each silence, so
// that its counter cannot fill up.
func (a *alarm) ring() {
	if a.fd < 0 || a.rung.Swap(true) {
		return
	}
	one := [8]byte{1, 1, 1, 1, 1, 1, 1, 1} // not zero in either byte order
	_, _ = unix.Write(a.fd, one[:])
}

// silence reports whether somebody rang, and forgets it.
func (a *alarm) silence() bool {
	if !a.rung.Load() {
		return false
	}
	var count [8]byte
	_, _ = unix.Read(a.fd, count[:])
	return a.rung.Swap(false)
}

// sleep returns on either event or after the timeout; a negative one never ends.
func (a *alarm) sleep(timeout time.Duration) error {
	ms := -1
	if timeout >= 0 {
		ms = int(timeout.Milliseconds())
	}
	if _, err := unix.Poll(a.fds[:], ms); err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("poll: %w", err)
	}
	return nil
}
