package health

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"time"
)

// UDP sends a datagram: keepalived's UDP_CHECK. Unless an answer is asked for,
// silence is up, and only ICMP's word that nobody listens, or that the host cannot be
// reached, is down. An answer that is asked for is asked for again
// after a second, two, and so on.
type UDP struct {
	Addr   netip.AddrPort
	Send   string         // as it is; "" means 32 random bytes
	Reply  bool           // there must be an answer
	Expect *regexp.Regexp // that it must match, in its first 4096 bytes; implies Reply
	// Wait is how long silence is listened to where it means up; 0 means 1 s. It is
	// cut to half of what is left of the check's timeout. That a host of our own
	// network is gone is known after 3 s.
	Wait time.Duration
	Dial DialFunc
}

// Check sends, and listens.
func (c *UDP) Check(ctx context.Context) error {
	payload := []byte(c.Send)
	if len(payload) == 0 {
		payload = make([]byte, 32)
		_, _ = rand.Read(payload) // never fails
	}
	if c.Reply || c.Expect != nil {
		answer, err := exchangePacket(ctx, c.Dial, c.Addr, "answer", payload, rhythm{udpFirst, udpMost})
		if err == nil && c.Expect != nil && !c.Expect.Match(answer) {
			err = wanted("answer", answer, fmt.Sprintf("a match of %q", c.Expect))
		}
		return err
	}
	wait := c.Wait
	if wait == 0 {
		wait = time.Second
	}
	if at, limited := ctx.Deadline(); limited {
		wait = min(wait, time.Until(at)/2)
	}
	listen, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	_, err := exchangePacket(listen, c.Dial, c.Addr, "answer", payload, rhythm{})
	if errors.Is(err, errTimeout) && ctx.Err() == nil {
		return nil // silence
	}
	return err
}

// exchangePacket sends a datagram, again in a rhythm, and reads one.
func exchangePacket(ctx context.Context, dial DialFunc, addr netip.AddrPort, what string, out []byte, again rhythm) ([]byte, error) {
	t, err := dialPackets(ctx, dial, addr, again)
	if err != nil {
		return nil, err
	}
	defer t.close()
	if err := t.send(what, string(out)); err != nil {
		return nil, err
	}
	in := make([]byte, 4096)
	n, err := t.conn.Read(in)
	if err != nil {
		return nil, t.fail(what, err)
	}
	return in[:n], nil
}

// UDPType is the registry's entry of [UDP].
func UDPType() Type {
	return Type{Name: "udp", About: "UDP datagram; without reply or expect, silence is up, else again after 1 s, 3 s, ...", Transport: "udp",
		Bind: func(k *Keys, p Peer) Checker {
			c := &UDP{Addr: p.Addr, Dial: p.Dial}
			k.Text(&c.Send, "send,request", "datagram to send; 32 random bytes where not given")
			k.Bool(&c.Reply, "reply", "there must be an answer")
			k.Expect(&c.Expect, "the answer")
			k.Duration(&c.Wait, "wait", time.Second, "how long silence is listened to, at most half the timeout; that a host of our own network is gone is known after 3s")
			return c
		}}
}
