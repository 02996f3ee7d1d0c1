package arp

import (
	"encoding/hex"
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// reference builds a frame with another implementation.
func reference(t testing.TB, ls ...gopacket.SerializableLayer) []byte {
	t.Helper()
	b := gopacket.NewSerializeBuffer()
	must(t, gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ls...))
	f := b.Bytes()
	for len(f) < 60 { // least Ethernet frame, without check sequence
		f = append(f, 0)
	}
	return f
}

func refARP(t testing.TB, op uint16, src, dst mac, sender string, targetMAC mac, target string) []byte {
	s, d := netip.MustParseAddr(sender).As4(), netip.MustParseAddr(target).As4()
	return reference(t,
		&layers.Ethernet{SrcMAC: src[:], DstMAC: dst[:], EthernetType: layers.EthernetTypeARP},
		&layers.ARP{AddrType: 1, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: op,
			SourceHwAddress: src[:], SourceProtAddress: s[:], DstHwAddress: targetMAC[:], DstProtAddress: d[:]})
}

// nd is what differs between ND messages.
type nd struct {
	srcMAC, dstMAC mac
	src, dst       string
	hops           uint8
	advert         bool
	code           uint8
	flags          uint8
	target         string
	option         layers.ICMPv6Opt
	optionMAC      mac
}

func refND(t testing.TB, m nd) []byte {
	ip := &layers.IPv6{Version: 6, HopLimit: m.hops, NextHeader: layers.IPProtocolICMPv6,
		SrcIP: net.ParseIP(m.src), DstIP: net.ParseIP(m.dst)}
	typ := uint8(layers.ICMPv6TypeNeighborSolicitation)
	if m.advert {
		typ = layers.ICMPv6TypeNeighborAdvertisement
	}
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(typ, m.code)}
	must(t, icmp.SetNetworkLayerForChecksum(ip))
	var opts layers.ICMPv6Options
	if m.option != 0 {
		opts = layers.ICMPv6Options{{Type: m.option, Data: m.optionMAC[:]}}
	}
	ls := []gopacket.SerializableLayer{
		&layers.Ethernet{SrcMAC: m.srcMAC[:], DstMAC: m.dstMAC[:], EthernetType: layers.EthernetTypeIPv6}, ip, icmp}
	if m.advert {
		ls = append(ls, &layers.ICMPv6NeighborAdvertisement{Flags: m.flags, TargetAddress: net.ParseIP(m.target), Options: opts})
	} else {
		ls = append(ls, &layers.ICMPv6NeighborSolicitation{TargetAddress: net.ParseIP(m.target), Options: opts})
	}
	return reference(t, ls...)
}

var (
	a1, a2   = v4.addr(1), v4.addr(2)
	b1, b2   = v6.addr(1), v6.addr(2)
	none4    = netip.IPv4Unspecified()
	none6    = netip.IPv6Unspecified()
	snm2     = mac{0x33, 0x33, 0xff, 0, 0, 2}
	allNodes = mac{0x33, 0x33, 0, 0, 0, 1}
)

func TestFramesAreThoseOfTheRFCs(t *testing.T) {
	const (
		src, tgt             = layers.ICMPv6OptSourceAddress, layers.ICMPv6OptTargetAddress
		solicited, overrides = 0x40, 0x20
	)
	for _, tc := range []struct {
		name      string
		got, want []byte
	}{
		{"ARP request", request(macOf(1), a1, a2, mac{}), refARP(t, 1, macOf(1), broadcast, "192.0.2.1", mac{}, "192.0.2.2")},
		{"ARP request to one", request(macOf(1), a1, a2, macOf(2)), refARP(t, 1, macOf(1), macOf(2), "192.0.2.1", macOf(2), "192.0.2.2")},
		{"ARP probe", request(macOf(1), none4, a2, mac{}), refARP(t, 1, macOf(1), broadcast, "0.0.0.0", mac{}, "192.0.2.2")},
		{"ARP reply", reply(macOf(2), &message{asked: a2, claimed: a1, mac: macOf(1)}),
			refARP(t, 2, macOf(2), macOf(1), "192.0.2.2", macOf(1), "192.0.2.1")},
		{"ARP reply to a probe", reply(macOf(2), &message{asked: a2, mac: macOf(1)}),
			refARP(t, 2, macOf(2), macOf(1), "192.0.2.2", macOf(1), "0.0.0.0")},
		{"ARP announcement", announcement(macOf(2), a2)[0], refARP(t, 1, macOf(2), broadcast, "192.0.2.2", mac{}, "192.0.2.2")},
		{"gratuitous ARP reply", announcement(macOf(2), a2)[1], refARP(t, 2, macOf(2), broadcast, "192.0.2.2", macOf(2), "192.0.2.2")},
		{"NS", request(macOf(1), b1, b2, mac{}), refND(t, nd{srcMAC: macOf(1), dstMAC: snm2,
			src: "2001:db8::1", dst: "ff02::1:ff00:2", hops: 255, target: "2001:db8::2", option: src, optionMAC: macOf(1)})},
		{"NS to one", request(macOf(1), b1, b2, macOf(2)), refND(t, nd{srcMAC: macOf(1), dstMAC: macOf(2),
			src: "2001:db8::1", dst: "2001:db8::2", hops: 255, target: "2001:db8::2", option: src, optionMAC: macOf(1)})},
		{"DAD", request(macOf(1), none6, b2, mac{}), refND(t, nd{srcMAC: macOf(1), dstMAC: snm2,
			src: "::", dst: "ff02::1:ff00:2", hops: 255, target: "2001:db8::2"})},
		{"DAD is never to one", request(macOf(1), none6, b2, macOf(2)), refND(t, nd{srcMAC: macOf(1), dstMAC: snm2,
			src: "::", dst: "ff02::1:ff00:2", hops: 255, target: "2001:db8::2"})},
		{"NA", reply(macOf(2), &message{asked: b2, claimed: b1, mac: macOf(1)}), refND(t, nd{srcMAC: macOf(2), dstMAC: macOf(1),
			src: "2001:db8::2", dst: "2001:db8::1", hops: 255, advert: true, flags: solicited | overrides,
			target: "2001:db8::2", option: tgt, optionMAC: macOf(2)})},
		{"NA to DAD", reply(macOf(2), &message{asked: b2, mac: macOf(1)}), refND(t, nd{srcMAC: macOf(2), dstMAC: allNodes,
			src: "2001:db8::2", dst: "ff02::1", hops: 255, advert: true, flags: overrides,
			target: "2001:db8::2", option: tgt, optionMAC: macOf(2)})},
		{"unsolicited NA", announcement(macOf(2), b2)[0], refND(t, nd{srcMAC: macOf(2), dstMAC: allNodes,
			src: "2001:db8::2", dst: "ff02::1", hops: 255, advert: true, flags: overrides,
			target: "2001:db8::2", option: tgt, optionMAC: macOf(2)})},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if d := cmp.Diff(hex.Dump(tc.want), hex.Dump(tc.got)); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
}

func TestParseRefusesWhatTheRFCsForbid(t *testing.T) {
	arpWith := func(at int, v ...byte) []byte {
		f := request(macOf(1), a1, a2, mac{})
		copy(f[at:], v)
		return f
	}
	valid := nd{srcMAC: macOf(1), dstMAC: snm2, src: "2001:db8::1", dst: "ff02::1:ff00:2", hops: 255, target: "2001:db8::2",
		option: layers.ICMPv6OptSourceAddress, optionMAC: macOf(1)}
	ndWith := func(change func(*nd)) []byte {
		m := valid
		change(&m)
		return refND(t, m)
	}
	wrongSum := refND(t, valid)
	wrongSum[70] ^= 1
	for _, tc := range []struct {
		name  string
		frame []byte
		want  error
	}{
		{"good NS", refND(t, valid), nil},
		{"good ARP", arpWith(0), nil},
		{"neither protocol", arpWith(12, 0x08, 0x00), errType},
		{"tagged", append(arpWith(12, 0x81, 0, 0, 5, 8, 6), 0, 0, 0, 0), errTagged},
		{"hardware type", arpWith(14, 0, 6), errType},
		{"protocol type", arpWith(16, 0x86, 0xdd), errType},
		{"operation 3", arpWith(20, 0, 3), errType},
		{"operation 0", arpWith(20, 0, 0), errType},
		{"sender without MAC", arpWith(22, 0, 0, 0, 0, 0, 0), errMAC},
		{"sender with a group's MAC", arpWith(22, 1, 0, 0x5e, 0, 0, 1), errMAC},
		{"hop limit 254", ndWith(func(m *nd) { m.hops = 254 }), errHopLimit},
		{"code 1", ndWith(func(m *nd) { m.code = 1 }), errND},
		{"wrong checksum", wrongSum, errChecksum},
		{"target is a group", ndWith(func(m *nd) { m.target = "ff02::1:ff00:2" }), errND},
		{"DAD with a source option", ndWith(func(m *nd) { m.src = "::" }), errND},
		{"DAD to one host", ndWith(func(m *nd) { m.src, m.option, m.dst = "::", 0, "2001:db8::2" }), errND},
		{"NA solicited by all", ndWith(func(m *nd) { m.advert, m.flags, m.dst = true, 0x40, "ff02::1" }), errND},
		{"NA for a group", ndWith(func(m *nd) { m.advert, m.target = true, "ff02::1" }), errND},
		{"option with a group's MAC", ndWith(func(m *nd) { m.optionMAC = broadcast }), errMAC},
		{"source is a group", ndWith(func(m *nd) { m.src = "ff02::1" }), errND},
		{"cut", refND(t, valid)[:70], errShort},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := parse(tc.frame); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
	for n := range 42 {
		if _, err := parse(arpWith(0)[:n]); err == nil {
			t.Errorf("ARP cut to %d bytes is taken", n)
		}
	}
}

// FuzzInput feeds one frame to a machine with VIPs, neighbors and probes of both
// protocols: whatever it is, it must not panic, and what is answered must be well formed.
func FuzzInput(f *testing.F) {
	for _, b := range [][]byte{
		request(macOf(3), a1, v4.addr(100), mac{}),
		request(macOf(3), none4, v4.addr(100), mac{}),
		announcement(macOf(3), v4.addr(100))[1],
		request(macOf(3), b1, v6.addr(100), mac{}),
		request(macOf(3), none6, v6.addr(100), mac{}),
		announcement(macOf(3), v6.addr(100))[0],
		announcement(macOf(3), b2)[0],
		{}, make([]byte, 14),
	} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		m, sent := newTestMachine(t)
		m.input(frame, epoch)
		for _, s := range *sent {
			msg, err := parse(s)
			if err != nil {
				t.Errorf("answer %x to %x: %v", s, frame, err)
			}
			if msg.mac != macOf(1) {
				t.Errorf("answer %x to %x says %x", s, frame, msg.mac)
			}
		}
	})
}
