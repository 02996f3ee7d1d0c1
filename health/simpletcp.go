package health

import (
	"context"
	"net"
	"net/netip"
	"regexp"
)

// SimpleTCP connects, sends a text and expects a match in what comes back:
// ldirectord's simpletcp. It reads at most 256 KiB.
type SimpleTCP struct {
	Addr   netip.AddrPort
	Send   string         // as it is; "" sends nothing
	Expect *regexp.Regexp // nil: one byte will do; for ^ to match at each line, write (?m)^
	TLS    bool
	TLSOptions
	Dial DialFunc
}

// Check sends, closes its direction, and reads until a match.
func (c *SimpleTCP) Check(ctx context.Context) error {
	t, err := dialTalk(ctx, c.Dial, "tcp", c.Addr.String())
	if err != nil {
		return err
	}
	defer t.close()
	if c.TLS {
		if err := t.startTLS(c.config(c.Addr.Addr())); err != nil {
			return err
		}
	}
	if c.Send != "" {
		if err := t.send("send", c.Send); err != nil {
			return err
		}
	}
	if half, ok := t.conn.(*net.TCPConn); ok && c.Send != "" {
		_ = half.CloseWrite() // the read tells what is wrong
	}
	if c.Expect == nil {
		return t.full("answer", make([]byte, 1))
	}
	return search(ctx, "answer", t.in, c.Expect, maxTalk)
}

// SimpleTCPType is the registry's entry of [SimpleTCP].
func SimpleTCPType() Type {
	return Type{Name: "simpletcp", About: "send a text over TCP, expect a match", Transport: "tcp",
		Bind: func(k *Keys, p Peer) Checker {
			c := &SimpleTCP{Addr: p.Addr, Dial: p.Dial, TLSOptions: TLSOptions{ServerName: p.Name}}
			k.Text(&c.Send, "send,request", "text to send")
			k.Expect(&c.Expect, "the answer")
			k.Bool(&c.TLS, "tls", "TLS from the first byte")
			c.bind(k)
			return c
		}}
}
