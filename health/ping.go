package health

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// Ping sends an ICMP or ICMPv6 echo request and expects the reply (RFC 792, RFC 4443):
// keepalived's PING_CHECK, ldirectord's ping. It uses an unprivileged ping socket where
// the host allows that (net.ipv4.ping_group_range), else a raw one, which needs
// CAP_NET_RAW.
type Ping struct {
	Addr   netip.Addr
	Size   int        // of the data in bytes, at least 16; 0 means 56
	Tries  int        // requests, spread over the check's timeout; 0 means 1
	Listen ListenFunc // nil is the host's own
}

// Check sends requests until one is answered, Tries at most.
func (c *Ping) Check(ctx context.Context) error {
	conn, privileged, err := c.listen()
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	tries := max(1, c.Tries)
	size := c.Size
	if size == 0 {
		size = 56
	}
	e := echo{to: c.Addr, privileged: privileged, id: uint16(time.Now().UnixNano()), data: make([]byte, max(16, size))}
	_, _ = rand.Read(e.data) // never fails; a raw socket gets the replies to others too
	end, limited := ctx.Deadline()
	for n := range tries {
		if limited {
			if err := conn.SetReadDeadline(time.Now().Add(time.Until(end) / time.Duration(tries-n))); err != nil {
				return fmt.Errorf("ping: %w", err)
			}
		}
		if ctx.Err() != nil { // the deadline just set may have replaced the one that its end set
			break
		}
		e.seq = uint16(n)
		if err = e.exchange(conn); err == nil {
			return nil
		}
		if ctx.Err() != nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return fmt.Errorf("ping: %w", netReason(ctx, err))
}

// listen opens a ping socket, or a raw one where the host allows none.
func (c *Ping) listen() (conn net.PacketConn, privileged bool, err error) {
	listen := c.Listen
	if listen == nil {
		listen = Source{}.Listen
	}
	ping, raw, any := "udp4", "ip4:icmp", "0.0.0.0"
	if c.Addr.Is6() && !c.Addr.Is4In6() {
		ping, raw, any = "udp6", "ip6:ipv6-icmp", "::"
	}
	conn, err = listen(ping, any)
	if errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM) {
		conn, err = listen(raw, any)
		privileged = true
	}
	if errors.Is(err, syscall.EPERM) {
		return nil, false, errors.New("ping: needs CAP_NET_RAW, or a group in net.ipv4.ping_group_range")
	}
	if err != nil {
		return nil, false, fmt.Errorf("ping: %w", err)
	}
	return conn, privileged, nil
}

// echo is a request. On a ping socket the kernel replaces the id.
type echo struct {
	to         netip.Addr
	privileged bool
	id, seq    uint16
	data       []byte
}

// exchange sends the request and reads until the reply.
func (e *echo) exchange(conn net.PacketConn) error {
	protocol, request, reply := 1, icmp.Type(ipv4.ICMPTypeEcho), icmp.Type(ipv4.ICMPTypeEchoReply)
	if e.to.Is6() && !e.to.Is4In6() {
		protocol, request, reply = 58, ipv6.ICMPTypeEchoRequest, ipv6.ICMPTypeEchoReply
	}
	out, err := (&icmp.Message{Type: request, Body: &icmp.Echo{ID: int(e.id), Seq: int(e.seq), Data: e.data}}).Marshal(nil)
	if err != nil {
		return err
	}
	to := e.to.Unmap()
	var dst net.Addr = &net.UDPAddr{IP: to.AsSlice(), Zone: to.Zone()}
	if e.privileged {
		dst = &net.IPAddr{IP: to.AsSlice(), Zone: to.Zone()}
	}
	if _, err := conn.WriteTo(out, dst); err != nil {
		return err
	}
	in := make([]byte, len(out)+64)
	for {
		n, _, err := conn.ReadFrom(in)
		if err != nil {
			return err
		}
		m, err := icmp.ParseMessage(protocol, in[:n])
		if err != nil || m.Type != reply {
			continue // a raw socket gets all ICMP of the host
		}
		if got, ok := m.Body.(*icmp.Echo); ok && got.Seq == int(e.seq) && bytes.Equal(got.Data, e.data) {
			return nil
		}
	}
}

// PingType returns the type of [Ping].
func PingType() Type {
	return Type{Name: "ping", Also: []string{"icmp"}, About: "ICMP or ICMPv6 echo", Transport: "icmp",
		Bind: func(k *Keys, p Peer) Checker {
			c := &Ping{Addr: p.Addr.Addr(), Listen: p.Listen}
			k.Int(&c.Size, "size", 56, 16, 1400, "bytes of data")
			k.Int(&c.Tries, "tries,checkcount", 1, 1, 10, "requests, spread over the timeout")
			return c
		}}
}
