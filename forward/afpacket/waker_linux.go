package afpacket

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// waker lets the goroutine in Recv sleep until its socket has frames, or until another
// goroutine wakes it.
type waker struct {
	pending atomic.Bool // wake was called; saves a system call in clear
	fd      int         // an eventfd; -1 in a port that only sends
	fds     [2]unix.PollFd

	one, count [8]byte // what is written to and read from the eventfd
}

func (w *waker) init(socket int) (err error) {
	if w.fd, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	binary.NativeEndian.PutUint64(w.one[:], 1)
	w.fds = [2]unix.PollFd{{Fd: int32(socket), Events: unix.POLLIN}, {Fd: int32(w.fd), Events: unix.POLLIN}}
	return nil
}

// wake ends the current sleep, or the next. Any goroutine may call it. It writes the eventfd
// once until clear is called, so that its counter cannot overflow.
func (w *waker) wake() {
	if w.fd < 0 || w.pending.Swap(true) {
		return
	}
	_, _ = unix.Write(w.fd, w.one[:])
}

// clear reports whether wake was called since the last clear.
func (w *waker) clear() bool {
	if !w.pending.Load() {
		return false
	}
	_, _ = unix.Read(w.fd, w.count[:])
	return w.pending.Swap(false)
}

// sleep returns when the socket is readable, after wake, or after the timeout; a negative
// timeout means none.
func (w *waker) sleep(timeout time.Duration) error {
	ms := -1
	if timeout >= 0 {
		ms = int(timeout.Milliseconds())
	}
	if _, err := unix.Poll(w.fds[:], ms); err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("poll: %w", err)
	}
	return nil
}
