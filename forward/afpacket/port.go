package afpacket

import (
	"math"
	"time"

	"github.com/golb/golb/forward"
)

// Config says how to open a port. Interface is required.
type Config struct {
	// Interface is the name of an Ethernet interface, or the loopback, in the network
	// namespace of the calling thread.
	Interface string

	// Index is the interface's index, where not 0; then Interface only appears in errors.
	Index int

	// Filter says which frames are received, from the first one on; see Port.SetFilter.
	// The zero Filter lets nothing in.
	Filter forward.Filter

	// MACs are unicast addresses, in addition to the interface's own, whose frames are
	// received: virtual MACs, such as VRRP's (RFC 9568 §7.3). The port asks the
	// interface to receive them until it is closed (PACKET_MR_UNICAST). A network card
	// that cannot filter by so many addresses is made promiscuous by the kernel. To the
	// host's own stack such frames are another host's, and it drops them. At most
	// MaxMACs.
	MACs []forward.MAC

	// Batch is the greatest number of frames of one Recv, and of one system call of
	// Send; 0 means 64. A receiving port has 64 KiB of memory for each.
	Batch int

	// SendOnly opens a port that receives nothing, for a worker that sends on an
	// interface that it does not receive from. Recv and SetFilter fail, Filter and MACs
	// are ignored.
	SendOnly bool

	// QdiscBypass passes frames directly to the driver (PACKET_QDISC_BYPASS). That is
	// less work for each, but without a queueing discipline frames are dropped when the
	// transmit ring is full. What tc does to other traffic does not change.
	QdiscBypass bool

	// Spin is how long Recv asks for frames again and again after the last one, before
	// it sleeps and has to be woken; 0 means 20 µs, a negative value not at all. In
	// between it yields its processor. After spins without success it sleeps at once for
	// a number of times. With SpinForever it sleeps only while the interface is down.
	Spin time.Duration

	// ReceiveBuffer and SendBuffer bound the kernel memory that frames wait in, in
	// bytes; 0 means 8 MiB. A small frame takes about 830 bytes. Without CAP_NET_ADMIN
	// the system's limits apply (net.core.rmem_max, wmem_max).
	ReceiveBuffer, SendBuffer int
}

// SpinForever is the Spin of a port that does not sleep.
const SpinForever time.Duration = math.MaxInt64

// MaxMACs is how many virtual MACs a port can have: all of VRRP's, for IPv4 and IPv6.
const MaxMACs = 2 * 255

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

// Port receives and sends frames on one interface. One goroutine at a time may be in
// Recv, and one, which may be another, in Send. The other methods are safe from any
// goroutine at any time, Close included.
//
// A Port does not make the interface promiscuous (but see Config.MACs), and does not
// receive frames that the host itself sends.
type Port struct {
	socket
	name  string
	index int
	mtu   int
	mac   forward.MAC
	uso   bool
}

// Open opens a port. It needs CAP_NET_RAW. An error names the interface and wraps that of
// the system call: EPERM without the capability.
func Open(cfg Config) (*Port, error) {
	ports, err := OpenGroup(cfg, 1)
	if err != nil {
		return nil, err
	}
	return ports[0], nil
}

// OpenGroup opens n ports on one interface, for n workers. The kernel distributes frames
// to them by flow (PACKET_FANOUT_HASH, with a group id of its own): all frames between a
// pair of addresses and ports, in both directions, are received by the same port, as long
// as none of the ports is closed. Fragments are distributed by addresses alone. A port
// whose buffer is full does not pass frames on to another one, which would reorder flows.
func OpenGroup(cfg Config, n int) ([]*Port, error) { return openGroup(cfg.withDefaults(), n) }

// Name returns the interface's name when the port was opened.
func (p *Port) Name() string { return p.name }

// Index returns the interface's index.
func (p *Port) Index() int { return p.index }

// MTU returns the interface's MTU when the port was opened: the length in bytes of the
// longest IP packet.
func (p *Port) MTU() int { return p.mtu }

// MAC returns the interface's own address when the port was opened, the source address of
// frames that are sent.
func (p *Port) MAC() forward.MAC { return p.mac }

// GSO reports which super-packets Send takes that were not received as such: the kernel,
// or the device, splits them. That is TCP always, and UDP since Linux 6.2: before,
// virtio_net_hdr had no GSO type for it.
func (p *Port) GSO() (tcp, udp bool) { return true, p.uso }

// Recv waits for frames, writes them to frames[:n] and returns n, at most Config.Batch. It
// sets all fields but Port. Each Buf has forward.Headroom free bytes before the frame and
// room for forward.MaxSuperFrame bytes from Head on. The buffers are the port's: they are
// valid until the next Recv, as long as the program keeps the Port itself, and until then the
// caller may write to all of them.
//
// Recv returns 0 and no error after Wake, at times without cause too. It returns
// net.ErrClosed after Close. While the interface is down it waits; when the interface is
// deleted or moved to another namespace, it returns an error that wraps ENODEV.
func (p *Port) Recv(frames []forward.Frame) (n int, err error) { return p.recv(frames) }

// Send sends frames, each with its Offload, and returns how many the kernel took. It skips
// frames that the kernel refuses, which Stats counts by reason, and does not wait for
// room. Bufs may belong to any port; Send has no reference to them when it returns. The
// error is net.ErrClosed after Close, or wraps ENODEV when the interface is gone.
func (p *Port) Send(frames []forward.Frame) (n int, err error) { return p.send(frames) }

// Wake makes the current Recv, or else the next, return soon, with or without frames.
func (p *Port) Wake() { p.wake() }

// SetFilter replaces the port's filter. It does so at once: each frame meets either the
// old filter or the new one (SO_ATTACH_FILTER). Frames that the old filter let in may wait
// in the receive buffer and are received later. If SetFilter fails, the old filter stays.
//
// The filter is a socket filter of at most 4096 instructions. If it needs more (for more
// than some 3,000 scattered IPv4 addresses, or 500 IPv6 addresses that have no network in
// common; adjacent ones count once), exact is false, and all IP packets that are for this
// host are let in, apart from discovery.
//
// The error names an invalid prefix, is net.ErrClosed after Close, or wraps that of the
// system call: ENOMEM if the system has too little memory for filters
// (net.core.optmem_max).
func (p *Port) SetFilter(f forward.Filter) (exact bool, err error) { return p.setFilter(f) }

// Stats returns what the port has counted since it was opened. Counters may lag behind a
// Recv or Send that is running. After Close they stay as they are.
func (p *Port) Stats() forward.PortStats { return p.stats() }

// Close makes a waiting Recv return net.ErrClosed, waits until no other method is running,
// and closes the sockets. A second Close returns net.ErrClosed.
func (p *Port) Close() error { return p.close() }
