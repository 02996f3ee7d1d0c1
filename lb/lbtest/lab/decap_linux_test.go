package lab_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/golb/golb/lb/lbtest/lab"
	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

const guePort = 6080

// tunnel is one way to put an inner packet into an outer one: what follows the outer IP header, or for GUE the UDP header.
type tunnel struct {
	name  string
	proto int // outer IP protocol; 0: the inner packet's own
	wrap  func(inner []byte) []byte
	plain bool // UDP without checksum
}

func tunnels() []tunnel {
	return []tunnel{
		{name: "IPIP", wrap: bytes.Clone},
		{name: "GRE", proto: unix.IPPROTO_GRE, wrap: wrapGRE(layers.GRE{})},
		{name: "GRE with checksum", proto: unix.IPPROTO_GRE, wrap: wrapGRE(layers.GRE{ChecksumPresent: true})},
		{name: "GRE with checksum, key and sequence", proto: unix.IPPROTO_GRE,
			wrap: wrapGRE(layers.GRE{ChecksumPresent: true, KeyPresent: true, Key: 7, SeqPresent: true, Seq: 9})},
		{name: "GUE", proto: unix.IPPROTO_UDP, wrap: wrapGUE()},
		{name: "GUE without checksum", proto: unix.IPPROTO_UDP, wrap: wrapGUE(), plain: true},
		{name: "GUE with extensions", proto: unix.IPPROTO_UDP, wrap: wrapGUE(0, 0, 0, 1, 0, 20, 0, 36)},
		{name: "GUE version 1", proto: unix.IPPROTO_UDP, wrap: bytes.Clone},
	}
}

func wrapGRE(h layers.GRE) func([]byte) []byte {
	return func(inner []byte) []byte {
		h := h
		h.Protocol = layers.EthernetTypeIPv4
		if inner[0]>>4 == 6 {
			h.Protocol = layers.EthernetTypeIPv6
		}
		return serialize(&h, gopacket.Payload(inner))
	}
}

func wrapGUE(extensions ...byte) func([]byte) []byte {
	return func(inner []byte) []byte {
		header := []byte{byte(len(extensions) / 4), byte(protocolOf(inner)), 0, 0}
		return append(append(header, extensions...), inner...)
	}
}

func protocolOf(inner []byte) int {
	if inner[0]>>4 == 6 {
		return unix.IPPROTO_IPV6
	}
	return unix.IPPROTO_IPIP
}

func serialize(ls ...gopacket.SerializableLayer) []byte {
	buf := gopacket.NewSerializeBuffer()
	opts := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buf, opts, ls...); err != nil {
		panic(err)
	}
	return buf.Bytes()
}

// datagram is an IP packet with UDP in it.
func datagram(src, dst netip.AddrPort, payload []byte) []byte {
	udp := &layers.UDP{SrcPort: layers.UDPPort(src.Port()), DstPort: layers.UDPPort(dst.Port())}
	if src.Addr().Is4() {
		ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: src.Addr().AsSlice(), DstIP: dst.Addr().AsSlice()}
		_ = udp.SetNetworkLayerForChecksum(ip)
		return withChecksum(serialize(ip, udp, gopacket.Payload(payload)), 20)
	}
	ip := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolUDP, SrcIP: src.Addr().AsSlice(), DstIP: dst.Addr().AsSlice()}
	_ = udp.SetNetworkLayerForChecksum(ip)
	return withChecksum(serialize(ip, udp, gopacket.Payload(payload)), 40)
}

// withChecksum writes a UDP checksum that comes out as 0 as 0xffff (RFC 768), which gopacket does not.
func withChecksum(packet []byte, udp int) []byte {
	if packet[udp+6]|packet[udp+7] == 0 {
		packet[udp+6], packet[udp+7] = 0xff, 0xff
	}
	return packet
}

// sender sends outer packets from a host to an address.
type sender struct {
	t    *testing.T
	host *lab.Host
	to   netip.Addr
}

// send puts body behind an outer IP header of protocol proto, or behind a UDP header to the GUE port.
func (s sender) send(proto int, body []byte, plain bool) {
	s.t.Helper()
	if proto == unix.IPPROTO_UDP {
		c, err := s.host.DialContext(s.t.Context(), "udp", netip.AddrPortFrom(s.to, guePort).String())
		must(s.t, err)
		defer c.Close()
		if plain {
			must(s.t, leaveOutChecksum(c.(*net.UDPConn), s.to.Is6()))
		}
		_, err = c.Write(body)
		must(s.t, err)
		return
	}
	c, err := s.host.ListenPacket(s.t.Context(), rawNetwork(s.to, proto), "")
	must(s.t, err)
	defer c.Close()
	_, err = c.WriteTo(body, &net.IPAddr{IP: s.to.AsSlice()})
	must(s.t, err)
}

func rawNetwork(to netip.Addr, proto int) string {
	if to.Is6() {
		return fmt.Sprint("ip6:", proto)
	}
	return fmt.Sprint("ip4:", proto)
}

func leaveOutChecksum(c *net.UDPConn, v6 bool) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	level, option := unix.SOL_SOCKET, unix.SO_NO_CHECK
	if v6 {
		level, option = unix.IPPROTO_UDP, unix.UDP_NO_CHECK6_TX
	}
	var serr error
	err = raw.Control(func(fd uintptr) { serr = unix.SetsockoptInt(int(fd), level, option, 1) })
	if err != nil {
		return err
	}
	return serr
}

var (
	vips   = []netip.Addr{netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("2001:db8:1::1")}
	client = []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}
	server = []netip.Addr{netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::2")}
)

func decapsulate(t testing.TB, h *lab.Host) *lab.Decapsulator {
	t.Helper()
	d, err := h.Decapsulate(lab.DecapConfig{})
	must(t, err)
	return d
}

func stats(t testing.TB, d *lab.Decapsulator) lab.DecapStats {
	t.Helper()
	s, err := d.Stats()
	must(t, err)
	return s
}

func TestDecapsulatedPacketsReachTheStackAndAreAnswered(t *testing.T) {
	l := newLab(t)
	a, b, _ := newPair(t, l, 0)
	must(t, b.SolveARPProblem(vips...))
	d := decapsulate(t, b)
	for outer := range 2 {
		for inner := range 2 {
			for _, size := range []int{100, 4000} { // the second fragments the outer packet
				for _, tun := range tunnels() {
					name := fmt.Sprintf("IPv%d in IPv%d by %s, %d bytes", 4+2*inner, 4+2*outer, tun.name, size)
					t.Run(name, func(t *testing.T) {
						answer(t, a, b, vips[inner], client[inner], func(packet []byte) {
							proto := tun.proto
							if proto == 0 {
								proto = protocolOf(packet)
							}
							sender{t, a, server[outer]}.send(proto, tun.wrap(packet), tun.plain)
						}, size)
					})
				}
			}
		}
	}
	got := stats(t, d)
	if got.Errors() != 0 || got.IPIP != 8 || got.GRE != 24 || got.GUE != 32 || got.Unfinished != 0 || got.Largest != 4048 {
		t.Errorf("counted %+v", got)
	}
}

// answer sends an inner packet with size bytes of payload to vip by send, has the server answer, and compares.
func answer(t *testing.T, a, b *lab.Host, vip, from netip.Addr, send func([]byte), size int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cl, err := a.ListenPacket(ctx, "udp", netip.AddrPortFrom(from, 0).String())
	must(t, err)
	defer cl.Close()
	srv, err := b.ListenPacket(ctx, "udp", netip.AddrPortFrom(vip, 0).String())
	must(t, err)
	defer srv.Close()
	deadline, _ := ctx.Deadline()
	must(t, cl.SetDeadline(deadline))
	must(t, srv.SetDeadline(deadline))
	payload := bytes.Repeat([]byte("golb "), size/5)
	src, dst := addrPort(cl.LocalAddr()), addrPort(srv.LocalAddr())
	send(datagram(src, dst, payload))
	buf := make([]byte, 65536)
	n, peer, err := srv.ReadFrom(buf)
	if err != nil || addrPort(peer) != src || !bytes.Equal(buf[:n], payload) {
		t.Fatalf("server got %d bytes from %v, %v; want %d from %v", n, peer, err, len(payload), src)
	}
	_, err = srv.WriteTo([]byte("pong"), peer)
	must(t, err)
	n, peer, err = cl.ReadFrom(buf)
	if err != nil || addrPort(peer) != dst || string(buf[:n]) != "pong" {
		t.Fatalf("client got %q from %v, %v; want pong from %v", buf[:n], peer, err, dst)
	}
}

func addrPort(a net.Addr) netip.AddrPort {
	ap := a.(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

func TestDecapsulationFinishesInnerChecksums(t *testing.T) {
	l := newLab(t)
	a, b, _ := newPair(t, l, 0)
	must(t, b.SolveARPProblem(vips...))
	d := decapsulate(t, b)
	for inner, vip := range vips {
		for _, tun := range tunnels() {
			answer(t, a, b, vip, client[inner], func(packet []byte) {
				proto := tun.proto
				if proto == 0 {
					proto = protocolOf(packet)
				}
				complete := tun.wrap(packet)
				makePartialChecksum(packet)
				body := tun.wrap(packet)
				if strings.HasPrefix(tun.name, "GRE with checksum") {
					copy(body[4:6], complete[4:6]) // a sender computes it as if the inner one were finished
				}
				sender{t, a, server[0]}.send(proto, body, tun.plain)
			}, 500)
		}
	}
	// Where GRE's checksum had to be verified, the inner one was finished for that already.
	if got, want := stats(t, d), uint64(2*(len(tunnels())-2)); got.Errors() != 0 || got.Unfinished != want {
		t.Errorf("counted %+v, want %d unfinished", got, want)
	}
}

// makePartialChecksum replaces the UDP checksum by the sum of the pseudo header, as a stack does that leaves the rest to hardware.
func makePartialChecksum(packet []byte) {
	at, addrs := 20, packet[12:20]
	if packet[0]>>4 == 6 {
		at, addrs = 40, packet[8:40]
	}
	pseudo := append(append([]byte{}, addrs...), 0, unix.IPPROTO_UDP, packet[at+4], packet[at+5])
	s := 0
	for i := 0; i < len(pseudo); i += 2 {
		s += int(pseudo[i])<<8 | int(pseudo[i+1])
	}
	s = s>>16 + s&0xffff
	s += s >> 16
	packet[at+6], packet[at+7] = byte(s>>8), byte(s)
}

func TestDecapsulationCountsWhatItCannotTake(t *testing.T) {
	l := newLab(t)
	a, b, _ := newPair(t, l, 0)
	must(t, b.SolveARPProblem(vips...))
	d := decapsulate(t, b)
	inner := datagram(netip.AddrPortFrom(client[0], 1000), netip.AddrPortFrom(vips[0], 2000), []byte("payload"))
	flip := func(b []byte, at int) []byte { b = bytes.Clone(b); b[at] ^= 1; return b }
	sum := wrapGRE(layers.GRE{ChecksumPresent: true})(inner)
	encapsulated := wrapGUE()(inner)
	badUDP := append([]byte{0, 9, guePort >> 8, guePort & 0xff, 0, byte(8 + len(encapsulated)), 0, 1}, encapsulated...)
	var want lab.DecapStats
	for _, tc := range []struct {
		name             string
		proto            int
		body             []byte
		malformed, wrong uint64
	}{
		{"IPIP, half an inner header", 4, inner[:12], 1, 0},
		{"IPIP, cut short", 4, inner[:len(inner)-1], 1, 0},
		{"IPIP, inner header of 16 bytes", 4, flip(inner, 0), 1, 0},
		{"GRE, nothing", 47, nil, 1, 0},
		{"GRE, routing present", 47, append([]byte{0x40, 0, 8, 0}, inner...), 1, 0},
		{"GRE, version 1", 47, append([]byte{0, 1, 8, 0}, inner...), 1, 0},
		{"GRE, no IP inside", 47, append([]byte{0, 0, 0x65, 0x58}, inner...), 1, 0},
		{"GRE, wrong inner version", 47, append([]byte{0, 0, 0x86, 0xdd}, inner...), 1, 0},
		{"GRE, key cut off", 47, []byte{0x20, 0, 8, 0}, 1, 0},
		{"GRE, payload changed", 47, flip(sum, len(sum)-1), 0, 1},
		{"GRE, checksum changed", 47, flip(sum, 4), 0, 1},
		{"GUE, nothing", 17, nil, 1, 0},
		{"GUE, control message", 17, append([]byte{0x20, 4, 0, 0}, inner...), 1, 0},
		{"GUE, version 2", 17, append([]byte{0x80, 4, 0, 0}, inner...), 1, 0},
		{"GUE, header longer than the packet", 17, append([]byte{0x1f, 4, 0, 0}, inner...), 1, 0},
		{"GUE, no IP inside", 17, append([]byte{0, 6, 0, 0}, inner...), 1, 0},
		{"UDP checksum wrong", -17, badUDP, 0, 1},
	} {
		s := sender{t, a, server[0]}
		if tc.proto < 0 {
			// A header of the test's own: the kernel's would be right.
			c, err := a.ListenPacket(t.Context(), "ip4:17", "")
			must(t, err)
			_, err = c.WriteTo(tc.body, &net.IPAddr{IP: s.to.AsSlice()})
			must(t, err)
			must(t, c.Close())
		} else {
			s.send(tc.proto, tc.body, false)
		}
		want.Malformed += tc.malformed
		want.BadChecksum += tc.wrong
		var got lab.DecapStats
		deadline := time.Now().Add(time.Minute)
		for got = stats(t, d); got.Malformed+got.BadChecksum != want.Malformed+want.BadChecksum && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
			got = stats(t, d)
		}
		if got.Malformed != want.Malformed || got.BadChecksum != want.BadChecksum || got.IPIP+got.GRE+got.GUE != 0 {
			t.Fatalf("%s: counted %+v, want malformed %d, bad checksum %d", tc.name, got, want.Malformed, want.BadChecksum)
		}
	}
}

func TestOuterPacketsAreNotAnsweredByTheKernel(t *testing.T) {
	l := newLab(t)
	a, b, _ := newPair(t, l, 0)
	must(t, b.SolveARPProblem(vips...))
	must(t, b.Sysctl("net.ipv4.icmp_ratelimit", "0"))
	must(t, b.Sysctl("net.ipv6.icmp.ratelimit", "0"))
	for outer := range 2 {
		for _, tun := range tunnels() {
			before := icmpErrors(t, a)
			exchange := func() {
				inner := datagram(netip.AddrPortFrom(client[0], 1000), netip.AddrPortFrom(vips[0], 2000), nil)
				proto := tun.proto
				if proto == 0 {
					proto = protocolOf(inner)
				}
				sender{t, a, server[outer]}.send(proto, tun.wrap(inner), tun.plain)
			}
			if outer == 1 && tun.plain {
				continue // a kernel without a socket for it takes it for damaged and says nothing
			}
			exchange()
			eventually(t, "the kernel alone answers "+tun.name, func() bool { return icmpErrors(t, a) > before })
			d := decapsulate(t, b)
			srv, err := b.ListenPacket(t.Context(), "udp", netip.AddrPortFrom(vips[0], 2000).String())
			must(t, err)
			before = icmpErrors(t, a)
			exchange()
			_, _, err = srv.ReadFrom(make([]byte, 10))
			must(t, err)
			// An answer to the outer packet would have been sent before the inner one was handled, or by now.
			transfer(t, a, b, "192.0.2.2:80", 1000)
			if n := icmpErrors(t, a) - before; n != 0 {
				t.Errorf("%s over IPv%d: %d ICMP errors", tun.name, 4+2*outer, n)
			}
			must(t, srv.Close())
			must(t, d.Stop())
		}
	}
}

// icmpErrors is how many ICMP and ICMPv6 messages a host has received that report an undeliverable packet.
func icmpErrors(t *testing.T, h *lab.Host) (n int) {
	t.Helper()
	must(t, h.Do(func() error {
		v4, err := os.ReadFile("/proc/thread-self/net/snmp")
		if err != nil {
			return err
		}
		n = tableValue(string(v4), "Icmp:", "InDestUnreachs")
		v6, err := os.ReadFile("/proc/thread-self/net/snmp6")
		for line := range strings.Lines(string(v6)) {
			var name string
			var v int
			if _, err := fmt.Sscan(line, &name, &v); err == nil && (name == "Icmp6InDestUnreachs" || name == "Icmp6InParmProblems") {
				n += v
			}
		}
		return err
	}))
	return n
}

// tableValue reads a value of /proc/net/snmp: a line of names, then a line of values.
func tableValue(text, prefix, name string) (v int) {
	var names []string
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if f[0] != prefix {
			continue
		}
		if names == nil {
			names = f
			continue
		}
		for i := range names {
			if names[i] == name {
				_, _ = fmt.Sscan(f[i], &v)
			}
		}
	}
	return v
}

func TestDecapsulationStartsOncePerHostAndStopsClean(t *testing.T) {
	l := newLab(t)
	h := newHost(t, l, "a")
	before, goroutines := descriptors(t), goleak.IgnoreCurrent()
	d := decapsulate(t, h)
	if _, err := h.Decapsulate(lab.DecapConfig{}); err == nil || !strings.Contains(err.Error(), "golb-dec0") {
		t.Errorf("a second one: %v, want golb-dec0 exists", err)
	}
	if !hasInterface(t, h, "golb-dec0") {
		t.Error("the failed second start took the interface of the first")
	}
	must(t, d.Stop())
	must(t, d.Stop())
	goleak.VerifyNone(t, goroutines)
	if now := descriptors(t); now != before || hasInterface(t, h, "golb-dec0") || hasInterface(t, h, "golb-dec1") {
		t.Errorf("left behind: descriptors before\n%s\nafter\n%s", before, now)
	}
	taken, err := h.ListenPacket(t.Context(), "udp4", fmt.Sprint(":", guePort))
	must(t, err)
	defer taken.Close()
	if _, err := h.Decapsulate(lab.DecapConfig{}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("with the GUE port taken: %v, want %v", err, syscall.EADDRINUSE)
	}
	d, err = h.Decapsulate(lab.DecapConfig{GUEPort: 6081})
	must(t, err)
	must(t, l.Close()) // stops it
	if _, err := d.Stats(); err == nil {
		t.Error("counters of a closed lab")
	}
}

// A kernel leaves the checksum to hardware, and so the field 0, where the way is a veth.
func TestDecapsulationTakesGREWithoutItsChecksumComputed(t *testing.T) {
	l := newLab(t)
	a, b, _ := newPair(t, l, 0)
	must(t, b.SolveARPProblem(vips...))
	d := decapsulate(t, b)
	for inner, vip := range vips {
		answer(t, a, b, vip, client[inner], func(packet []byte) {
			body := wrapGRE(layers.GRE{ChecksumPresent: true})(packet)
			clear(body[4:6])
			sender{t, a, server[0]}.send(unix.IPPROTO_GRE, body, false)
		}, 500)
	}
	if got := stats(t, d); got.Errors() != 0 || got.GRE != 2 || got.UnfinishedGRE != 2 {
		t.Errorf("counted %+v, want 2 of GRE, both unfinished", got)
	}
}
