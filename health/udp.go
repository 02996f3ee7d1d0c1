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

// UDP sends a datagram: keepalived's UDP_CHECK. Unless Reply or Expect is set, silence is
// up, and only an ICMP error (port or host unreachable) is down. With one of them, the
// datagram is sent again after 1 s, 3 s, 7 s and so on until there is an answer.
type UDP struct {
	Addr   netip.AddrPort
	Send   string         // as it is; "" means 32 random bytes
	Reply  bool           // an answer must come
	Expect *regexp.Regexp // must match in the first 4096 bytes of the answer; implies Reply
	// Wait is how long to wait for an ICMP error where silence is up; 0 means 1 s. It is
	// at most half of the check's timeout. For a host on this host's own network that does
	// not answer ARP or ND, the error takes 3 s.
	Wait time.Duration
	Dial DialFunc
}

// Check sends the datagram, and waits for an answer or an ICMP error.
func (c *UDP) Check(ctx context.Context) error {
	payload := []byte(c.Send)
	if len(payload) == 0 {
		payload = make([]byte, 32)
		_, _ = rand.Read(payload) // never fails
	}
	if c.Reply || c.Expect != nil {
		answer, err := exchangeDatagram(ctx, c.Dial, c.Addr, "answer", payload, retransmission{udpInitial, udpMax})
		if err == nil && c.Expect != nil && !c.Expect.Match(answer) {
			err = mismatch("answer", answer, fmt.Sprintf("a match of %q", c.Expect))
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
	_, err := exchangeDatagram(listen, c.Dial, c.Addr, "answer", payload, retransmission{})
	if errors.Is(err, errTimeout) && ctx.Err() == nil {
		return nil // silence is up
	}
	return err
}

// UDPType returns the type of [UDP].
func UDPType() Type {
	return Type{Name: "udp", About: "UDP datagram; silence is up, but with reply or expect it is sent again after 1 s, 3 s, ...", Transport: "udp",
		Bind: func(k *Keys, p Peer) Checker {
			c := &UDP{Addr: p.Addr, Dial: p.Dial}
			k.Text(&c.Send, "send,request", "datagram to send; 32 random bytes where not given")
			k.Bool(&c.Reply, "reply", "an answer must come")
			k.Expect(&c.Expect, "the answer")
			k.Duration(&c.Wait, "wait", time.Second, "how long to wait for an ICMP error where silence is up, at most half the timeout; that a host on the same network does not exist takes 3s to show")
			return c
		}}
}
