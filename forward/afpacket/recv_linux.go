package afpacket

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/golb/golb/forward"
	"golang.org/x/sys/unix"
)

// receiver is the state of Recv. Any goroutine may read the counters; the rest belongs to
// the goroutine in Recv.
type receiver struct {
	fd        int // -1 in a port that only sends
	batch     batch
	bufs      [][]byte
	batchSize int // how many frames to ask for
	spin      time.Duration
	active    bool // frames came since the last sleep
	down      bool // the interface was found down, and not up since

	misses    int // successive spins in which no frame came
	skipSpins int // how many times to sleep without a spin before

	frames, bytes, unusable, downs, sleeps atomic.Uint64
}

const (
	// vnetAt is the offset of the offload header in a buffer: right before the frame, in
	// the headroom, since one iovec for each frame is copied faster than two.
	vnetAt = forward.Headroom - vnetLen

	// bufLen is no multiple of a page: each buffer starts some cache lines further into
	// its page than the one before, so that the headers of a batch are in different cache
	// sets.
	bufLen = (forward.Headroom + forward.MaxSuperFrame + 63) &^ 63

	// downPoll is how often Recv checks whether an interface that is down has come up or
	// is gone: the socket reports only that it went down.
	downPoll = 100 * time.Millisecond

	// maxMisses bounds how many successive misses make Recv skip more spins.
	maxMisses = 6

	// batchBytes is how much one batch of super-packets should bring: so much that it is
	// still in the processor's own cache when it is sent.
	batchBytes = 256 << 10
)

func (r *receiver) init(fd, frames int, spin time.Duration) error {
	r.fd, r.spin = fd, spin
	r.batch = newBatch(frames, 1)
	r.bufs, r.batchSize = make([][]byte, frames), frames
	memory, err := newBuffers(frames * bufLen)
	if err != nil {
		return err
	}
	runtime.AddCleanup(r, freeBuffers, memory)
	for i := range r.bufs {
		r.bufs[i] = memory[i*bufLen : (i+1)*bufLen : (i+1)*bufLen]
		r.batch.set(i, 0, r.bufs[i][vnetAt:forward.Headroom+forward.MaxSuperFrame])
	}
	return nil
}

// newBuffers maps memory for buffers, of which few use more than their first page: half a
// megabyte each is room for super-packets that mostly do not come. So it is no memory of the
// Go heap, where it would make the garbage collector wait for as much garbage, and it has no
// huge pages, each of which would be there whole.
func newBuffers(size int) ([]byte, error) {
	memory, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("mmap %d bytes: %w", size, err)
	}
	_ = unix.Madvise(memory, unix.MADV_NOHUGEPAGE) // fails where the kernel has none
	return memory, nil
}

func freeBuffers(memory []byte) { _ = unix.Munmap(memory) }

func (s *socket) recv(frames []forward.Frame) (int, error) {
	s.inUse.RLock()
	defer s.inUse.RUnlock()
	r := &s.in
	n := min(len(frames), r.batchSize)
	if n == 0 {
		return 0, fmt.Errorf("afpacket: receive on %s: nothing to receive into: %w", s.label, unix.EINVAL)
	}
	var idle time.Time // when the current spin began; zero outside a spin
	for {
		if s.closed.Load() {
			return 0, net.ErrClosed
		}
		got, errno := r.batch.recv(r.fd, n)
		if errno == 0 {
			if !idle.IsZero() {
				r.spinHit(time.Since(idle))
			}
			if got = r.collect(frames, got); got > 0 {
				return got, nil
			}
			continue // all of them were unusable
		}
		if err := r.classify(errno); err != nil {
			return 0, fmt.Errorf("afpacket: receive on %s: %w", s.label, err)
		}
		if errno != unix.EAGAIN {
			continue
		}
		if s.waker.clear() {
			return 0, nil
		}
		if r.keepSpinning(&idle) {
			unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0) // the sender of the next frame may need this processor
			continue
		}
		if err := s.wait(); err != nil {
			return 0, fmt.Errorf("afpacket: receive on %s: %w", s.label, err)
		}
	}
}

// keepSpinning reports whether to ask for frames again at once, and not to sleep. idle is
// when the current spin began. Pauses in traffic are mostly all short or all long, so each
// successive spin in which no frame comes doubles the number of pauses without a spin.
func (r *receiver) keepSpinning(idle *time.Time) bool {
	switch {
	case r.spin == SpinForever:
		return !r.down
	case !r.active || r.spin <= 0:
		return false
	case idle.IsZero() && r.skipSpins > 0:
		r.skipSpins--
		return false
	case idle.IsZero():
		*idle = time.Now()
		return true
	case time.Since(*idle) < r.spin:
		return true
	}
	r.backOff(min(r.misses+1, maxMisses))
	return false
}

// spinHit is called after a spin of length d in which frames came. Where d is much longer
// than r.spin, the yield gave the processor to a program that kept it; after a sleep the
// scheduler gives it back sooner, so spins are skipped.
func (r *receiver) spinHit(d time.Duration) {
	const tooLong = 10
	r.misses = 0
	if d > tooLong*r.spin {
		r.backOff(maxMisses)
	}
}

// backOff skips as many spins as are due after so many misses.
func (r *receiver) backOff(misses int) { r.misses, r.skipSpins = misses, 1<<misses-1 }

// collect fills frames from the first n that the kernel wrote, and returns how many are
// usable.
func (r *receiver) collect(frames []forward.Frame, n int) int {
	r.active, r.down = true, false
	usable, bytes := 0, 0
	for i := range n {
		length := r.batch.length(i) - vnetLen
		if length < forward.EthernetLen || r.batch.truncated(i) {
			continue
		}
		f, buf := &frames[usable], r.bufs[i]
		f.Buf = buf
		f.Head = forward.Headroom
		f.Tail = forward.Headroom + length
		f.Offload = decodeOffload(buf[vnetAt:forward.Headroom])
		usable++
		bytes += length
	}
	r.frames.Add(uint64(usable))
	r.bytes.Add(uint64(bytes))
	r.batchSize = min(len(r.bufs), max(1, batchBytes*n/(bytes+1)))
	if usable < n {
		r.unusable.Add(uint64(n - usable))
	}
	return usable
}

// classify returns an error of recvmmsg that ends Recv. It counts the others.
func (r *receiver) classify(errno unix.Errno) error {
	switch errno {
	case unix.EAGAIN, unix.EINTR:
		return nil
	case unix.EINVAL: // the kernel has dropped a super-packet that virtio_net_hdr cannot describe
		r.unusable.Add(1)
		return nil
	case unix.ENETDOWN:
		r.down = true
		r.downs.Add(1)
		return nil
	}
	return errno
}

// wait sleeps until there may be frames, Wake or Close is called, or it is time to check
// an interface that is down.
func (s *socket) wait() error {
	r := &s.in
	timeout := time.Duration(-1)
	if r.down {
		up, err := s.interfaceUp()
		if err != nil {
			return err
		}
		if r.down = !up; r.down {
			timeout = downPoll
		}
	}
	r.active = false
	r.sleeps.Add(1)
	return s.waker.sleep(timeout)
}

// interfaceUp reports whether the interface is up. It fails where the interface is gone.
func (s *socket) interfaceUp() (bool, error) {
	name, err := unix.Getsockname(s.in.fd)
	if err != nil {
		return false, fmt.Errorf("getsockname: %w", err)
	}
	sll, ok := name.(*unix.SockaddrLinklayer)
	if !ok || sll.Ifindex <= 0 {
		return false, fmt.Errorf("interface is gone: %w", unix.ENODEV)
	}
	ifr, err := unix.NewIfreq(s.label)
	if err != nil {
		return false, err
	}
	ifr.SetUint32(uint32(sll.Ifindex))
	err = unix.IoctlIfreq(s.in.fd, unix.SIOCGIFNAME, ifr) // its name of now
	if err == nil {
		err = unix.IoctlIfreq(s.in.fd, unix.SIOCGIFFLAGS, ifr)
	}
	if errors.Is(err, unix.ENODEV) {
		return false, nil // just being renamed or deleted
	} else if err != nil {
		return false, fmt.Errorf("read flags: %w", err)
	}
	return ifr.Uint16()&unix.IFF_UP != 0, nil
}

func (r *receiver) addTo(st *forward.PortStats) {
	st.Received, st.ReceivedBytes = r.frames.Load(), r.bytes.Load()
	st.ReceiveUnusable, st.Down, st.Sleeps = r.unusable.Load(), r.downs.Load(), r.sleeps.Load()
}
