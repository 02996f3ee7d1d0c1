package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// decapSocket receives one kind of tunnel over one IP version.
type decapSocket struct {
	file   *os.File
	inode  uint64
	encap  encap
	family int
	err    error // why reading ended, where it did early

	accepted, refused atomic.Uint64 // by this socket; by the kernel, of those
}

const (
	maxPacket = 65535
	// An inner packet is injected behind the kernel's offload header (struct virtio_net_hdr) and an Ethernet header.
	offloadHeader = 10
	injectHeader  = offloadHeader + 14
	// As much as the kernel lets, so that a burst waits rather than gets lost.
	receiveBuffer = 16 << 20
)

// open opens every socket. It runs in the host.
func (d *Decapsulator) open(cfg DecapConfig) error {
	families := []int{unix.AF_INET}
	if kernelHasIPv6() {
		families = append(families, unix.AF_INET6)
	}
	for _, family := range families {
		for _, proto := range []int{unix.IPPROTO_IPIP, unix.IPPROTO_IPV6, unix.IPPROTO_GRE} {
			e := ipInIP
			if proto == unix.IPPROTO_GRE {
				e = gre
			}
			if err := d.listen(family, unix.SOCK_RAW, proto, e, 0); err != nil {
				return fmt.Errorf("raw socket for IP protocol %d: %w", proto, err)
			}
		}
		if err := d.listen(family, unix.SOCK_DGRAM, unix.IPPROTO_UDP, gue, int(cfg.guePort())); err != nil {
			return fmt.Errorf("UDP port %d: %w", cfg.guePort(), err)
		}
	}
	return d.openInject()
}

func (d *Decapsulator) listen(family, typ, proto int, e encap, port int) error {
	fd, err := unix.Socket(family, typ|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		return err
	}
	s := &decapSocket{file: os.NewFile(uintptr(fd), "decapsulation"), encap: e, family: family}
	d.sockets = append(d.sockets, s)
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer); err != nil {
			return err
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	s.inode = st.Ino
	if family == unix.AF_INET {
		return unix.Bind(fd, &unix.SockaddrInet4{Port: port})
	}
	if e == gue {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return err
		}
		// A tunnel may leave its UDP checksum out over IPv6 too (RFC 6935).
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_NO_CHECK6_RX, 1); err != nil {
			return err
		}
	}
	return unix.Bind(fd, &unix.SockaddrInet6{Port: port})
}

// openInject opens the socket through which inner packets leave, and prepares what they leave behind.
func (d *Decapsulator) openInject() error {
	from, err := netlink.LinkByName(decapOut)
	if err != nil {
		return err
	}
	to, err := netlink.LinkByName(decapIn)
	if err != nil {
		return err
	}
	copy(d.header[offloadHeader:], to.Attrs().HardwareAddr)
	copy(d.header[offloadHeader+6:], from.Attrs().HardwareAddr)
	// Protocol 0: it sends only.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("packet socket: %w", err)
	}
	d.inject = os.NewFile(uintptr(fd), "injection")
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1); err != nil {
		return fmt.Errorf("packet socket offload header: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: from.Attrs().Index}); err != nil {
		return fmt.Errorf("packet socket on %s: %w", decapOut, err)
	}
	return nil
}

// read takes packets from one socket until it is closed. Each stays where it was read, with room before it for what it is
// injected behind.
func (d *Decapsulator) read(s *decapSocket) {
	buf := make([]byte, injectHeader+maxPacket)
	for {
		n, err := s.file.Read(buf[injectHeader:])
		switch {
		case errors.Is(err, os.ErrClosed):
			return
		case err != nil && !errors.Is(err, io.EOF): // EOF is an empty datagram
			s.err = fmt.Errorf("receive: %w", err)
			return
		}
		switch inner, err := s.strip(buf[injectHeader : injectHeader+n]); err {
		case errUnfinished:
			d.count.partialGRE.Add(1)
			d.deliver(s, buf, inner)
		case nil:
			d.deliver(s, buf, inner)
		case errBadChecksum:
			d.count.badChecksum.Add(1)
		default:
			d.count.malformed.Add(1)
		}
	}
}

// strip returns the inner packet of what the socket has received.
func (s *decapSocket) strip(b []byte) ([]byte, error) {
	// A raw IPv4 socket gives the outer header too; the kernel has verified it.
	if s.family == unix.AF_INET && s.encap != gue {
		if len(b) < 20 {
			return nil, errMalformed
		}
		b = b[min(len(b), 4*int(b[0]&15)):]
	}
	return s.encap.strip(b)
}

// deliver hands packet p, which lies in buf, to the host's stack. The injectHeader bytes before it are overwritten.
func (d *Decapsulator) deliver(s *decapSocket, buf, p []byte) {
	at := cap(buf) - cap(p)
	frame := buf[at-injectHeader : at+len(p)]
	copy(frame, d.header[:])
	proto := uint16(unix.ETH_P_IP)
	if p[0]>>4 == 6 {
		proto = unix.ETH_P_IPV6
	}
	binary.BigEndian.PutUint16(frame[injectHeader-2:], proto)
	c, partial := partialChecksum(p)
	if partial {
		frame[0] = unix.VIRTIO_NET_HDR_F_NEEDS_CSUM
		binary.NativeEndian.PutUint16(frame[6:], uint16(14+c.start))
		binary.NativeEndian.PutUint16(frame[8:], uint16(c.offset))
	}
	// Counted first: who sees what the packet does finds it counted.
	d.counted(s, len(p), partial)
	if _, err := d.inject.Write(frame); err != nil {
		s.refused.Add(1)
	}
}

func (d *Decapsulator) counted(s *decapSocket, size int, partial bool) {
	s.accepted.Add(1)
	if partial {
		d.count.partial.Add(1)
	}
	for {
		seen := d.count.largest.Load()
		if uint64(size) <= seen || d.count.largest.CompareAndSwap(seen, uint64(size)) {
			return
		}
	}
}
