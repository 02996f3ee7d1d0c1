package health

import (
	"context"
	"errors"
	"net"
	"os"
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

// repeating is a packet connection that sends its last datagram again while a reader
// waits, unchanged, so that the server can tell it from a new question.
type repeating struct {
	net.Conn
	ctx  context.Context
	last []byte
	wait time.Duration // from at to the next repetition
	most time.Duration
	at   time.Time // of the next repetition
}

// repeat has what is sent on t, a talk in datagrams, sent again in a rhythm.
func (t *talk) repeat(r rhythm) {
	if r == (rhythm{}) {
		return
	}
	c := &repeating{Conn: t.conn, ctx: t.ctx, wait: r.first, most: r.most}
	t.conn = c
	t.read(c)
}

func (c *repeating) Write(p []byte) (int, error) {
	c.last, c.at = append(c.last[:0], p...), time.Now().Add(c.wait)
	return c.Conn.Write(p)
}

func (c *repeating) Read(p []byte) (int, error) {
	end, limited := c.ctx.Deadline()
	for {
		last := limited && !end.After(c.at)
		at := c.at
		if last {
			at = end
		}
		// Its error is that of a closed connection, which Read returns.
		_ = c.Conn.SetReadDeadline(at)
		n, err := c.Conn.Read(p)
		if last || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if _, err := c.Conn.Write(c.last); err != nil {
			return 0, err
		}
		c.wait = min(2*c.wait, c.most)
		c.at = c.at.Add(c.wait)
	}
}
