package afpacket

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/golb/golb/forward"
	"golang.org/x/sys/unix"
)

// receiver is what one Recv after another needs. The counters are read by others, all
// else belongs to the goroutine in Recv.
type receiver struct {
	fd        int // -1 where the port is one to send only
	batch     batch
	bufs      [][]byte
	batchSize int // how many frames to ask for
	spin      time.Duration
	active    bool // frames came since the last sleep
	down      bool // the interface was found down and not yet found up

	misses    int // spins in a row that ended in a sleep
	skipSpins int // how many pauses to go straight to sleep in

	frames, bytes, unusable, downs, sleeps atomic.Uint64
}

const (
	// The offload header is received into the headroom, right before the frame: one
	// part for each frame is copied faster than two.
	vnetAt = forward.Headroom - vnetLen

	// Each buffer starts some lines further into its page than the one before, so that
	// the headers of a batch do not compete for the same lines of the cache.
	bufLen = (forward.Headroom + forward.MaxFrame + 63) &^ 63

	// downPoll is how often an interface that is down is looked at: the socket reports
	// that it goes down, not that it comes up or is deleted after.
	downPoll = 100 * time.Millisecond

	maxMisses = 6 // spins in vain in a row that are told apart

	// hotBytes is how much one batch is to bring, so that of super-packets what has been
	// copied in is still in the processor's own cache when it is copied out.
	batchBytes = 256 << 10
)

func (r *receiver) init(fd, frames int, spin time.Duration) {
	r.fd, r.spin = fd, spin
	r.batch = newBatch(frames, 1)
	r.bufs, r.batchSize = make([][]byte, frames), frames
	memory := make([]byte, frames*bufLen)
	for i := range r.bufs {
		r.bufs[i] = memory[i*bufLen : (i+1)*bufLen : (i+1)*bufLen]
		r.batch.set(i, 0, r.bufs[i][vnetAt:forward.Headroom+forward.MaxFrame])
	}
}

func (s *socket) recv(frames []forward.Frame) (int, error) {
	s.inUse.RLock()
	defer s.inUse.RUnlock()
	r := &s.in
	n := min(len(frames), r.batchSize)
	if n == 0 {
		return 0, fmt.Errorf("afpacket: receive on %s: nothing to receive into: %w", s.label, unix.EINVAL)
	}
	var idle time.Time // since when nothing came; zero: not yet
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
			continue // nothing usable in it
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
			unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0) // the frame waited for may need this processor
			continue
		}
		if err := s.wait(); err != nil {
			return 0, fmt.Errorf("afpacket: receive on %s: %w", s.label, err)
		}
	}
}

// spinning decides whether to ask again at once; idle is since when that has been done.
// Each spin in a row that was in vain doubles the number of pauses that are slept
// through without one, since traffic comes either in shorter pauses or in longer ones.
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

// spun learns from a spin that frames ended. One that took far too long has given the
// processor to a program that keeps it: who sleeps gets it back sooner.
func (r *receiver) spinHit(d time.Duration) {
	const tooLong = 10
	r.misses = 0
	if d > tooLong*r.spin {
		r.backOff(maxMisses)
	}
}

// forgo has so many spins in vain cost their pauses.
func (r *receiver) backOff(misses int) { r.misses, r.skipSpins = misses, 1<<misses-1 }

// take makes frames of the first n received and returns how many are usable.
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

// judge counts what is no reason to stop and returns what is.
func (r *receiver) classify(errno unix.Errno) error {
	switch errno {
	case unix.EAGAIN, unix.EINTR:
		return nil
	case unix.EINVAL: // the kernel has discarded a super-packet that it has no offload header for
		r.unusable.Add(1)
		return nil
	case unix.ENETDOWN:
		r.down = true
		r.downs.Add(1)
		return nil
	}
	return errno
}

// rest sleeps until there is a reason to look again.
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

// interfaceUp fails where there is no such interface any more.
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
	if err := unix.IoctlIfreq(s.in.fd, unix.SIOCGIFFLAGS, ifr); errors.Is(err, unix.ENODEV) {
		return false, nil // renamed, or just being deleted
	} else if err != nil {
		return false, fmt.Errorf("SIOCGIFFLAGS: %w", err)
	}
	return ifr.Uint16()&unix.IFF_UP != 0, nil
}

func (r *receiver) addTo(st *Stats) {
	st.Received, st.ReceivedBytes = r.frames.Load(), r.bytes.Load()
	st.ReceiveUnusable, st.Down, st.Sleeps = r.unusable.Load(), r.downs.Load(), r.sleeps.Load()
}
