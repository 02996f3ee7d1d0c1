package afpacket

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// mmsghdr is struct mmsghdr: what recvmmsg and sendmmsg take one of for each frame.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// batch is the arguments of one call for a number of frames, each in parts iovecs. All
// pointers in it are Go's, so that what they point to stays where it is.
type batch struct {
	msgs  []mmsghdr
	iovs  []unix.Iovec
	parts int
}

func newBatch(frames, parts int) batch {
	b := batch{msgs: make([]mmsghdr, frames), iovs: make([]unix.Iovec, frames*parts), parts: parts}
	for i := range b.msgs {
		b.msgs[i].hdr.Iov = &b.iovs[i*parts]
		b.msgs[i].hdr.SetIovlen(parts)
	}
	return b
}

// set makes part part of frame i be buf, which must not be empty.
func (b *batch) set(i, part int, buf []byte) {
	v := &b.iovs[i*b.parts+part]
	v.Base = &buf[0]
	v.SetLen(len(buf))
}

// length is what the last receive put into frame i.
func (b *batch) length(i int) int { return int(b.msgs[i].len) }

// truncated says that frame i did not fit.
func (b *batch) truncated(i int) bool { return b.msgs[i].hdr.Flags&unix.MSG_TRUNC != 0 }

// recv fills the first n frames at most and does not wait.
func (b *batch) recv(fd, n int) (int, unix.Errno) {
	msgs := b.msgs[:n]
	got, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(msgs))), uintptr(n), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(got), 0
}

// send sends frames from to up to n, without waiting, until one is refused; the error is
// that of the first.
func (b *batch) send(fd, from, to int) (int, unix.Errno) {
	msgs := b.msgs[from:to]
	sent, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(msgs))), uintptr(len(msgs)), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(sent), 0
}
