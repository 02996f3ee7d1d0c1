package afpacket

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// mmsghdr is struct mmsghdr, of which recvmmsg and sendmmsg take one for each frame.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// batch has the arguments of recvmmsg or sendmmsg for several frames, each of which is in
// parts iovecs. Its pointers are Go pointers, so the garbage collector keeps what they
// point to.
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

// set makes buf, which must not be empty, part number part of frame i.
func (b *batch) set(i, part int, buf []byte) {
	v := &b.iovs[i*b.parts+part]
	v.Base = &buf[0]
	v.SetLen(len(buf))
}

// length returns how many bytes the last recv wrote to frame i.
func (b *batch) length(i int) int { return int(b.msgs[i].len) }

// truncated reports whether frame i was longer than its buffer.
func (b *batch) truncated(i int) bool { return b.msgs[i].hdr.Flags&unix.MSG_TRUNC != 0 }

// recv receives at most n frames, without waiting.
func (b *batch) recv(fd, n int) (int, unix.Errno) {
	msgs := b.msgs[:n]
	got, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(msgs))), uintptr(n), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(got), 0
}

// send sends the frames from index from to before index to, without waiting, until the
// kernel refuses one, and returns how many it took. The error is that of the first frame:
// sendmmsg returns none if it took any.
func (b *batch) send(fd, from, to int) (int, unix.Errno) {
	msgs := b.msgs[from:to]
	sent, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(msgs))), uintptr(len(msgs)), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(sent), 0
}
