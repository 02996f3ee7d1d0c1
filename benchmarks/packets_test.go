package benchmarks

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/golb/golb/forward"
)

// packetKinds are what each function of package forward is measured on.
var packetKinds = []packetKind{{"tcp4", false, false}, {"tcp6", true, false}, {"udp4", false, true}, {"udp6", true, true}}

type packetKind struct {
	name    string
	v6, udp bool
}

// frame is a packet with so many bytes of payload and all checksums, in a buffer as
// ports lend them.
func (k packetKind) frame(b *testing.B, payload int) *forward.Frame {
	b.Helper()
	eth := &layers.Ethernet{DstMAC: net.HardwareAddr(portMAC), SrcMAC: net.HardwareAddr(clientMAC), EthernetType: layers.EthernetTypeIPv4}
	proto := layers.IPProtocolTCP
	if k.udp {
		proto = layers.IPProtocolUDP
	}
	var ip interface {
		gopacket.NetworkLayer
		gopacket.SerializableLayer
	} = &layers.IPv4{Version: 4, IHL: 5, TTL: 64, Flags: layers.IPv4DontFragment, Protocol: proto, SrcIP: net.IP{10, 0, 0, 1}, DstIP: vip4.AsSlice()}
	if k.v6 {
		eth.EthernetType = layers.EthernetTypeIPv6
		ip = &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: proto, SrcIP: net.ParseIP("2001:db8:1::1"), DstIP: vip6.AsSlice()}
	}
	var l4 gopacket.SerializableLayer
	if k.udp {
		h := &layers.UDP{SrcPort: 4000, DstPort: vipPort}
		must(b, h.SetNetworkLayerForChecksum(ip))
		l4 = h
	} else {
		h := &layers.TCP{SrcPort: 4000, DstPort: vipPort, ACK: true, Window: 500}
		must(b, h.SetNetworkLayerForChecksum(ip))
		l4 = h
	}
	data := make([]byte, payload)
	for i := range data {
		data[i] = byte(i * 7)
	}
	buf := gopacket.NewSerializeBuffer()
	must(b, gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, eth, ip, l4, gopacket.Payload(data)))
	f := &forward.Frame{Buf: make([]byte, forward.Headroom+forward.MaxFrame), Head: forward.Headroom}
	f.Tail = f.Head + copy(f.Buf[f.Head:], buf.Bytes())
	return f
}

// parsed is the frame with what Parse finds.
func (k packetKind) parsed(b *testing.B, payload int) (*forward.Frame, *forward.Packet) {
	b.Helper()
	f, p := k.frame(b, payload), new(forward.Packet)
	done(b, forward.Parse(f, p))
	return f, p
}

// unfinish leaves the transport checksum to the offload header. What the field then
// holds is wrong, and costs the same.
func unfinish(f *forward.Frame, p *forward.Packet) {
	f.Offload.NeedsCsum, f.Offload.CsumStart, f.Offload.CsumOffset = true, uint16(p.L4), 16
	if p.Proto == forward.ProtoUDP {
		f.Offload.CsumOffset = 6
	}
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func done(b *testing.B, r forward.Reason) {
	b.Helper()
	if r != forward.None {
		b.Fatal(r)
	}
}

// BenchmarkChecksum is the cost of computing a packet's checksum over all its bytes,
// which golb does only where nobody else can. Forwarding changes checksums instead.
func BenchmarkChecksum(b *testing.B) {
	for _, k := range packetKinds {
		for _, n := range []int{64, 1400, 65000} {
			b.Run(fmt.Sprintf("%s/bytes=%d", k.name, n), func(b *testing.B) {
				f, p := k.parsed(b, n)
				b.SetBytes(int64(n))
				b.ReportAllocs()
				for b.Loop() {
					if !forward.ChecksumOK(f, p) {
						b.Fatal("wrong checksum")
					}
				}
			})
		}
	}
}

// BenchmarkParse is the cost of finding a packet's headers and checking them.
func BenchmarkParse(b *testing.B) {
	for _, k := range packetKinds {
		b.Run(k.name, func(b *testing.B) {
			f, p := k.parsed(b, 10)
			b.ReportAllocs()
			for b.Loop() {
				if forward.Parse(f, p) != forward.None {
					b.Fatal("does not parse")
				}
			}
		})
	}
}

// BenchmarkDSR is TTL and MACs.
func BenchmarkDSR(b *testing.B) {
	for _, k := range packetKinds {
		b.Run(k.name, func(b *testing.B) {
			f, p := k.parsed(b, 10)
			b.ReportAllocs()
			for b.Loop() {
				forward.DSR(f, p, forward.MAC{2, 9}, forward.MAC{2, 8})
			}
		})
	}
}

// BenchmarkNAT is address, port and checksums, towards the server and back, with
// checksums finished and not.
func BenchmarkNAT(b *testing.B) {
	for _, k := range packetKinds {
		for _, state := range []string{"finished", "unfinished"} {
			b.Run(k.name+"/"+state, func(b *testing.B) {
				f, p := k.parsed(b, 10)
				if state == "unfinished" {
					unfinish(f, p)
				}
				server, vip := forward.AddrFrom(serverAddr(0, k.v6)), p.Dst
				b.ReportAllocs()
				for b.Loop() { // there and back, so that each changes something
					if forward.NATRequest(f, p, &server, 8080) != forward.None || forward.NATRequest(f, p, &vip, vipPort) != forward.None {
						b.Fatal("refused")
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(2*b.N), "ns/packet")
			})
		}
	}
}

// BenchmarkEncapsulate is a tunnel header in front of 1,400 bytes. A checksum left
// unfinished has to be finished, since nobody looks for it inside a tunnel.
func BenchmarkEncapsulate(b *testing.B) {
	tunnels := []forward.Tunnel{
		{Kind: forward.IPIP}, {Kind: forward.GUE, Port: 6080}, {Kind: forward.GUE, Port: 6080, Csum: true},
		{Kind: forward.GRE}, {Kind: forward.GRE, Csum: true},
	}
	for _, t := range tunnels {
		t.Local, t.Remote = forward.AddrFrom(netip.MustParseAddr("192.0.2.1")), forward.AddrFrom(serverAddr(0, false))
		name := t.Kind.String()
		if t.Csum {
			name += " with checksum"
		}
		for _, k := range packetKinds {
			for _, state := range []string{"finished", "unfinished"} {
				b.Run(fmt.Sprintf("%s/%s/%s", name, k.name, state), func(b *testing.B) {
					f, p := k.parsed(b, 1400)
					if state == "unfinished" {
						unfinish(f, p)
					}
					frame, packet := *f, *p
					b.ReportAllocs()
					for b.Loop() {
						*f, *p = frame, packet
						if forward.Encapsulate(f, p, &t, 1, 50000) != forward.None {
							b.Fatal("refused")
						}
					}
				})
			}
		}
	}
}

// BenchmarkSegment cuts a super-packet of 64 KiB into packets of 1,400 bytes, as for
// tunnels; BenchmarkMerge of package forward is the way back.
func BenchmarkSegment(b *testing.B) {
	for _, k := range packetKinds {
		b.Run(k.name, func(b *testing.B) {
			f, p := k.parsed(b, 65000)
			unfinish(f, p)
			f.Offload.GSOSize = 1400
			out := k.frame(b, 1400)
			b.SetBytes(65000)
			b.ReportAllocs()
			packets := 0
			var s forward.Segmenter
			var q forward.Packet
			for b.Loop() {
				if s.Start(f, p, 0) != forward.None {
					b.Fatal("refused")
				}
				for s.Next(out, &q) {
					packets++
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(packets), "ns/packet")
		})
	}
}
