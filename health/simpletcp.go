package health

import (
	"context"
	"net"
	"net/netip"
	"regexp"
)

// SimpleTCP connects, sends a text and expects an answer that matches: ldirectord's
// simpletcp. It reads at most 256 KiB.
type SimpleTCP struct {
	Addr   netip.AddrPort
	Send   string         // as it is; "" sends nothing
	Expect *regexp.Regexp // must match; nil: one byte is enough. For ^ to match at each line, write (?m)^
	TLS    bool
	TLSOptions
	Dial DialFunc
}

// Check sends, shuts down its direction of the connection, and reads until a match.
func (c *SimpleTCP) Check(ctx context.Context) error {
	return c.reach(ctx, c.Send != "" || c.Expect != nil, c.check)
}

func (c *SimpleTCP) check(ctx context.Context) error {
	s, err := dialSession(ctx, c.Dial, "tcp", c.Addr.String())
	if err != nil {
		return err
	}
	defer s.close()
	if c.TLS {
		if err := s.startTLS(c.config(c.Addr.Addr())); err != nil {
			return err
		}
	}
	if c.Send != "" {
		if err := s.send("send", c.Send); err != nil {
			return err
		}
	}
	if half, ok := s.conn.(*net.TCPConn); ok && c.Send != "" {
		_ = half.CloseWrite() // the read returns the error
	}
	if c.Expect == nil {
		return s.readFull("answer", make([]byte, 1))
	}
	return matchAnswer(ctx, "answer", s.in, c.Expect, maxRead)
}

// SimpleTCPType returns the type of [SimpleTCP].
func SimpleTCPType() Type {
	return Type{Name: "simpletcp", About: "send a text over TCP, expect a match", Transport: "tcp",
		Bind: func(k *Keys, p Peer) Checker {
			c := &SimpleTCP{Addr: p.Addr, Dial: p.Dial, TLSOptions: TLSOptions{ServerName: p.Name}}
			k.Text(&c.Send, "send,request", "text to send")
			k.Expect(&c.Expect, "the answer")
			k.Bool(&c.TLS, "tls", "use TLS from the first byte")
			c.bind(k)
			return c
		}}
}
