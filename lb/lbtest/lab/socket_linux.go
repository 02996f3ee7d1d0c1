package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Listen announces on an address of the host. The listener may be used from any goroutine.
func (h *Host) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	lc := net.ListenConfig{Control: h.Control}
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("lab: %s: %w", h.name, err)
	}
	return ln, nil
}

// ListenPacket opens a datagram socket on an address of the host. It may be used from any goroutine.
func (h *Host) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	lc := net.ListenConfig{Control: h.Control}
	pc, err := lc.ListenPacket(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("lab: %s: %w", h.name, err)
	}
	return pc, nil
}

// DialContext connects from the host. The address is an IP literal, with a port but for networks ip4 and ip6: the host
// has no resolver. No thread is held while the connection is being made, so thousands may be at once.
func (h *Host) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if err := literal(network, address); err != nil {
		return nil, fmt.Errorf("lab: %s: dial %s: %w", h.name, address, err)
	}
	d := net.Dialer{Control: h.Control}
	c, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("lab: %s: %w", h.name, err)
	}
	return c, nil
}

func literal(network, address string) (err error) {
	if strings.HasPrefix(network, "ip") {
		_, err = netip.ParseAddr(address)
	} else {
		_, err = netip.ParseAddrPort(address)
	}
	return err
}

// Control puts a socket that is not yet bound or connected into the host. It is a Control function for net.Dialer and
// net.ListenConfig, for code that brings its own.
func (h *Host) Control(_, _ string, c syscall.RawConn) error {
	var err error
	if cerr := c.Control(func(fd uintptr) { err = h.replace(int(fd)) }); cerr != nil {
		return cerr
	}
	return err
}

// replace puts a socket of the same kind, made in the host, in the place of descriptor fd: a socket belongs to the
// namespace it was made in for life.
func (h *Host) replace(fd int) error {
	domain, err1 := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	typ, err2 := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	proto, err3 := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err := errors.Join(err1, err2, err3); err != nil {
		return fmt.Errorf("read socket kind: %w", err)
	}
	var inside int
	err := h.Do(func() (err error) {
		inside, err = unix.Socket(domain, typ|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, proto)
		return err
	})
	if err != nil {
		return fmt.Errorf("socket in %s: %w", h.name, err)
	}
	defer unix.Close(inside)
	if err := copyOptions(inside, fd, domain); err != nil {
		return err
	}
	if err := unix.Dup3(inside, fd, unix.O_CLOEXEC); err != nil {
		return fmt.Errorf("replace socket: %w", err)
	}
	return nil
}

// copyOptions repeats what package net has set on a new socket by the time it calls Control.
func copyOptions(to, from, domain int) error {
	options := [][2]int{{unix.SOL_SOCKET, unix.SO_REUSEADDR}, {unix.SOL_SOCKET, unix.SO_BROADCAST}}
	if domain == unix.AF_INET6 {
		options = append(options, [2]int{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY})
	}
	for _, o := range options {
		want, err := unix.GetsockoptInt(from, o[0], o[1])
		if err != nil {
			return fmt.Errorf("read socket option %d/%d: %w", o[0], o[1], err)
		}
		// Not every kind of socket lets every option be set, even to what it is.
		if have, err := unix.GetsockoptInt(to, o[0], o[1]); err == nil && have == want {
			continue
		}
		if err := unix.SetsockoptInt(to, o[0], o[1], want); err != nil {
			return fmt.Errorf("set socket option %d/%d to %d: %w", o[0], o[1], want, err)
		}
	}
	return nil
}
