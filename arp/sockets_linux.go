package arp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

var errDeleted = errors.New("interface deleted")

// sockets is the wire of a real interface. All sockets are opened by openWire, as a socket
// stays in the network namespace of the thread that opens it.
type sockets struct {
	ifi     *net.Interface
	packets [2]*packet.Conn // by protocol, and bound to it, so that they do not receive what the host sends
	groups  *ipv6.PacketConn
	noIPv6  error // why groups is nil
	routes  *netlink.Handle
	changes *nl.NetlinkSocket
	closed  atomic.Bool

	counting sync.Mutex
	dropped  uint64 // the kernel's counter starts anew at each reading
}

func openWire(cfg Config) (wire, state, error) {
	ifi, err := net.InterfaceByName(cfg.Interface)
	if cfg.Index != 0 {
		ifi, err = net.InterfaceByIndex(cfg.Index)
	}
	if err != nil {
		return nil, state{}, err
	}
	if ifi.Flags&net.FlagLoopback != 0 || len(ifi.HardwareAddr) != 6 {
		return nil, state{}, errors.New("not an Ethernet interface")
	}
	s := &sockets{ifi: ifi}
	st, err := s.open()
	if err != nil {
		s.Close()
		return nil, state{}, err
	}
	return s, st, nil
}

func (s *sockets) open() (state, error) {
	for p, ether := range map[protocol]int{ipv4ARP: etherTypeARP, ipv6ND: etherTypeIPv6} {
		f, err := filter(p)
		if err != nil {
			return state{}, err
		}
		s.packets[p], err = packet.Listen(s.ifi, packet.Raw, ether, &packet.Config{Filter: f})
		if err != nil {
			return state{}, fmt.Errorf("packet socket: %w", err)
		}
		if err := enlarge(s.packets[p]); err != nil {
			return state{}, fmt.Errorf("packet socket: %w", err)
		}
	}
	s.openGroups()
	var err error
	if s.changes, err = nl.Subscribe(unix.NETLINK_ROUTE,
		unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR); err != nil {
		return state{}, fmt.Errorf("netlink: %w", err)
	}
	if s.routes, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return state{}, fmt.Errorf("netlink: %w", err)
	}
	return s.state()
}

// receiveBuffer is room for more than a second of a flood, in bytes: a frame of ARP takes
// three quarters of a kilobyte in the kernel.
const receiveBuffer = 4 << 20

// enlarge gives a socket the receive buffer, or as much of it as the system allows.
func enlarge(c *packet.Conn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) {
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
		}
	})
}

// openGroups opens the socket that joins multicast groups. A kernel without IPv6 has none,
// which matters only to IPv6 VIPs.
func (s *sockets) openGroups() {
	c, err := net.ListenPacket("ip6:ipv6-icmp", "::")
	if err != nil {
		s.noIPv6 = err
		return
	}
	s.groups = ipv6.NewPacketConn(c)
	var nothing ipv6.ICMPFilter
	nothing.SetAll(true)
	s.noIPv6 = s.groups.SetICMPFilter(&nothing)
}

func (s *sockets) Receive(p protocol, buf []byte) (int, error) {
	for {
		n, _, err := s.packets[p].ReadFrom(buf)
		switch {
		case err == nil:
			return n, nil
		case s.closed.Load():
			return 0, net.ErrClosed
		case !errors.Is(err, unix.ENETDOWN): // once when the link goes down, which Wait sees too
			return 0, fmt.Errorf("receive: %w", err)
		}
	}
}

func (s *sockets) Send(frame []byte) error {
	p := ipv4ARP
	if frame[12] == etherTypeIPv6>>8 {
		p = ipv6ND
	}
	_, err := s.packets[p].WriteTo(frame, &packet.Addr{HardwareAddr: frame[:6]})
	return err
}

func (s *sockets) Dropped() uint64 {
	s.counting.Lock()
	defer s.counting.Unlock()
	for _, c := range s.packets {
		if st, err := c.Stats(); err == nil {
			s.dropped += uint64(st.Drops)
		}
	}
	return s.dropped
}

func (s *sockets) Join(m membership) error {
	if !m.group.IsValid() {
		return s.setMAC(unix.PACKET_ADD_MEMBERSHIP, m.mac)
	}
	err := s.setGroup((*ipv6.PacketConn).JoinGroup, m.group)
	if errors.Is(err, unix.EADDRINUSE) {
		return nil // Leave has failed before
	}
	return err
}

func (s *sockets) Leave(m membership) error {
	if !m.group.IsValid() {
		return s.setMAC(unix.PACKET_DROP_MEMBERSHIP, m.mac)
	}
	return s.setGroup((*ipv6.PacketConn).LeaveGroup, m.group)
}

func (s *sockets) setGroup(change func(*ipv6.PacketConn, *net.Interface, net.Addr) error, group netip.Addr) error {
	if s.noIPv6 != nil {
		return fmt.Errorf("%w, nor on this host: %w", ErrNoIPv6, s.noIPv6)
	}
	err := change(s.groups, s.ifi, &net.IPAddr{IP: group.AsSlice()})
	switch {
	case s.closed.Load():
		return net.ErrClosed
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENODEV):
		return fmt.Errorf("%w (MTU below 1280?): %w", ErrNoIPv6, err)
	case errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.ENOMEM):
		return fmt.Errorf("too many IPv6 VIPs for one socket, raise net.core.optmem_max: %w", err)
	}
	return err
}

// setMAC adds a MAC to those that the interface receives, or drops it. The kernel drops it
// when the socket is closed.
func (s *sockets) setMAC(option int, m mac) error {
	rc, err := s.packets[ipv4ARP].SyscallConn()
	if err != nil {
		return err
	}
	mreq := unix.PacketMreq{Ifindex: int32(s.ifi.Index), Type: unix.PACKET_MR_UNICAST, Alen: uint16(len(m))}
	copy(mreq.Address[:], m[:])
	var set error
	err = rc.Control(func(fd uintptr) {
		set = os.NewSyscallError("setsockopt", unix.SetsockoptPacketMreq(int(fd), unix.SOL_PACKET, option, &mreq))
	})
	if s.closed.Load() {
		return net.ErrClosed
	}
	return errors.Join(err, set)
}

// Wait returns after any change of any interface, so that lost messages (ENOBUFS) need not
// be repeated.
func (s *sockets) Wait() (state, error) {
	msgs, _, err := s.changes.Receive()
	if s.closed.Load() {
		return state{}, net.ErrClosed
	}
	if err != nil && !errors.Is(err, unix.ENOBUFS) {
		return state{}, fmt.Errorf("netlink: %w", err)
	}
	st, err := s.state()
	if s.closed.Load() {
		return state{}, net.ErrClosed
	}
	st.moved = slices.ContainsFunc(msgs, func(m syscall.NetlinkMessage) bool { return asksToAnnounce(m, s.ifi.Index) })
	return st, err
}

// asksToAnnounce reports whether a message of the kernel asks the users of an interface to
// announce themselves (NETDEV_NOTIFY_PEERS).
func asksToAnnounce(m syscall.NetlinkMessage, index int) bool {
	if m.Header.Type != unix.RTM_NEWLINK || len(m.Data) < unix.SizeofIfInfomsg || nl.DeserializeIfInfomsg(m.Data).Index != int32(index) {
		return false
	}
	attrs, err := nl.ParseRouteAttr(m.Data[unix.SizeofIfInfomsg:])
	return err == nil && slices.ContainsFunc(attrs, func(a syscall.NetlinkRouteAttr) bool {
		return a.Attr.Type == unix.IFLA_EVENT && len(a.Value) == 4 && nl.NativeEndian().Uint32(a.Value) == unix.IFLA_EVENT_NOTIFY_PEERS
	})
}

// state reads the state from the kernel.
func (s *sockets) state() (state, error) {
	link, err := s.routes.LinkByIndex(s.ifi.Index)
	var notFound netlink.LinkNotFoundError
	if errors.As(err, &notFound) || errors.Is(err, unix.ENODEV) {
		return state{}, errDeleted
	}
	if err != nil {
		return state{}, fmt.Errorf("read link: %w", err)
	}
	attrs := link.Attrs()
	if len(attrs.HardwareAddr) != 6 {
		return state{}, errors.New("not an Ethernet interface")
	}
	const up = unix.IFF_UP | unix.IFF_RUNNING
	st := state{mac: mac(attrs.HardwareAddr), up: attrs.RawFlags&up == up}
	if st.host, err = s.hostMACs(); err != nil {
		return state{}, err
	}
	addrs, err := s.routes.AddrList(link, netlink.FAMILY_ALL)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) { // by a change, of which Wait will tell
		return state{}, fmt.Errorf("read addresses: %w", err)
	}
	for _, a := range addrs {
		ip, ok := netip.AddrFromSlice(a.IP)
		// RFC 4862 §5.4: an address is not to be used until it is known to be unique.
		if !ok || a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0 {
			continue
		}
		ones, _ := a.Mask.Size()
		st.addrs = append(st.addrs, netip.PrefixFrom(ip.Unmap(), ones))
	}
	return st, nil
}

// hostMACs returns the MACs of all Ethernet interfaces of the host.
func (s *sockets) hostMACs() (map[mac]bool, error) {
	links, err := s.routes.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) { // by a change, of which Wait will tell
		return nil, fmt.Errorf("read links: %w", err)
	}
	macs := map[mac]bool{}
	for _, l := range links {
		if a := l.Attrs().HardwareAddr; len(a) == 6 {
			macs[mac(a)] = true
		}
	}
	return macs, nil
}

func (s *sockets) Close() error {
	s.closed.Store(true)
	var errs []error
	for _, c := range s.packets {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	if s.groups != nil {
		errs = append(errs, s.groups.Close())
	}
	if s.changes != nil {
		s.changes.Close()
	}
	if s.routes != nil {
		s.routes.Close()
	}
	return errors.Join(errs...)
}
