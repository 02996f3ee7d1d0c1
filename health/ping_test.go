package health

import (
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// icmpHost is a host behind a socket: it makes replies of a request. It has the
// deadlines of a real socket.
type icmpHost struct {
	replies  func(request []byte) [][]byte
	inbox    chan []byte
	requests int
	timer    *time.Timer
}

func newICMPHost(replies func([]byte) [][]byte) *icmpHost {
	return &icmpHost{replies: replies, inbox: make(chan []byte, 10000), timer: time.NewTimer(time.Hour)}
}

func (h *icmpHost) WriteTo(p []byte, _ net.Addr) (int, error) {
	h.requests++
	for _, r := range h.replies(append([]byte(nil), p...)) {
		h.inbox <- r
	}
	return len(p), nil
}

func (h *icmpHost) ReadFrom(p []byte) (int, net.Addr, error) {
	select {
	case b := <-h.inbox:
		return copy(p, b), nil, nil
	case <-h.timer.C:
		return 0, nil, os.ErrDeadlineExceeded
	}
}

func (h *icmpHost) SetReadDeadline(t time.Time) error {
	h.timer.Reset(time.Until(t))
	return nil
}

func (h *icmpHost) Close() error                     { h.timer.Stop(); return nil }
func (h *icmpHost) LocalAddr() net.Addr              { return nil }
func (h *icmpHost) SetDeadline(t time.Time) error    { return h.SetReadDeadline(t) }
func (h *icmpHost) SetWriteDeadline(time.Time) error { return nil }

func TestPing(t *testing.T) {
	// reply turns a request into its reply: the checksum is the kernel's work.
	reply := func(kind byte) func([]byte) [][]byte {
		return func(p []byte) [][]byte { p[0] = kind; return [][]byte{p} }
	}
	spoil := func(i int) func([]byte) [][]byte {
		return func(p []byte) [][]byte { p[0] = 0; p[i]++; return [][]byte{p} }
	}
	answered := 0
	tests := []struct {
		name     string
		check    Ping
		host     func([]byte) [][]byte
		want     string
		requests int
	}{
		{"IPv4", Ping{Addr: netip.MustParseAddr("192.0.2.1")}, reply(0), "", 1},
		{"IPv6", Ping{Addr: netip.MustParseAddr("2001:db8::1"), Size: 1000}, reply(129), "", 1},
		{"silence", Ping{Addr: netip.MustParseAddr("192.0.2.1")}, func([]byte) [][]byte { return nil }, "ping: no answer in time", 1},
		{"silence, three tries", Ping{Addr: netip.MustParseAddr("192.0.2.1"), Tries: 3}, func([]byte) [][]byte { return nil }, "ping: no answer in time", 3},
		{"reply to the second try", Ping{Addr: netip.MustParseAddr("192.0.2.1"), Tries: 3}, func(p []byte) [][]byte {
			if answered++; answered == 1 {
				return nil
			}
			return reply(0)(p)
		}, "", 2},
		{"our own request", Ping{Addr: netip.MustParseAddr("192.0.2.1")}, reply(8), "ping: no answer in time", 1},
		{"reply with other data", Ping{Addr: netip.MustParseAddr("192.0.2.1")}, spoil(20), "ping: no answer in time", 1},
		{"reply with another number", Ping{Addr: netip.MustParseAddr("192.0.2.1")}, spoil(7), "ping: no answer in time", 1},
		{"a flood of others' ICMP", Ping{Addr: netip.MustParseAddr("192.0.2.1")}, func([]byte) [][]byte {
			return repeat([]byte("\x00\x00\x00\x00\x00\x00\x00\x00of others"), 9000)
		}, "ping: no answer in time", 1},
		{"unreachable, which a raw socket gets", Ping{Addr: netip.MustParseAddr("192.0.2.1")}, func([]byte) [][]byte { return [][]byte{{3, 1, 0, 0, 0, 0, 0, 0}} }, "ping: no answer in time", 1},
		{"others' ICMP before it", Ping{Addr: netip.MustParseAddr("192.0.2.1")}, func(p []byte) [][]byte {
			return append([][]byte{{}, {3, 1}, []byte(strings.Repeat("\x00", 2000))}, reply(0)(p)...)
		}, "", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := newICMPHost(tt.host)
				tt.check.Listen = func(string, string) (net.PacketConn, error) { return host, nil }
				if got := checkOnce(t, &tt.check); got != tt.want {
					t.Errorf("got  %s\nwant %s", got, tt.want)
				}
				if host.requests != tt.requests {
					t.Errorf("%d requests, want %d", host.requests, tt.requests)
				}
			})
		})
	}
}

func TestPingWithoutPrivileges(t *testing.T) {
	var tried []string
	c := &Ping{Addr: netip.MustParseAddr("192.0.2.1"), Listen: func(network, _ string) (net.PacketConn, error) {
		tried = append(tried, network)
		if network == "udp4" {
			return nil, os.NewSyscallError("socket", syscall.EACCES)
		}
		return nil, os.NewSyscallError("socket", syscall.EPERM)
	}}
	want := "ping: needs CAP_NET_RAW, or a group in net.ipv4.ping_group_range"
	if got := reasonOf(c.Check(t.Context())); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := strings.Join(tried, " "); got != "udp4 ip4:icmp" {
		t.Errorf("sockets tried: %s", got)
	}
}

func TestPingLoopback(t *testing.T) {
	for _, addr := range []string{"127.0.0.1", "::1", "::ffff:127.0.0.1"} {
		t.Run(addr, func(t *testing.T) {
			ctx, cancel := timeout(t, time.Minute)
			defer cancel()
			err := (&Ping{Addr: netip.MustParseAddr(addr), Size: 1400}).Check(ctx)
			if err != nil && (strings.Contains(err.Error(), "CAP_NET_RAW") || strings.Contains(err.Error(), "address family not supported") || strings.Contains(err.Error(), "cannot assign")) {
				t.Skip(err)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}
