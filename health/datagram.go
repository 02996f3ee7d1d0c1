package health

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// retransmission is when a datagram without an answer is sent again: after initial,
// then after twice as long each time, up to max. A lost datagram so costs a check time
// instead of failing it. The zero value never sends again.
type retransmission struct{ initial, max time.Duration }

// Retransmission where the protocol has none of its own (RFC 8085 section 3.1.1, RFC
// 6298).
const (
	udpInitial = time.Second
	udpMax     = time.Minute
)

// datagramConn is a datagram connection that sends its last datagram again while a
// reader waits. It sends the same bytes, so that the server sees no second request.
// Its errors name the ICMP error that caused them.
type datagramConn struct {
	net.Conn
	ctx    context.Context
	timing retransmission
	last   []byte        // datagram that was sent
	wait   time.Duration // before at
	at     time.Time     // when last is sent again
}

// dialDatagram opens a session of datagrams.
func dialDatagram(ctx context.Context, dial DialFunc, addr netip.AddrPort, timing retransmission) (*session, error) {
	s, err := dialSession(ctx, dial, "udp", addr.String())
	if err != nil {
		return nil, err
	}
	reportICMPErrors(s.conn)
	c := &datagramConn{Conn: s.conn, ctx: ctx, timing: timing}
	s.conn = c
	s.readFrom(c)
	return s, nil
}

func (c *datagramConn) Write(p []byte) (int, error) {
	c.last, c.wait = append(c.last[:0], p...), c.timing.initial
	c.at = time.Now().Add(c.wait)
	n, err := c.Conn.Write(p)
	return n, icmpReason(err)
}

func (c *datagramConn) Read(p []byte) (int, error) {
	end, limited := c.ctx.Deadline()
	for {
		at, last := c.at, c.timing == retransmission{} || limited && !end.After(c.at)
		if last {
			at = end
		}
		// An error here is that of a closed connection, which Read returns.
		_ = c.Conn.SetReadDeadline(at)
		n, err := c.Conn.Read(p)
		if last || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, icmpReason(err)
		}
		if _, err := c.Conn.Write(c.last); err != nil {
			return 0, icmpReason(err)
		}
		c.wait = min(2*c.wait, c.timing.max)
		c.at = c.at.Add(c.wait)
	}
}

// icmpReason replaces the errors that ICMP errors cause on a UDP socket.
func icmpReason(err error) error {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return errors.New("ICMP port unreachable: nobody listens there")
	case errors.Is(err, syscall.EACCES):
		return errProhibited
	}
	return err
}

// exchangeDatagram sends a datagram, again where nothing answers, and reads one.
func exchangeDatagram(ctx context.Context, dial DialFunc, addr netip.AddrPort, what string, out []byte, timing retransmission) ([]byte, error) {
	s, err := dialDatagram(ctx, dial, addr, timing)
	if err != nil {
		return nil, err
	}
	defer s.close()
	if err := s.send(what, string(out)); err != nil {
		return nil, err
	}
	in := make([]byte, 4096)
	n, err := s.conn.Read(in)
	if err != nil {
		return nil, s.wrap(what, err)
	}
	return in[:n], nil
}
