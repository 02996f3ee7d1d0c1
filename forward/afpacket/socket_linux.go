package afpacket

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// socket is a Port's kernel side. It is two sockets, one to receive and one to send, since
// an error that one direction leaves on a socket would meet the other's next call. Every
// method holds using for reading as long as it uses a descriptor; close takes it for
// writing.
type socket struct {
	inUse  sync.RWMutex
	closed atomic.Bool
	label  string // of the interface, in errors

	in    receiver
	out   sender
	waker waker

	kernelDrops atomic.Uint64
}

func openGroup(cfg Config, n int) (_ []*Port, err error) {
	var ports []*Port
	defer func() {
		if err == nil {
			return
		}
		for _, p := range ports {
			p.close()
		}
		err = fmt.Errorf("afpacket: open %s: %w", cfg.Interface, err)
	}()
	if n < 1 {
		return nil, fmt.Errorf("%d ports: %w", n, unix.EINVAL)
	}
	ifi, err := net.InterfaceByName(cfg.Interface)
	if err != nil {
		return nil, err
	}
	uso := kernelHasUSO()
	for range n {
		p := &Port{name: ifi.Name, index: ifi.Index, mtu: ifi.MTU, uso: uso}
		copy(p.mac[:], ifi.HardwareAddr)
		ports = append(ports, p)
		if err := p.socket.open(cfg, ifi.Index); err != nil {
			return nil, err
		}
	}
	if cfg.SendOnly {
		return ports, nil
	}
	if n > 1 {
		if err := joinGroup(ports); err != nil {
			return nil, err
		}
	}
	for _, p := range ports {
		if err := p.setFilter(cfg.Filter); err != nil {
			return nil, err
		}
	}
	return ports, nil
}

// open leaves descriptors that it has opened to close, also when it fails.
func (s *socket) open(cfg Config, index int) error {
	s.label = cfg.Interface
	s.in.fd, s.out.fd, s.waker.fd = -1, -1, -1
	fd, err := openSender(cfg, index)
	if err != nil {
		return fmt.Errorf("to send: %w", err)
	}
	s.out.init(fd, cfg.Batch)
	if cfg.SendOnly {
		return nil
	}
	if fd, err = openReceiver(cfg, index); err != nil {
		return fmt.Errorf("to receive: %w", err)
	}
	s.in.init(fd, cfg.Batch, cfg.Spin)
	return s.waker.init(fd)
}

// openSender's socket is of no protocol, so that it receives nothing.
func openSender(cfg Config, index int) (int, error) {
	return open(index, 0, func(fd int) error {
		if cfg.QdiscBypass {
			if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1); err != nil {
				return fmt.Errorf("PACKET_QDISC_BYPASS: %w", err)
			}
		}
		return setBuffer(fd, "SO_SNDBUF", unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, cfg.SendBuffer)
	})
}

// openReceiver's socket lets nothing in yet: in a group that is not complete, a frame
// would come to the wrong port, or to two.
func openReceiver(cfg Config, index int) (int, error) {
	return open(index, unix.ETH_P_ALL, func(fd int) error {
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
			return fmt.Errorf("PACKET_IGNORE_OUTGOING: %w", err)
		}
		if err := attach(fd, []bpf.Instruction{bpf.RetConstant{Val: 0}}); err != nil {
			return err
		}
		return setBuffer(fd, "SO_RCVBUF", unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, cfg.ReceiveBuffer)
	})
}

// open makes a packet socket, prepares it and then binds it to the interface.
func open(index int, protocol uint16, prepare func(fd int) error) (_ int, err error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("packet socket: %w", err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1); err != nil {
		return -1, fmt.Errorf("PACKET_VNET_HDR: %w", err)
	}
	if err := prepare(fd); err != nil {
		return -1, err
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(protocol), Ifindex: index}); err != nil {
		return -1, fmt.Errorf("bind: %w", err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return -1, fmt.Errorf("getsockname: %w", err)
	}
	sll, ok := name.(*unix.SockaddrLinklayer)
	if !ok || sll.Hatype != unix.ARPHRD_ETHER && sll.Hatype != unix.ARPHRD_LOOPBACK {
		return -1, errors.New("not an Ethernet interface")
	}
	return fd, nil
}

// setBuffer sets half of bytes, since the kernel doubles it (socket(7)).
func setBuffer(fd int, name string, force, plain, bytes int) error {
	err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, bytes/2)
	if errors.Is(err, unix.EPERM) {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, plain, bytes/2)
	}
	if err != nil {
		return fmt.Errorf("%s %d: %w", name, bytes, err)
	}
	return nil
}

// joinGroup puts ports into a new fanout group. There PACKET_IGNORE_OUTGOING is the
// group's, not each socket's.
func joinGroup(ports []*Port) error {
	arg := (unix.PACKET_FANOUT_HASH | unix.PACKET_FANOUT_FLAG_IGNORE_OUTGOING | unix.PACKET_FANOUT_FLAG_UNIQUEID) << 16
	for _, p := range ports {
		if err := unix.SetsockoptInt(p.in.fd, unix.SOL_PACKET, unix.PACKET_FANOUT, arg); err != nil {
			return fmt.Errorf("PACKET_FANOUT: %w", err)
		}
		var err error // the kernel has chosen an id, and left out the flag that asked for it
		if arg, err = unix.GetsockoptInt(p.in.fd, unix.SOL_PACKET, unix.PACKET_FANOUT); err != nil {
			return fmt.Errorf("PACKET_FANOUT: %w", err)
		}
	}
	return nil
}

func (s *socket) stats() Stats {
	s.readKernelStats()
	st := Stats{ReceiveDropped: s.kernelDrops.Load()}
	s.in.addTo(&st)
	s.out.addTo(&st)
	return st
}

// readKernelStats adds up what the kernel counted since the last reading, which resets it.
func (s *socket) readKernelStats() {
	s.inUse.RLock()
	defer s.inUse.RUnlock()
	if s.closed.Load() || s.in.fd < 0 {
		return
	}
	if st, err := unix.GetsockoptTpacketStats(s.in.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
		s.kernelDrops.Add(uint64(st.Drops))
	}
}

func (s *socket) wake() {
	s.inUse.RLock()
	defer s.inUse.RUnlock()
	if !s.closed.Load() {
		s.waker.wake()
	}
}

func (s *socket) close() error {
	s.readKernelStats()
	if s.closed.Swap(true) {
		return net.ErrClosed
	}
	s.waker.wake()
	s.inUse.Lock()
	defer s.inUse.Unlock()
	var errs []error
	for _, fd := range []int{s.in.fd, s.out.fd, s.waker.fd} {
		if fd >= 0 {
			errs = append(errs, unix.Close(fd))
		}
	}
	return errors.Join(errs...)
}

func networkOrder(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}
