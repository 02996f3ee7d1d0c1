package health

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// tcpHost answers SYNs over a socket in virtual time.
type tcpHost struct {
	*icmpHost
	from net.Addr
}

func (h *tcpHost) ReadFrom(p []byte) (int, net.Addr, error) {
	n, _, err := h.icmpHost.ReadFrom(p)
	return n, h.from, err
}

// synAck makes a segment with flags that acknowledges a SYN, by an offset.
func synAck(flags byte, off uint32) func([]byte) [][]byte {
	return func(syn []byte) [][]byte {
		p := make([]byte, 20)
		copy(p[0:2], syn[2:4])
		copy(p[2:4], syn[0:2])
		binary.BigEndian.PutUint32(p[8:], binary.BigEndian.Uint32(syn[4:])+off)
		p[13] = flags
		return [][]byte{p}
	}
}

func TestSYN(t *testing.T) {
	requests := 0
	tests := []struct {
		name     string
		addr     string
		from     string
		host     func([]byte) [][]byte
		want     string
		requests int
	}{
		{"SYN and ACK", "192.0.2.1:99", "192.0.2.1", synAck(tcpSYN|tcpACK, 1), "", 1},
		{"IPv6", "[2001:db8::1]:99", "2001:db8::1", synAck(tcpSYN|tcpACK, 1), "", 1},
		{"RST", "192.0.2.1:99", "192.0.2.1", synAck(tcpRST|tcpACK, 1), "SYN to 192.0.2.1:99: connection refused", 1},
		{"silence", "192.0.2.1:99", "192.0.2.1", func([]byte) [][]byte { return nil }, "SYN to 192.0.2.1:99: no answer in time", 3},
		{"answer to the second", "192.0.2.1:99", "192.0.2.1", func(p []byte) [][]byte {
			if requests++; requests == 1 {
				return nil
			}
			return synAck(tcpSYN|tcpACK, 1)(p)
		}, "", 2},
		{"another host", "192.0.2.1:99", "192.0.2.2", synAck(tcpSYN|tcpACK, 1), "SYN to 192.0.2.1:99: no answer in time", 3},
		{"another connection's", "192.0.2.1:99", "192.0.2.1", synAck(tcpSYN|tcpACK, 7), "SYN to 192.0.2.1:99: no answer in time", 3},
		{"ACK alone", "192.0.2.1:99", "192.0.2.1", synAck(tcpACK, 1), "SYN to 192.0.2.1:99: no answer in time", 3},
		{"a flood of another connection's", "192.0.2.1:99", "192.0.2.1", func(p []byte) [][]byte { return repeat(synAck(tcpSYN|tcpACK, 7)(p)[0], 3000) },
			"SYN to 192.0.2.1:99: no answer in time", 3},
		{"cut short", "192.0.2.1:99", "192.0.2.1", func(p []byte) [][]byte { return [][]byte{p[:4], {}} }, "SYN to 192.0.2.1:99: no answer in time", 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := &tcpHost{newICMPHost(tt.host), &net.IPAddr{IP: net.ParseIP(tt.from)}}
				local := net.ParseIP("192.0.2.99")
				if strings.Contains(tt.addr, "[") {
					local = net.ParseIP("2001:db8::99")
				}
				c := &SYN{Addr: netip.MustParseAddrPort(tt.addr),
					Listen: func(string, string) (net.PacketConn, error) { return host, nil },
					Dial: func(context.Context, string, string) (net.Conn, error) {
						near, _ := net.Pipe()
						return at{near, &net.UDPAddr{IP: local}}, nil
					}}
				if got := checkOnce(t, c); got != tt.want {
					t.Errorf("got  %s\nwant %s", got, tt.want)
				}
				// The fourth second begins as the check's time ends.
				if n := min(host.requests, 3); n != tt.requests {
					t.Errorf("%d SYNs, want %d", host.requests, tt.requests)
				}
			})
		})
	}
}

// at is a connection with another address of ours.
type at struct {
	net.Conn
	local net.Addr
}

func (a at) LocalAddr() net.Addr { return a.local }

// sourceAddress is a dialer of connections from 192.0.2.99.
func sourceAddress(context.Context, string, string) (net.Conn, error) {
	near, _ := net.Pipe()
	return at{near, &net.UDPAddr{IP: net.IPv4(192, 0, 2, 99)}}, nil
}

func TestSYNWithoutPrivileges(t *testing.T) {
	c := &SYN{Addr: netip.MustParseAddrPort("127.0.0.1:9"), Listen: func(string, string) (net.PacketConn, error) {
		return nil, os.NewSyscallError("socket", syscall.EPERM)
	}}
	if got, want := reasonOf(c.Check(t.Context())), "SYN: needs CAP_NET_RAW"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSYNOnLoopback(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		t.Run(host, func(t *testing.T) {
			ln, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
			if err != nil {
				t.Skip(err)
			}
			defer ln.Close()
			open := ln.Addr().(*net.TCPAddr).AddrPort()
			ctx, cancel := timeout(t, time.Minute)
			defer cancel()
			got := reasonOf((&SYN{Addr: open}).Check(ctx))
			if strings.Contains(got, "CAP_NET_RAW") {
				t.Skip(got)
			}
			if got != "" {
				t.Error(got)
			}
			_ = ln.(*net.TCPListener).SetDeadline(time.Now().Add(50 * time.Millisecond))
			if conn, err := ln.Accept(); err == nil {
				t.Errorf("the server's program saw a connection from %s", conn.RemoteAddr())
			}
			_ = ln.Close()
			if got, want := reasonOf((&SYN{Addr: open}).Check(ctx)), "SYN to "+open.String()+": connection refused"; got != want {
				t.Errorf("closed port: got %s, want %s", got, want)
			}
		})
	}
}
