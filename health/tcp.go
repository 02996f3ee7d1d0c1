package health

import (
	"context"
	"net"
	"net/netip"
)

// TCP connects: keepalived's TCP_CHECK, ldirectord's connect.
//
// It closes the connection with FIN, as both of these do and as ordinary clients do. That
// leaves a TIME_WAIT entry on this host for 60 s per check; Reset avoids it, for
// thousands of checks a second.
type TCP struct {
	Addr netip.AddrPort
	// Reset closes with RST instead, as HAProxy does. Some servers log that as an error
	// of the client.
	Reset bool
	Dial  DialFunc // nil is the host's own
}

// Check connects and closes.
func (c *TCP) Check(ctx context.Context) error {
	conn, err := c.Dial.dial(ctx, "tcp", c.Addr.String())
	if err != nil {
		return dialReason(ctx, c.Addr.String(), err)
	}
	if tcp, ok := conn.(*net.TCPConn); ok && c.Reset {
		// Where this fails, the close is with FIN.
		_ = tcp.SetLinger(0)
	}
	// What Close returns tells nothing about the server.
	_ = conn.Close()
	return nil
}

// TCPType returns the type of [TCP].
func TCPType() Type {
	return Type{Name: "tcp", Also: []string{"connect"}, About: "TCP connect", Transport: "tcp",
		Bind: func(k *Keys, p Peer) Checker {
			c := &TCP{Addr: p.Addr, Dial: p.Dial}
			k.Bool(&c.Reset, "reset", "close with RST, which leaves no TIME_WAIT entry")
			return c
		}}
}
