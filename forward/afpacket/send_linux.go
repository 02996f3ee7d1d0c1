package afpacket

import (
	"fmt"
	"net"
	"sync/atomic"

	"github.com/golb/golb/forward"
	"golang.org/x/sys/unix"
)

// sender is the state of Send. Any goroutine may read the counters; the rest belongs to the
// goroutine in Send.
type sender struct {
	fd      int
	batch   batch
	headers []byte // offload headers, of vnetLen each: a frame may have no headroom for it
	lengths []int  // of the frames in the batch, in bytes

	frames, bytes, tooLong, noBuffer, down, refused atomic.Uint64
}

func (o *sender) init(fd, frames int) {
	o.fd = fd
	o.batch = newBatch(frames, 2)
	o.headers = make([]byte, frames*vnetLen)
	o.lengths = make([]int, frames)
	for i := range frames {
		o.batch.set(i, 0, o.header(i))
	}
}

func (o *sender) header(i int) []byte { return o.headers[i*vnetLen : (i+1)*vnetLen] }

func (s *socket) send(frames []forward.Frame) (int, error) {
	s.inUse.RLock()
	defer s.inUse.RUnlock()
	if s.closed.Load() {
		return 0, net.ErrClosed
	}
	sent := 0
	for len(frames) > 0 {
		n := min(len(frames), len(s.out.lengths))
		took, gone := s.out.flush(s.out.fill(frames[:n]))
		sent += took
		if gone != 0 {
			return sent, fmt.Errorf("afpacket: send on %s: interface is gone (%w): %w", s.label, gone, unix.ENODEV)
		}
		frames = frames[n:]
	}
	return sent, nil
}

// fill adds frames to the batch and returns how many: those whose Head and Tail are valid.
func (o *sender) fill(frames []forward.Frame) int {
	n := 0
	for i := range frames {
		f := &frames[i]
		if f.Head < 0 || f.Tail > len(f.Buf) || f.Len() < forward.EthernetLen {
			o.refused.Add(1)
			continue
		}
		encodeOffload(o.header(n), &f.Offload)
		o.batch.set(n, 1, f.Bytes())
		o.lengths[n] = f.Len()
		n++
	}
	return n
}

// flush sends the n frames of the batch and returns how many the kernel took. gone is ENXIO
// if the interface is gone, and else 0.
func (o *sender) flush(n int) (sent int, gone unix.Errno) {
	bytes := 0
	for at := 0; at < n; {
		took, errno := o.batch.send(o.fd, at, n)
		for _, length := range o.lengths[at : at+took] {
			bytes += length
		}
		at += took
		sent += took
		skip := 1
		switch errno {
		case 0, unix.EINTR:
			skip = 0
		case unix.EAGAIN: // the send buffer is full: the rest of the batch has no room either
			skip = n - at
			o.noBuffer.Add(uint64(skip))
		case unix.ENXIO:
			skip, gone = n-at, errno
			o.down.Add(uint64(skip))
		case unix.ENOBUFS, unix.ENOMEM:
			o.noBuffer.Add(1)
		case unix.EMSGSIZE:
			o.tooLong.Add(1)
		case unix.ENETDOWN:
			o.down.Add(1)
		default:
			o.refused.Add(1)
		}
		at += skip
	}
	o.frames.Add(uint64(sent))
	o.bytes.Add(uint64(bytes))
	return sent, gone
}

func (o *sender) addTo(st *forward.PortStats) {
	st.Sent, st.SentBytes = o.frames.Load(), o.bytes.Load()
	st.SendTooLong, st.SendNoBuffer = o.tooLong.Load(), o.noBuffer.Load()
	st.SendDown, st.SendRefused = o.down.Load(), o.refused.Load()
}
