package lbtest

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
)

// Clock is a clock that stands still until Advance is called. It is safe for concurrent
// use.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock makes a clock that shows start.
func NewClock(start time.Time) *Clock { return &Clock{now: start} }

// Now returns the clock's time. lb.Env.Now can be this method.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock forward.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Frame is a frame that went over a Wire. It is a copy, which the receiver may keep.
type Frame struct {
	Data    []byte
	Offload forward.Offload
}

// dst is the address that the frame goes to.
func (f Frame) dst() forward.MAC { return forward.MAC(f.Data) }

// Wire is an Ethernet segment in memory: a switch that knows all addresses. A frame goes to
// the ports and stations with its destination address, a group frame to all, and a frame to
// an unknown address is lost. Only Inject delivers frames.
type Wire struct {
	pump sync.Mutex // one Inject at a time

	mu       sync.Mutex
	queue    []Frame
	ports    map[forward.MAC]*Port
	stations map[forward.MAC]func(Frame)
	sniff    func(Frame)
}

// NewWire makes an empty segment.
func NewWire() *Wire {
	return &Wire{ports: map[forward.MAC]*Port{}, stations: map[forward.MAC]func(Frame){}}
}

// Station puts a host on the wire: receive is called with each frame for its
// address, one at a time, and may call Send.
func (w *Wire) Station(mac forward.MAC, receive func(Frame)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stations[mac] = receive
}

// Sniff has f called with each frame on the wire before it is delivered.
func (w *Wire) Sniff(f func(Frame)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sniff = f
}

// Port puts a balancer's interface on the wire. mtu is in bytes of IP packet.
func (w *Wire) Port(mac forward.MAC, mtu int) *Port {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := &Port{
		wire: w, mac: mac, mtu: mtu,
		in:     make(chan Frame),
		idle:   make(chan struct{}),
		wake:   make(chan struct{}, 1),
		closed: make(chan struct{}),
	}
	w.ports[mac] = p
	return p
}

// Send puts a frame on the wire, behind those that are there. The data is copied.
func (w *Wire) Send(f Frame) {
	f.Data = append([]byte(nil), f.Data...)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = append(w.queue, f)
}

// Inject sends frames and returns when they and all that followed from them have
// arrived. It must not be called from a station.
func (w *Wire) Inject(frames ...Frame) {
	w.pump.Lock()
	defer w.pump.Unlock()
	for _, f := range frames {
		w.Send(f)
	}
	for {
		w.mu.Lock()
		if len(w.queue) == 0 {
			w.mu.Unlock()
			return
		}
		f := w.queue[0]
		w.queue = w.queue[1:]
		ports, stations, sniff := w.receiversLocked(f.dst())
		w.mu.Unlock()
		if sniff != nil {
			sniff(f)
		}
		for _, p := range ports {
			p.deliver(f)
		}
		for _, receive := range stations {
			receive(f)
		}
	}
}

// receiversLocked returns the ports and stations that a frame to dst reaches.
func (w *Wire) receiversLocked(dst forward.MAC) (ports []*Port, stations []func(Frame), sniff func(Frame)) {
	for mac, p := range w.ports {
		if mac == dst || dst.IsGroup() {
			ports = append(ports, p)
		}
	}
	for mac, s := range w.stations {
		if mac == dst || dst.IsGroup() {
			stations = append(stations, s)
		}
	}
	return ports, stations, w.sniff
}

// Port is a balancer's interface on a Wire; it is an lb.Port.
type Port struct {
	wire *Wire
	mac  forward.MAC
	mtu  int
	buf  []byte
	busy bool // Recv has lent a frame

	in        chan Frame
	idle      chan struct{} // Recv is back after a frame
	wake      chan struct{}
	closeOnce sync.Once
	closed    chan struct{}

	received, receivedBytes, sent, sentBytes atomic.Uint64
}

var _ lb.Port = (*Port)(nil)

// deliver hands a frame to Recv and waits until the receiver has dealt with it.
func (p *Port) deliver(f Frame) {
	select {
	case p.in <- f:
	case <-p.closed:
		return
	}
	select {
	case <-p.idle:
	case <-p.closed:
	}
}

// Recv waits for one frame.
func (p *Port) Recv(frames []forward.Frame) (int, error) {
	if p.busy {
		p.busy = false
		select {
		case p.idle <- struct{}{}:
		case <-p.closed:
		}
	}
	select {
	case f := <-p.in:
		if need := forward.Headroom + max(forward.MaxFrame, len(f.Data)); len(p.buf) < need {
			p.buf = make([]byte, need)
		}
		n := copy(p.buf[forward.Headroom:], f.Data)
		frames[0] = forward.Frame{Buf: p.buf, Head: forward.Headroom, Tail: forward.Headroom + n, Offload: f.Offload}
		p.busy = true
		p.received.Add(1)
		p.receivedBytes.Add(uint64(n))
		return 1, nil
	case <-p.wake:
		return 0, nil
	case <-p.closed:
		return 0, net.ErrClosed
	}
}

// Send puts frames on the wire.
func (p *Port) Send(frames []forward.Frame) (int, error) {
	for i := range frames {
		p.wire.Send(Frame{Data: frames[i].Bytes(), Offload: frames[i].Offload})
		p.sent.Add(1)
		p.sentBytes.Add(uint64(frames[i].Len()))
	}
	return len(frames), nil
}

// Wake makes a Recv return.
func (p *Port) Wake() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// SetFilter does nothing: the wire delivers by address alone.
func (p *Port) SetFilter(forward.Filter) (exact bool, err error) { return true, nil }

// Stats returns how many frames and bytes the port received and sent.
func (p *Port) Stats() forward.PortStats {
	return forward.PortStats{
		Received: p.received.Load(), ReceivedBytes: p.receivedBytes.Load(),
		Sent: p.sent.Load(), SentBytes: p.sentBytes.Load(),
	}
}

// MAC returns the port's address.
func (p *Port) MAC() forward.MAC { return p.mac }

// MTU returns the longest IP packet in bytes.
func (p *Port) MTU() int { return p.mtu }

// Close takes the port off the wire.
func (p *Port) Close() error {
	p.closeOnce.Do(func() { close(p.closed) })
	return nil
}
