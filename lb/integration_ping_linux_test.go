package lb_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"github.com/golb/golb/lb"
)

// icmpNetwork is how package net calls raw ICMP sockets.
func icmpNetwork(f family) string { return [...]string{"ip4:icmp", "ip6:ipv6-icmp"}[f] }

// Longer pings are fragments both ways.
func TestVIPsAnswerPing(t *testing.T) {
	p := newTestNetwork(t, 0)
	p.addServers()
	b, stop := p.run(p.config())
	defer stop()
	for _, w := range p.ways[:4] {
		for _, f := range families {
			for _, size := range []int{0, 56, 1472, 3000, 60_000} {
				t.Run(fmt.Sprintf("%s/%s/%d", w.name, f, size), func(t *testing.T) { p.ping(t, w, f, size) })
			}
		}
	}
	p.checkSums(t)
	p.checkDrops(t, b, lb.NotVIP)
}

func (p *testNetwork) ping(t *testing.T, w way, f family, size int) {
	t.Helper()
	c, err := p.client.ListenPacket(t.Context(), icmpNetwork(f), "")
	must(t, err)
	defer c.Close()
	data, err := io.ReadAll(noise(int64(size)))
	must(t, err)
	request, reply := icmp.Type(ipv4.ICMPTypeEcho), icmp.Type(ipv4.ICMPTypeEchoReply)
	if f == 1 {
		request, reply = ipv6.ICMPTypeEchoRequest, ipv6.ICMPTypeEchoReply
	}
	m := icmp.Message{Type: request, Body: &icmp.Echo{ID: 4711, Seq: size, Data: data}}
	out, err := m.Marshal(nil) // the kernel adds an ICMPv6 checksum itself
	must(t, err)
	buf := make([]byte, 1<<16)
	untilAnswered(t, fmt.Sprintf("ping with %d bytes", size), c, func() bool {
		_, err := c.WriteTo(out, &net.IPAddr{IP: w.vips[f].AsSlice()})
		must(t, err)
		for {
			n, _, err := c.ReadFrom(buf)
			if err != nil {
				return false
			}
			got, err := icmp.ParseMessage([...]int{1, 58}[f], buf[:n])
			must(t, err)
			e, ok := got.Body.(*icmp.Echo)
			if ok && got.Type == reply && e.ID == 4711 && e.Seq == size && bytes.Equal(e.Data, data) {
				return true
			}
		}
	})
}

// untilAnswered sends and reads, each time with a fresh deadline, until it succeeds.
func untilAnswered(t *testing.T, what string, c interface{ SetReadDeadline(time.Time) error }, try func() bool) {
	t.Helper()
	for end := time.Now().Add(giveUpAfter); time.Now().Before(end); {
		must(t, c.SetReadDeadline(time.Now().Add(resendEvery)))
		if try() {
			return
		}
	}
	t.Fatalf("%s: no answer in %s", what, giveUpAfter)
}

// Each router answers for itself, golb and what lies beyond it as the VIP.
func TestTracerouteToVIPs(t *testing.T) {
	for _, tt := range []struct {
		name string
		ways []way // nil: servers on golb's links
		hops int   // after golb, before the server
	}{
		{"near", nil, 0},
		{"nat beyond routers", []way{{name: "nat", method: lb.NAT}}, 2},
		{"tun beyond routers", []way{{name: "ipip", method: lb.TUN}}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newTestNetwork(t, 0)
			if tt.ways == nil {
				p.addServers()
				p.ways = p.ways[:4]
			} else {
				p.addFarServer(tt.ways)
			}
			_, stop := p.run(p.config())
			defer stop()
			p.each(t, func(t *testing.T, w way, f family) {
				want := []string{clientNet.at(1)[f].String(), transit.at(2)[f].String(), w.vips[f].String()}
				for range tt.hops {
					want = append(want, w.vips[f].String())
				}
				want = append(want, "reached")
				for name, probe := range map[string]prober{"UDP": p.probeUDP, "TCP": p.probeTCP} {
					if got := p.traceroute(t, w, f, probe); !slices.Equal(got, want) {
						t.Errorf("%s: %v, want %v", name, got, want)
					}
				}
			})
		})
	}
}

// prober sends a packet with that TTL from that port. The function that it returns
// ends the probe; unless a router has answered it says whether the server has.
type prober func(t *testing.T, w way, f family, port uint16, ttl int) (reached func(router bool) bool)

func (p *testNetwork) traceroute(t *testing.T, w way, f family, probe prober) (hops []string) {
	t.Helper()
	c, err := p.client.ListenPacket(t.Context(), icmpNetwork(f), "")
	must(t, err)
	defer c.Close()
	port := uint16(20_000)
	for ttl := 1; ttl < 10; ttl++ {
		hop := ""
		untilAnswered(t, fmt.Sprintf("TTL %d", ttl), c, func() bool {
			port++
			reached := probe(t, w, f, port, ttl)
			hop = whoAnswered(t, c, f, netip.AddrPortFrom(w.client[f], port), w.vips[f])
			if reached(hop != "") {
				hop = "reached"
			}
			return hop != ""
		})
		hops = append(hops, hop)
		if hop == "reached" {
			break
		}
	}
	return hops
}

// whoAnswered reads ICMP messages up to one that says that time was exceeded by a
// packet from that port to the VIP, and returns who says so; "" where none comes.
func whoAnswered(t *testing.T, c net.PacketConn, f family, from netip.AddrPort, vip netip.Addr) string {
	t.Helper()
	buf := make([]byte, 1<<16)
	for {
		n, who, err := c.ReadFrom(buf)
		if err != nil {
			return ""
		}
		m, err := icmp.ParseMessage([...]int{1, 58}[f], buf[:n])
		must(t, err)
		quote, ok := m.Body.(*icmp.TimeExceeded)
		if !ok {
			continue
		}
		at, dst, src := 20, 16, 12
		if f == 1 {
			at, dst, src = 40, 24, 8
		}
		q := quote.Data
		if len(q) < at+4 {
			t.Fatalf("%s quotes %d bytes", who, len(q))
		}
		size := vip.BitLen() / 8
		if binary.BigEndian.Uint16(q[at:]) != from.Port() || !bytes.Equal(q[src:src+size], from.Addr().AsSlice()) {
			continue
		}
		if !bytes.Equal(q[dst:dst+size], vip.AsSlice()) {
			t.Errorf("%s quotes a packet to %x", who, q[dst:dst+size])
		}
		return who.String()
	}
}

func (p *testNetwork) probeUDP(t *testing.T, w way, f family, port uint16, ttl int) (reached func(router bool) bool) {
	t.Helper()
	d := p.dialer(w, f, "udp", port)
	d.Control = withTTL(d.Control, f, ttl)
	c, err := d.DialContext(t.Context(), "udp", netip.AddrPortFrom(w.vips[f], echoPort).String())
	must(t, err)
	_, err = c.Write([]byte("probe"))
	must(t, err)
	return func(bool) bool {
		defer c.Close()
		must(t, c.SetReadDeadline(time.Now().Add(time.Millisecond)))
		n, err := c.Read(make([]byte, 16))
		return err == nil && n == len("probe")
	}
}

func (p *testNetwork) probeTCP(t *testing.T, w way, f family, port uint16, ttl int) (reached func(router bool) bool) {
	t.Helper()
	d := p.dialer(w, f, "tcp", port)
	d.Control = withTTL(d.Control, f, ttl)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		c, err := d.DialContext(ctx, "tcp", netip.AddrPortFrom(w.vips[f], httpPort).String())
		if err == nil {
			c.Close()
		}
		result <- err
	}()
	return func(router bool) bool {
		if router {
			cancel()
		}
		time.AfterFunc(resendEvery, cancel)
		return <-result == nil
	}
}

type control func(network, address string, c syscall.RawConn) error

// withTTL sets the TTL or hop limit of a socket after next has.
func withTTL(next control, f family, ttl int) control {
	return func(network, address string, c syscall.RawConn) error {
		if err := next(network, address, c); err != nil {
			return err
		}
		var err error
		cerr := c.Control(func(fd uintptr) {
			if f == 0 {
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TTL, ttl)
			} else {
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, ttl)
			}
		})
		if cerr != nil {
			return cerr
		}
		return err
	}
}
