package afpacket

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/golb/golb/forward"
	"golang.org/x/sys/unix"
)

// socket is the kernel side of a Port. It is two sockets, one to receive and one to send:
// the kernel reports an asynchronous error to whichever call comes next, which may be of
// the other direction.
type socket struct {
	// inUse is locked for reading while a method uses a descriptor, and for writing to
	// close them.
	inUse  sync.RWMutex
	closed atomic.Bool
	label  string        // name of the interface, for errors
	macs   []forward.MAC // virtual MACs

	in    receiver
	out   sender
	waker waker

	kernelDrops atomic.Uint64 // as of the last PACKET_STATISTICS
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
	if err := checkMACs(cfg.MACs); err != nil {
		return nil, err
	}
	ifi, err := net.InterfaceByName(cfg.Interface)
	if cfg.Index != 0 {
		ifi, err = net.InterfaceByIndex(cfg.Index)
	}
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
		if _, err := p.attachFilter(cfg.Filter); err != nil {
			return nil, fmt.Errorf("filter: %w", err)
		}
	}
	return ports, nil
}

func checkMACs(macs []forward.MAC) error {
	if len(macs) > MaxMACs {
		return fmt.Errorf("%d MACs, at most %d are allowed: %w", len(macs), MaxMACs, unix.EINVAL)
	}
	for _, m := range macs {
		if m.IsZero() || m.IsGroup() {
			return fmt.Errorf("MAC %v: not a unicast address: %w", m, unix.EINVAL)
		}
	}
	return nil
}

// open opens the sockets. Also when it fails, close has to close what it has opened.
func (s *socket) open(cfg Config, index int) error {
	s.label, s.macs = cfg.Interface, slices.Clone(cfg.MACs)
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
	if err := s.in.init(fd, cfg.Batch, cfg.Spin); err != nil {
		return err
	}
	return s.waker.init(fd)
}

// openSender opens the socket to send. It is bound to no protocol, so that it receives
// nothing.
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

// openReceiver opens the socket to receive. Its filter lets nothing in yet: while a group is
// incomplete, a frame would be received by the wrong port, or by two.
func openReceiver(cfg Config, index int) (int, error) {
	return open(index, unix.ETH_P_ALL, func(fd int) error {
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
			return fmt.Errorf("PACKET_IGNORE_OUTGOING: %w", err)
		}
		prog, _, err := compile(forward.Filter{}, nil)
		if err != nil {
			return err
		}
		if err := attach(fd, prog); err != nil {
			return err
		}
		for _, m := range cfg.MACs {
			if err := addMAC(fd, index, m); err != nil {
				return err
			}
		}
		return setBuffer(fd, "SO_RCVBUF", unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, cfg.ReceiveBuffer)
	})
}

// addMAC has the interface receive frames for m as long as the socket is open.
func addMAC(fd, index int, m forward.MAC) error {
	mreq := &unix.PacketMreq{Ifindex: int32(index), Type: unix.PACKET_MR_UNICAST, Alen: uint16(len(m))}
	copy(mreq.Address[:], m[:])
	if err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, mreq); err != nil {
		return fmt.Errorf("PACKET_ADD_MEMBERSHIP of MAC %v: %w", m, err)
	}
	return nil
}

// open opens a packet socket, prepares it and then binds it to the interface.
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

// setBuffer sets a buffer's size to half of bytes, since the kernel doubles it (socket(7)).
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

// joinGroup puts ports into a new fanout group. In a group, PACKET_IGNORE_OUTGOING of the
// sockets has no effect: the group has a flag for it.
func joinGroup(ports []*Port) error {
	arg := (unix.PACKET_FANOUT_HASH | unix.PACKET_FANOUT_FLAG_IGNORE_OUTGOING | unix.PACKET_FANOUT_FLAG_UNIQUEID) << 16
	for _, p := range ports {
		if err := unix.SetsockoptInt(p.in.fd, unix.SOL_PACKET, unix.PACKET_FANOUT, arg); err != nil {
			return fmt.Errorf("PACKET_FANOUT: %w", err)
		}
		var err error // the kernel has chosen an id, and cleared PACKET_FANOUT_FLAG_UNIQUEID
		if arg, err = unix.GetsockoptInt(p.in.fd, unix.SOL_PACKET, unix.PACKET_FANOUT); err != nil {
			return fmt.Errorf("PACKET_FANOUT: %w", err)
		}
	}
	return nil
}

func (s *socket) stats() forward.PortStats {
	s.readKernelStats()
	st := forward.PortStats{ReceiveDropped: s.kernelDrops.Load()}
	s.in.addTo(&st)
	s.out.addTo(&st)
	return st
}

// readKernelStats adds what the kernel has counted since the last call: reading resets its
// counters.
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
