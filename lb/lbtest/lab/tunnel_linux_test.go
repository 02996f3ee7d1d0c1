package lab_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"

	"github.com/golb/golb/lb/lbtest/lab"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestTCPThroughATunnel sends as a balancer in TUN mode does: client to VIP through the tunnel, server to client straight.
func TestTCPThroughATunnel(t *testing.T) {
	for _, tc := range tunnelCases() {
		t.Run(tc.name, func(t *testing.T) {
			from, to, d := tunnelLab(t, tc)
			transfer(t, from, to, netip.AddrPortFrom(vips[tc.inner], 80).String(), 8<<20)
			s := stats(t, d)
			if s.Malformed+s.BadChecksum+s.Refused != 0 || s.IPIP+s.GRE+s.GUE < 8<<20/1500 {
				t.Errorf("counted %+v", s)
			}
		})
	}
}

// BenchmarkTunnel uploads 256 MiB at a time through a tunnel that the benchmark itself makes, a system call per packet.
func BenchmarkTunnel(b *testing.B) {
	for _, tc := range tunnelCases() {
		b.Run(tc.name, func(b *testing.B) {
			from, to, d := tunnelLab(b, tc)
			const size = 256 << 20
			b.SetBytes(size)
			for b.Loop() {
				transfer(b, from, to, netip.AddrPortFrom(vips[tc.inner], 80).String(), size)
			}
			b.ReportMetric(float64(stats(b, d).Lost)/float64(b.N), "lost/op")
		})
	}
}

type tunnelCase struct {
	name         string
	inner, outer int // 0 for IPv4, 1 for IPv6
	tunnel       tunnel
	mtu          int // of the client: below 1500, so that the outer packet fits, or 1500, so that it is fragmented
}

func tunnelCases() []tunnelCase {
	byName := make(map[string]tunnel)
	for _, tun := range tunnels() {
		byName[tun.name] = tun
	}
	return []tunnelCase{
		{"IPv4 in IPv4, IPIP", 0, 0, byName["IPIP"], 1400},
		{"IPv4 in IPv4, IPIP, fragmented", 0, 0, byName["IPIP"], 1500},
		{"IPv6 in IPv6, IPIP", 1, 1, byName["IPIP"], 1400},
		{"IPv6 in IPv6, IPIP, fragmented", 1, 1, byName["IPIP"], 1500},
		{"IPv6 in IPv4, GRE with checksum", 1, 0, byName["GRE with checksum"], 1400},
		{"IPv4 in IPv4, GUE", 0, 0, byName["GUE"], 1400},
	}
}

// tunnelLab is a client, a server with the VIP on lo, and a host between them that tunnels what the client sends.
func tunnelLab(t testing.TB, tc tunnelCase) (cl, srv *lab.Host, d *lab.Decapsulator) {
	t.Helper()
	l := newLab(t)
	s := newSwitch(t, l)
	cl, srv = newHost(t, l, "client"), newHost(t, l, "server")
	middle := newHost(t, l, "middle")
	attach(t, l, cl, s, tc.mtu, "192.0.2.1/24", "2001:db8::1/64")
	attach(t, l, srv, s, 0, "192.0.2.2/24", "2001:db8::2/64")
	attach(t, l, middle, s, 0, "192.0.2.3/24", "2001:db8::3/64")
	must(t, srv.SolveARPProblem(vips...))
	gateway := netip.MustParseAddr([]string{"192.0.2.3", "2001:db8::3"}[tc.inner])
	must(t, cl.AddRoute(netip.PrefixFrom(vips[tc.inner], vips[tc.inner].BitLen()), gateway, "eth0"))
	// One segment per frame, so that the middle need not cut them; their checksums stay unfinished.
	must(t, cl.Do(func() error {
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return netlink.LinkSetGSOMaxSegs(link, 1)
	}))
	// Without a route to the VIP the middle's IPv6 stack would tell the client so; with one it drops silently, as it does
	// not forward.
	must(t, middle.AddRoute(netip.PrefixFrom(vips[1], 128), netip.Addr{}, "eth0"))
	tunnelToServer(t, middle, tc)
	return cl, srv, decapsulate(t, srv)
}

// tunnelToServer has the host tunnel packets for the VIP to the server until the test ends.
func tunnelToServer(t testing.TB, h *lab.Host, tc tunnelCase) {
	t.Helper()
	in := packetSocket(t, h, tc.inner)
	write := tunnelWriter(t, h, tc)
	var wg sync.WaitGroup
	wg.Go(func() {
		vip := vips[tc.inner].AsSlice()
		at := []int{16, 24}[tc.inner]
		buf := make([]byte, 65536)
		for {
			n, err := in.Read(buf)
			if err != nil {
				return
			}
			if p := buf[:n]; n >= at+len(vip) && string(p[at:at+len(vip)]) == string(vip) {
				if err := write(p); err != nil && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, net.ErrClosed) {
					t.Error(err)
					return
				}
			}
		}
	})
	t.Cleanup(func() {
		in.Close()
		wg.Wait()
	})
}

// packetSocket reads IP packets that arrive at the host's eth0.
func packetSocket(t testing.TB, h *lab.Host, family int) *os.File {
	t.Helper()
	var fd int
	must(t, h.Do(func() error {
		proto := []uint16{unix.ETH_P_IP, unix.ETH_P_IPV6}[family]
		proto = proto<<8 | proto>>8
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: proto, Ifindex: link.Attrs().Index})
	}))
	return os.NewFile(uintptr(fd), "packets")
}

// tunnelWriter returns a function that sends an inner packet to the server.
func tunnelWriter(t testing.TB, h *lab.Host, tc tunnelCase) func([]byte) error {
	t.Helper()
	to := server[tc.outer]
	if tc.tunnel.proto == unix.IPPROTO_UDP {
		c, err := h.DialContext(t.Context(), "udp", netip.AddrPortFrom(to, guePort).String())
		must(t, err)
		t.Cleanup(func() { c.Close() })
		return func(p []byte) error { return writeTo(c, tc.tunnel.wrap(p)) }
	}
	proto := tc.tunnel.proto
	if proto == 0 {
		proto = []int{unix.IPPROTO_IPIP, unix.IPPROTO_IPV6}[tc.inner]
	}
	c, err := h.DialContext(t.Context(), rawNetwork(to, proto), to.String())
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return func(p []byte) error { return writeTo(c, tc.tunnel.wrap(p)) }
}

func writeTo(w io.Writer, b []byte) error {
	_, err := w.Write(b)
	return err
}
