package afpacket

import (
	"math"
	"time"

	"github.com/golb/golb/forward"
	"golang.org/x/net/bpf"
)

// Config says how to open a port. All but Interface may be left zero.
type Config struct {
	// Interface is the name of an Ethernet interface, or the loopback, in the network
	// namespace of the calling thread.
	Interface string

	// Batch is the greatest number of frames of one Recv and of one system call of
	// Send; 0 means 64. A receiving port holds 64 KiB of memory for each.
	Batch int

	// Filter lets frames in from the first one on; see SetFilter. nil lets in all that
	// the interface receives for this host.
	Filter []bpf.RawInstruction

	// SendOnly opens a port that receives nothing, for a worker that sends on an
	// interface that it does not receive from. Recv fails.
	SendOnly bool

	// QdiscBypass hands frames straight to the driver (PACKET_QDISC_BYPASS): less work
	// for each, but no queueing discipline, so that a full transmit ring drops. It does
	// not change what tc does to other traffic.
	QdiscBypass bool

	// Spin is how long Recv goes on asking for frames after the last one, before it
	// sleeps and has to be woken; 0 means 20 µs, negative never. It yields its processor
	// between, and where spinning was in vain it sleeps at once for a while. A port
	// without traffic sleeps, unless this is SpinForever: then only one whose interface
	// is down does.
	Spin time.Duration

	// ReceiveBuffer and SendBuffer bound the bytes of kernel memory that frames wait
	// in; 0 means 8 MiB. A small frame takes some 830 of them. Without CAP_NET_ADMIN
	// the system's limits apply (net.core.rmem_max, wmem_max).
	ReceiveBuffer, SendBuffer int
}

// SpinForever is the Spin of a port that does not sleep.
const SpinForever time.Duration = math.MaxInt64

const (
	defaultBatch  = 64
	defaultSpin   = 20 * time.Microsecond
	defaultBuffer = 8 << 20
)

func (c Config) withDefaults() Config {
	if c.Batch <= 0 {
		c.Batch = defaultBatch
	}
	if c.Spin == 0 {
		c.Spin = defaultSpin
	}
	if c.ReceiveBuffer <= 0 {
		c.ReceiveBuffer = defaultBuffer
	}
	if c.SendBuffer <= 0 {
		c.SendBuffer = defaultBuffer
	}
	return c
}

// Stats counts what a port did since it was opened. Bytes are those of frames from
// their Ethernet header on; a super-packet is one frame.
type Stats struct {
	Received, ReceivedBytes uint64
	// ReceiveDropped are frames let in by the filter that found the receive buffer
	// full: the reader is too slow.
	ReceiveDropped uint64
	// ReceiveUnusable are frames that cannot be passed on: longer than
	// forward.MaxFrame, or super-packets of a kind that virtio_net_hdr has no name for
	// (SCTP, tunnels).
	ReceiveUnusable uint64
	// Down is how often the interface was found down.
	Down uint64
	// Sleeps is how often Recv gave its thread up to wait.
	Sleeps uint64

	Sent, SentBytes uint64
	SendTooLong     uint64 // longer than the MTU allows (EMSGSIZE)
	SendNoBuffer    uint64 // the queue or the send buffer is full (ENOBUFS, EAGAIN)
	SendDown        uint64 // the interface is down or gone (ENETDOWN, ENXIO)
	SendRefused     uint64 // anything else: the frame and its offload header disagree
}

// Port receives and sends frames on one interface. One goroutine at a time may be in
// Recv, and one, which may be another, in Send; the other methods are safe from any
// goroutine at any time, including Close.
//
// The interface is not made promiscuous, and frames that the host itself sends are not
// received.
type Port struct {
	socket
	name  string
	index int
	mtu   int
	mac   forward.MAC
	uso   bool
}

// Open opens a port. It needs CAP_NET_RAW.
func Open(cfg Config) (*Port, error) {
	ports, err := OpenGroup(cfg, 1)
	if err != nil {
		return nil, err
	}
	return ports[0], nil
}

// OpenGroup opens n ports on one interface, for as many workers. The kernel spreads
// frames over them by flow (PACKET_FANOUT_HASH with a group id that is no one else's):
// all frames of one pair of addresses and ports, in both directions, come to the same
// port, fragments (PACKET_FANOUT_FLAG_DEFRAG is off) by addresses alone, as long as
// none of the ports is closed. A port that is full does not spill over into another,
// which would reorder flows.
func OpenGroup(cfg Config, n int) ([]*Port, error) { return openGroup(cfg.withDefaults(), n) }

// Name returns the interface's name when the port was opened.
func (p *Port) Name() string { return p.name }

// Index returns the interface's index.
func (p *Port) Index() int { return p.index }

// MTU returns the interface's MTU, in bytes of IP packet, when the port was opened.
func (p *Port) MTU() int { return p.mtu }

// MAC returns the interface's address when the port was opened.
func (p *Port) MAC() forward.MAC { return p.mac }

// GSO reports which super-packets Send may be given that nobody received: the kernel, or
// the device, takes them apart. That is TCP always, and UDP since Linux 6.2, before which
// virtio_net_hdr has no name for it.
func (p *Port) GSO() (tcp, udp bool) { return true, p.uso }

// Recv waits for frames and returns how many of frames, from the first on, it has
// filled; at most Config.Batch. Their buffers are lent until the next Recv: each holds
// forward.MaxFrame bytes after forward.Headroom free ones. Frame.Port is left alone.
//
// It returns 0 and no error after Wake (and may once more without cause), net.ErrClosed
// after Close. An interface that goes down is waited for; one that is deleted, or moved
// to another namespace, is an error that wraps ENODEV.
func (p *Port) Recv(frames []forward.Frame) (int, error) { return p.recv(frames) }

// Send hands frames to the interface, each with its Offload, and returns how many the
// kernel took. One that it refuses is counted in Stats and skipped; Send does not wait
// for room. Buffers may be of any port and are the caller's again when it returns. The
// error is net.ErrClosed after Close, or wraps ENODEV when the interface is gone.
func (p *Port) Send(frames []forward.Frame) (int, error) { return p.send(frames) }

// Wake makes the current Recv, or else the next, return soon, with or without frames.
func (p *Port) Wake() { p.wake() }

// SetFilter replaces the socket filter at once (SO_ATTACH_FILTER): each frame meets
// either the old one or the new. Frames that the old one let in may still be waiting
// and are received. A program is best made by Filter; any other has to refuse other
// hosts' and tagged frames itself. nil lets in all that is for this host. An error
// leaves the old filter in place; ENOMEM says that the system has too little memory
// for filters (net.core.optmem_max).
func (p *Port) SetFilter(prog []bpf.RawInstruction) error { return p.setFilter(prog) }

// Stats returns the counters. It may be called after Close.
func (p *Port) Stats() Stats { return p.stats() }

// Close makes a Recv that waits return net.ErrClosed, waits until no other method is
// running, and closes the sockets. A second Close returns net.ErrClosed.
func (p *Port) Close() error { return p.close() }
