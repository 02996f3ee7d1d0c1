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

// rhythm is when a datagram that nothing has answered is sent again: after first,
// and then after twice as long each time, up to most. One that was lost, as any may
// be, costs a check that much time and not its verdict. The zero rhythm is never.
type rhythm struct{ first, most time.Duration }

// The rhythm where a protocol has none of its own (RFC 8085 section 3.1.1, RFC 6298).
const (
	udpFirst = time.Second
	udpMost  = time.Minute
)

// packets is a packet connection that sends its last datagram again while a reader
// waits, unchanged, so that the server can tell it from a new question. What its
// errors mean is what ICMP said.
type packets struct {
	net.Conn
	ctx   context.Context
	again rhythm
	last  []byte
	wait  time.Duration // from at to the next repetition
	at    time.Time     // of the next repetition
}

// dialPackets begins a talk in datagrams, each of which is sent again in a rhythm.
func dialPackets(ctx context.Context, dial DialFunc, addr netip.AddrPort, again rhythm) (*talk, error) {
	t, err := dialTalk(ctx, dial, "udp", addr.String())
	if err != nil {
		return nil, err
	}
	hearICMP(t.conn)
	c := &packets{Conn: t.conn, ctx: ctx, again: again}
	t.conn = c
	t.read(c)
	return t, nil
}

func (c *packets) Write(p []byte) (int, error) {
	c.last, c.wait = append(c.last[:0], p...), c.again.first
	c.at = time.Now().Add(c.wait)
	n, err := c.Conn.Write(p)
	return n, icmpReason(err)
}

func (c *packets) Read(p []byte) (int, error) {
	end, limited := c.ctx.Deadline()
	for {
		at, last := c.at, c.again == rhythm{} || limited && !end.After(c.at)
		if last {
			at = end
		}
		// Its error is that of a closed connection, which Read returns.
		_ = c.Conn.SetReadDeadline(at)
		n, err := c.Conn.Read(p)
		if last || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, icmpReason(err)
		}
		if _, err := c.Conn.Write(c.last); err != nil {
			return 0, icmpReason(err)
		}
		c.wait = min(2*c.wait, c.again.most)
		c.at = c.at.Add(c.wait)
	}
}

// icmpReason says which ICMP error it was that a packet socket calls err.
func icmpReason(err error) error {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return errors.New("ICMP port unreachable: nobody listens there")
	case errors.Is(err, syscall.EACCES):
		return errProhibited
	}
	return err
}
