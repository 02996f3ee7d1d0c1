package afpacket

import (
	"bytes"
	"encoding/binary"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/golb/golb/forward"
)

func TestUSOIsThereSinceLinux6_2(t *testing.T) {
	for release, want := range map[string]bool{
		"5.15.0-91-generic": false, "6.1.0-18-amd64": false, "6.2.0": true, "6.12.9+deb13-amd64": true,
		"7.0.0-rc1": true, "10.0": true, "six": false, "": false,
	} {
		if got := atLeast(release, 6, 2); got != want {
			t.Errorf("%q: %v", release, got)
		}
	}
}

// burst is packets of one flow as a sender's segmentation makes them.
type burst struct {
	name  string
	v6    bool
	udp   bool
	sizes []int
	flags func(i int, h *layers.TCP)
}

func bursts() (list []burst) {
	equal := func(n, size, last int) []int { return append(slices.Repeat([]int{size}, n-1), last) }
	for _, v6 := range []bool{false, true} {
		family := "4"
		if v6 {
			family = "6"
		}
		for _, udp := range []bool{false, true} {
			name := "tcp" + family
			if udp {
				name = "udp" + family
			}
			list = append(list,
				burst{name: name + " bulk", v6: v6, udp: udp, sizes: equal(44, 1420, 1420)},
				burst{name: name + " short end", v6: v6, udp: udp, sizes: equal(7, 1000, 1)},
				burst{name: name + " pair", v6: v6, udp: udp, sizes: equal(2, 100, 100)},
				burst{name: name + " bytes", v6: v6, udp: udp, sizes: equal(40, 1, 1)},
				burst{name: name + " odd", v6: v6, udp: udp, sizes: equal(11, 333, 7)})
		}
		list = append(list,
			burst{name: "tcp" + family + " CWR, PSH, FIN", v6: v6, sizes: equal(5, 700, 300), flags: func(i int, h *layers.TCP) {
				h.CWR, h.PSH, h.FIN = i == 0, i == 4, i == 4
			}},
			burst{name: "tcp" + family + " ECE, PSH", v6: v6, sizes: equal(5, 700, 700), flags: func(i int, h *layers.TCP) {
				h.ECE, h.PSH = true, i == 4
			}})
	}
	return list
}

// length returns the length of frame i without padding.
func (x burst) length(i int) int {
	n := forward.EthernetLen + 20 + 8 + x.sizes[i]
	if x.v6 {
		n += 20
	}
	if !x.udp {
		n += 24
	}
	return n
}

// frames returns the burst's frames to a MAC, with all checksums.
func (x burst) frames(t testing.TB, to forward.MAC, port uint16) (list [][]byte) {
	t.Helper()
	seq, id := uint32(0xfffffff0), uint16(0xfffe) // which wrap
	for i, n := range x.sizes {
		eth := &layers.Ethernet{DstMAC: to[:], SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 9}, EthernetType: layers.EthernetTypeIPv4}
		proto := layers.IPProtocolTCP
		if x.udp {
			proto = layers.IPProtocolUDP
		}
		var ip interface {
			gopacket.SerializableLayer
			gopacket.NetworkLayer
		} = &layers.IPv4{Version: 4, IHL: 5, TOS: 2, TTL: 61, Id: id, Flags: layers.IPv4DontFragment, Protocol: proto, SrcIP: net.ParseIP(client4), DstIP: net.ParseIP(server4)}
		if x.v6 {
			eth.EthernetType = layers.EthernetTypeIPv6
			ip = &layers.IPv6{Version: 6, TrafficClass: 2, FlowLabel: 0x12345, HopLimit: 61, NextHeader: proto, SrcIP: net.ParseIP(client6), DstIP: net.ParseIP(server6)}
		}
		payload := make([]byte, n)
		for j := range payload {
			payload[j] = byte(i*31 + j)
		}
		var l4 gopacket.SerializableLayer
		if x.udp {
			h := &layers.UDP{SrcPort: 40000, DstPort: layers.UDPPort(port)}
			must(t, h.SetNetworkLayerForChecksum(ip))
			l4 = h
		} else {
			h := &layers.TCP{SrcPort: 40000, DstPort: layers.TCPPort(port), Seq: seq, Ack: 77, ACK: true, Window: 500, Options: []layers.TCPOption{
				{OptionType: layers.TCPOptionKindNop}, {OptionType: layers.TCPOptionKindNop},
				{OptionType: layers.TCPOptionKindTimestamps, OptionLength: 10, OptionData: []byte{0, 0, 0, 1, 0, 0, 0, 2}},
			}}
			if x.flags != nil {
				x.flags(i, h)
			}
			must(t, h.SetNetworkLayerForChecksum(ip))
			l4 = h
		}
		buf := gopacket.NewSerializeBuffer()
		must(t, gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, eth, ip, l4, gopacket.Payload(payload)))
		list = append(list, slices.Clone(buf.Bytes()))
		seq += uint32(n)
		id++
	}
	return list
}

// merged returns the burst as Merger leaves it: one super-packet.
func merged(t testing.TB, list [][]byte) []forward.Frame {
	t.Helper()
	frames := make([]forward.Frame, len(list))
	for i, b := range list {
		frames[i] = forward.Frame{Buf: append(make([]byte, 0, forward.MaxFrame), b...)[:forward.MaxFrame], Tail: len(b)}
	}
	var m forward.Merger
	return m.Merge(frames, true)
}

// Where the device cannot, the kernel segments super-packets in software. The segments must
// be the packets that were merged, bit for bit.
func TestTheKernelRestoresMergedPackets(t *testing.T) {
	ha, hb := newLink(t)
	a, b := openPort(t, ha, Config{Interface: "eth0"}), openPort(t, hb, allIP("eth0"))
	if _, udp := a.GSO(); !udp {
		t.Skip("the kernel has no USO")
	}
	must(t, ha.SetFeatures("eth0", false, "tx-checksum-ip-generic", "tx-generic-segmentation",
		"tx-tcp-segmentation", "tx-tcp6-segmentation", "tx-tcp-ecn-segmentation", "tx-udp-segmentation"))
	for _, x := range bursts() {
		t.Run(x.name, func(t *testing.T) {
			want := x.frames(t, b.MAC(), 9)
			frames := merged(t, want)
			if n, err := a.Send(frames); len(frames) != 1 || n != 1 || err != nil {
				t.Fatalf("sent %d of %d frames: %v", n, len(frames), err)
			}
			got := receiveOf(t, b, len(want))
			for i := range got {
				if !bytes.Equal(got[i], want[i][:x.length(i)]) {
					t.Errorf("packet %d of %d:\n got %x\nwant %x", i, len(want), got[i][:min(90, len(got[i]))], want[i][:min(90, len(want[i]))])
				}
			}
		})
	}
}

// receiveOf returns n frames of the bursts' flow, which must not need offloads.
func receiveOf(t testing.TB, p *Port, n int) (list [][]byte) {
	t.Helper()
	frames := make([]forward.Frame, 64)
	watchdog := time.AfterFunc(time.Minute, p.Wake)
	defer watchdog.Stop()
	for len(list) < n {
		k, err := p.Recv(frames)
		must(t, err)
		if k == 0 {
			t.Fatalf("%d frames of %d", len(list), n)
		}
		for i := range frames[:k] {
			f := &frames[i]
			at := forward.EthernetLen + 20
			if f.Bytes()[12] == 0x86 {
				at = forward.EthernetLen + 40
			}
			if f.Len() < at+4 || binary.BigEndian.Uint16(f.Bytes()[at:]) != 40000 {
				continue // the kernels' own
			}
			if f.Offload.GSO != forward.GSONone || f.Offload.NeedsCsum {
				t.Errorf("offload %+v", f.Offload)
			}
			list = append(list, slices.Clone(f.Bytes()))
		}
	}
	return list
}

// A UDP socket without UDP_GRO receives each datagram, also where nothing before has
// segmented the super-packet.
func TestASocketReceivesEachMergedDatagram(t *testing.T) {
	w := newWire(t, 0)
	p := openPort(t, w.middle, Config{Interface: "eth1", SendOnly: true})
	if _, udp := p.GSO(); !udp {
		t.Skip("the kernel has no USO")
	}
	var to forward.MAC
	must(t, w.server.Do(func() error {
		link, err := net.InterfaceByName("eth0")
		copy(to[:], link.HardwareAddr)
		return err
	}))
	for _, x := range bursts() {
		if !x.udp {
			continue
		}
		t.Run(x.name, func(t *testing.T) {
			addr := server4
			if x.v6 {
				addr = server6
			}
			c, err := w.server.ListenPacket(t.Context(), "udp", net.JoinHostPort(addr, "9"))
			must(t, err)
			defer c.Close()
			want := x.frames(t, to, 9)
			frames := merged(t, want)
			if n, err := p.Send(frames); len(frames) != 1 || n != 1 || err != nil {
				t.Fatalf("sent %d of %d frames: %v", n, len(frames), err)
			}
			must(t, c.SetReadDeadline(time.Now().Add(time.Minute)))
			buf := make([]byte, 65536)
			for i, b := range want {
				n, _, err := c.ReadFrom(buf)
				if payload := b[x.length(i)-x.sizes[i] : x.length(i)]; err != nil || !bytes.Equal(buf[:n], payload) {
					t.Fatalf("datagram %d of %d: %d bytes, want %d (%v)", i, len(want), n, len(payload), err)
				}
			}
		})
	}
}
