package afpacket

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// alarm is a sleep until a socket has something, or somebody rings.
type waker struct {
	pending atomic.Bool // so that a reader that does not sleep need not ask the kernel
	fd      int         // an eventfd; -1 where there is nobody to wake
	fds     [2]unix.PollFd

	one, count [8]byte // what is written to and read from the eventfd
}

func (a *waker) init(socket int) (err error) {
	if a.fd, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	binary.NativeEndian.PutUint64(a.one[:], 1)
	a.fds = [2]unix.PollFd{{Fd: int32(socket), Events: unix.POLLIN}, {Fd: int32(a.fd), Events: unix.POLLIN}}
	return nil
}

// ring may be called from any goroutine. The eventfd is written once for each silence, so
// that its counter cannot fill up.
func (a *waker) wake() {
	if a.fd < 0 || a.pending.Swap(true) {
		return
	}
	_, _ = unix.Write(a.fd, a.one[:])
}

// silence reports whether somebody rang, and forgets it.
func (a *waker) clear() bool {
	if !a.pending.Load() {
		return false
	}
	_, _ = unix.Read(a.fd, a.count[:])
	return a.pending.Swap(false)
}

// sleep returns on either event or after the timeout; a negative one never ends.
func (a *waker) sleep(timeout time.Duration) error {
	ms := -1
	if timeout >= 0 {
		ms = int(timeout.Milliseconds())
	}
	if _, err := unix.Poll(a.fds[:], ms); err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("poll: %w", err)
	}
	return nil
}
