package lb

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"github.com/golb/golb/forward"
)

// portSlot is where a worker has its port on one interface, a dataplane.Port. While the
// interface is missing it is empty: Recv waits, and frames that are sent are counted as
// refused. put, remove and SetFilter are called under Balancer.changing, or before Run
// serves.
type portSlot struct {
	port   atomic.Pointer[Port] // nil while empty
	failed func(error)          // called when Recv fails, once for each port
	signal chan struct{}        // wakes Recv while empty
	lost   atomic.Uint64        // frames sent while empty

	// received is the port of the last Recv, whose frames are valid as long as it is kept. It
	// belongs to the worker.
	received *Port

	filter forward.Filter // of a receiver

	mu      sync.Mutex // guards what follows, and changes of port
	closed  bool
	retired forward.PortStats // of the ports before
}

func newPortSlot(failed func(error)) *portSlot {
	return &portSlot{failed: failed, signal: make(chan struct{}, 1)}
}

// Recv receives from the port, or waits for one. It returns net.ErrClosed after close, and no
// other error: a port that fails leaves the slot empty.
func (s *portSlot) Recv(frames []forward.Frame) (int, error) {
	p := s.port.Load()
	if p == nil {
		if s.isClosed() {
			return 0, net.ErrClosed
		}
		<-s.signal
		return 0, nil
	}
	s.received = p
	n, err := (*p).Recv(frames)
	if err != nil {
		if s.retire(p) && !errors.Is(err, net.ErrClosed) {
			s.failed(err)
		}
		return 0, nil
	}
	return n, nil
}

// Send sends frames through the port.
func (s *portSlot) Send(frames []forward.Frame) (int, error) {
	p := s.port.Load()
	if p == nil {
		s.lost.Add(uint64(len(frames)))
		return 0, nil
	}
	return (*p).Send(frames)
}

// Wake makes a Recv return.
func (s *portSlot) Wake() {
	if p := s.port.Load(); p != nil {
		(*p).Wake()
	}
	s.wakeEmpty()
}

func (s *portSlot) wakeEmpty() {
	select {
	case s.signal <- struct{}{}:
	default:
	}
}

// SetFilter replaces the filter of the port, and of those to come.
func (s *portSlot) SetFilter(f forward.Filter) (exact bool, err error) {
	exact = true
	if p := s.port.Load(); p != nil {
		if exact, err = (*p).SetFilter(f); errors.Is(err, net.ErrClosed) {
			exact, err = true, nil
		}
	}
	if err == nil {
		s.filter = f
	}
	return exact, err
}

// Stats are those of all ports that the slot has had.
func (s *portSlot) Stats() forward.PortStats {
	s.mu.Lock()
	p, st := s.port.Load(), s.retired
	s.mu.Unlock()
	if p != nil {
		st.Add((*p).Stats())
	}
	st.SendDown += s.lost.Load()
	return st
}

// put fills the empty slot with a port, which gets the filter where it is to receive. After
// close, or where it fails, it closes the port.
func (s *portSlot) put(p Port, receives bool) error {
	if receives {
		if _, err := p.SetFilter(s.filter); err != nil {
			_ = p.Close()
			return fmt.Errorf("lb: %w", err)
		}
	}
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.port.Store(&p)
	}
	s.mu.Unlock()
	if closed {
		_ = p.Close()
	}
	s.wakeEmpty()
	return nil
}

// remove empties the slot.
func (s *portSlot) remove() {
	if p := s.port.Load(); p != nil {
		s.retire(p)
	}
}

// retire closes p and empties the slot of it; it reports whether p was there.
func (s *portSlot) retire(p *Port) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.port.CompareAndSwap(p, nil) {
		return false
	}
	_ = (*p).Close()
	s.retired.Add((*p).Stats())
	return true
}

// close empties the slot for good.
func (s *portSlot) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.remove()
	s.wakeEmpty()
}

func (s *portSlot) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// gso reports which super-packets a port takes that golb has merged.
func gso(p Port) (tcp, udp bool) {
	if g, ok := p.(GSOPort); ok {
		return g.GSO()
	}
	return false, false
}
