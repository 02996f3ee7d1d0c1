package health

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"

	"golang.org/x/net/icmp"
)

// Source is where a check's packets come from, for servers and firewalls that let in some
// alone: keepalived's bindto and bind_if, HAProxy's source. The zero value leaves it to
// this host's routes. What this host does not have makes a check not tried.
type Source struct {
	Addr      netip.Addr // an address of this host, of the server's family
	Interface string     // by which packets leave and have to come (SO_BINDTODEVICE, Linux only)
}

// String returns address and interface as Registry.New's keys have them.
func (s Source) String() string {
	var parts []string
	if s.Addr.IsValid() {
		parts = append(parts, "from "+s.Addr.String())
	}
	if s.Interface != "" {
		parts = append(parts, "by "+s.Interface)
	}
	return strings.Join(parts, " ")
}

// Dial is a [DialFunc] of the host's own.
func (s Source) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	// Enabling keep-alive costs four system calls; a check ends before the first one.
	d := net.Dialer{KeepAlive: -1}
	if s != (Source{}) {
		d.Control = s.control
	}
	if s.Addr.IsValid() {
		local := netip.AddrPortFrom(s.Addr, 0)
		if strings.HasPrefix(network, "udp") {
			d.LocalAddr = net.UDPAddrFromAddrPort(local)
		} else {
			d.LocalAddr = net.TCPAddrFromAddrPort(local)
		}
	}
	return d.DialContext(ctx, network, address)
}

// Listen is a [ListenFunc] of the host's own.
func (s Source) Listen(network, address string) (net.PacketConn, error) {
	if s.Addr.IsValid() {
		address = s.Addr.String()
	}
	ping := strings.HasPrefix(network, "udp")
	switch {
	case ping && s.Interface != "": // a raw socket can be bound to it
		return nil, &net.OpError{Op: "listen", Net: network, Err: syscall.EPERM}
	case ping:
		return icmp.ListenPacket(network, address)
	}
	return (&net.ListenConfig{Control: s.control}).ListenPacket(context.Background(), network, address)
}

// control sets a socket's options.
func (s Source) control(network, _ string, raw syscall.RawConn) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		if s.Addr.IsValid() && strings.HasPrefix(network, "tcp") {
			bindWithoutPort(fd)
		}
		if s.Interface != "" {
			failed = bindToInterface(fd, s.Interface)
		}
	})
	if failed != nil {
		return localTrouble{fmt.Errorf("interface %s: %w", s.Interface, failed)}
	}
	return err
}

// localTrouble is an error that satisfies NotTried and has a text of its own.
type localTrouble struct{ error }

func (localTrouble) Is(target error) bool { return target == ErrNotTried }
func (e localTrouble) Unwrap() error      { return e.error }

// sourceProblem is what is wrong with a source for a check of a type of a server.
func sourceProblem(t Type, p Peer) (errs ParamErrors) {
	s := p.Source
	switch {
	case s == (Source{}):
	case t.Transport == "":
		errs = append(errs, ParamError{Key: s.key(), Problem: t.Name + " opens no connection itself"})
	case p.Dial != nil || p.Listen != nil:
		errs = append(errs, ParamError{Key: s.key(), Problem: "the program opens connections itself"})
	case s.Addr.IsValid() && p.Addr.Addr().IsValid() && s.Addr.Is4() != p.Addr.Addr().Unmap().Is4():
		errs = append(errs, ParamError{Key: "source", Value: s.Addr.String(), Problem: "of another family than the server", Allowed: "an IPv4 address for an IPv4 server, IPv6 for IPv6"})
	}
	return errs
}

// key is the config's key for what a source has.
func (s Source) key() string {
	if s.Addr.IsValid() {
		return "source"
	}
	return "interface"
}
