package health

import (
	"context"
	"net"
	"net/netip"
)

// TCP checks that a port accepts connections: keepalived's TCP_CHECK, ldirectord's
// connect.
//
// The connection is closed with FIN, as both of those do, so that the server's
// accept sees an ordinary client that changed its mind. This leaves a TIME_WAIT
// entry of 60 s here per check; for thousands of targets a second Reset avoids it.
type TCP struct {
	Addr netip.AddrPort
	// Reset closes with RST instead (as HAProxy does). Some servers log it as an
	// error of the client.
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
		// A failure only means that the close is the polite one.
		_ = tcp.SetLinger(0)
	}
	// What close reports says nothing of the server.
	_ = conn.Close()
	return nil
}

// TCPType is the registry's entry of [TCP].
func TCPType() Type {
	return Type{Name: "tcp", Also: []string{"connect"}, About: "TCP connect", Transport: "tcp",
		Bind: func(k *Keys, p Peer) Checker {
			c := &TCP{Addr: p.Addr, Dial: p.Dial}
			k.Bool(&c.Reset, "reset", "close with RST, which leaves no TIME_WAIT entry")
			return c
		}}
}
