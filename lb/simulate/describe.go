package simulate

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"github.com/golb/golb/forward"
)

// describe prints an IP packet as tcpdump -v would, with what it carries.
func describe(packet []byte) string {
	if _, err := source(packet); err != nil {
		return err.Error()
	}
	data := ethernet(Frame{Packet: packet})
	f := forward.Frame{Buf: data, Tail: len(data)}
	var p forward.Packet
	if r := forward.Parse(&f, &p); r != forward.None {
		return fmt.Sprintf("unreadable (%s): %x", r, packet)
	}
	return network(&p) + " " + transport(&f, &p)
}

func network(p *forward.Packet) string {
	if p.Version == 6 {
		const header = 40
		s := fmt.Sprintf("IP6 (class 0x%02x, hlim %d, next-header %s, length %d", p.TOS, p.TTL, protocol(p.Proto), p.End-p.L3-header)
		if p.HopByHop {
			s += ", hop-by-hop"
		}
		if p.Frag != forward.NotFrag {
			s += fmt.Sprintf(", frag 0x%08x:%d@%d%s", p.FragID, p.End-p.L4, p.FragOff, plus(p.MoreFrags))
		}
		return s + ")"
	}
	var flags []string
	if p.MoreFrags {
		flags = append(flags, "+")
	}
	if p.DF {
		flags = append(flags, "DF")
	}
	if flags == nil {
		flags = []string{"none"}
	}
	return fmt.Sprintf("IP (tos 0x%x, ttl %d, id %d, offset %d, flags [%s], proto %s, length %d)",
		p.TOS, p.TTL, p.FragID, p.FragOff, strings.Join(flags, ", "), protocol(p.Proto), p.End-p.L3)
}

func plus(more bool) string {
	if more {
		return "+"
	}
	return ""
}

func protocol(n uint8) string {
	names := map[uint8]string{
		forward.ProtoICMP: "ICMP", forward.ProtoIPIP: "IPIP", forward.ProtoTCP: "TCP", forward.ProtoUDP: "UDP",
		forward.ProtoIPv6: "IPv6", forward.ProtoGRE: "GRE", forward.ProtoICMPv6: "ICMPv6", forward.ProtoSCTP: "SCTP",
	}
	if s, ok := names[n]; ok {
		return fmt.Sprintf("%s (%d)", s, n)
	}
	return fmt.Sprint(n)
}

// transport prints addresses and what is behind the IP header.
func transport(f *forward.Frame, p *forward.Packet) string {
	b := f.Bytes()[:p.End]
	hosts := fmt.Sprintf("%s > %s: ", p.Src, p.Dst)
	if p.Frag == forward.LaterFrag {
		return hosts + protocol(p.Proto)
	}
	ends := fmt.Sprintf("%s > %s: ", end(p.Src, p.SrcPort), end(p.Dst, p.DstPort))
	switch p.Proto {
	case forward.ProtoTCP:
		return ends + tcp(b, p)
	case forward.ProtoUDP:
		return ends + udp(b[p.Payload:])
	case forward.ProtoSCTP:
		return fmt.Sprintf("%ssctp chunk %d, length %d", ends, p.SCTPChunk, p.PayloadLen())
	case forward.ProtoICMP, forward.ProtoICMPv6:
		return hosts + icmp(f, p)
	case forward.ProtoIPIP, forward.ProtoIPv6:
		return hosts + describe(b[p.L4:])
	case forward.ProtoGRE:
		return hosts + gre(b[p.L4:])
	}
	return hosts + fmt.Sprintf("length %d", p.PayloadLen())
}

func end(a forward.Addr, port uint16) string { return fmt.Sprintf("%s.%d", a, port) }

func tcp(b []byte, p *forward.Packet) string {
	h := b[p.L4:]
	s := fmt.Sprintf("Flags [%s], seq %d", tcpFlags(p.TCPFlags), binary.BigEndian.Uint32(h[4:]))
	if p.TCPFlags&forward.FlagACK != 0 {
		s += fmt.Sprintf(", ack %d", binary.BigEndian.Uint32(h[8:]))
	}
	return s + fmt.Sprintf(", win %d, length %d", binary.BigEndian.Uint16(h[14:]), p.PayloadLen())
}

// tcpFlags prints flags in tcpdump's letters and order.
func tcpFlags(f uint8) string {
	s := ""
	for _, l := range []struct {
		bit    uint8
		letter string
	}{
		{forward.FlagFIN, "F"}, {forward.FlagSYN, "S"}, {forward.FlagRST, "R"}, {forward.FlagPSH, "P"},
		{forward.FlagACK, "."}, {forward.FlagURG, "U"}, {forward.FlagECE, "E"}, {forward.FlagCWR, "W"},
	} {
		if f&l.bit != 0 {
			s += l.letter
		}
	}
	if s == "" {
		return "none"
	}
	return s
}

// udp prints a datagram's payload, which may be GUE: version 0, no flags, and an IP
// packet that fills the rest (draft-ietf-intarea-gue §3.1).
func udp(payload []byte) string {
	const header = 4
	s := fmt.Sprintf("UDP, length %d", len(payload))
	if len(payload) <= header || payload[0] != 0 || payload[2] != 0 || payload[3] != 0 {
		return s
	}
	inner := payload[header:]
	if payload[1] == forward.ProtoIPIP && inner[0]>>4 == 4 || payload[1] == forward.ProtoIPv6 && inner[0]>>4 == 6 {
		return s + ": GUE " + describe(inner)
	}
	return s
}

func gre(b []byte) string {
	header := 4
	if len(b) > 0 && b[0]&0x80 != 0 {
		header += 4 // checksum
	}
	if len(b) < header {
		return "GRE, cut short"
	}
	return fmt.Sprintf("GREv0, flags 0x%02x, length %d: %s", b[0], len(b), describe(b[header:]))
}

// icmp prints type and code, and of an error what it is about.
func icmp(f *forward.Frame, p *forward.Packet) string {
	s := fmt.Sprintf("%s %s", protocol(p.Proto), icmpName(p))
	if mtu := forward.MTU(f, p); mtu != 0 {
		s += fmt.Sprintf(", mtu %d", mtu)
	}
	var q forward.Packet
	if !p.IsICMPError() || forward.ParseEmbedded(f, p, &q) != forward.None {
		return s
	}
	return fmt.Sprintf("%s, about %s > %s %s", s,
		netip.AddrPortFrom(q.Src.Netip(), q.SrcPort), netip.AddrPortFrom(q.Dst.Netip(), q.DstPort), protocol(q.Proto))
}

func icmpName(p *forward.Packet) string {
	type kind struct{ version, icmpType uint8 }
	name := map[kind]string{
		{4, 0}: "echo reply", {4, 3}: "unreachable", {4, 8}: "echo request", {4, 11}: "time exceeded", {4, 12}: "parameter problem",
		{6, 1}: "unreachable", {6, 2}: "packet too big", {6, 3}: "time exceeded", {6, 4}: "parameter problem", {6, 128}: "echo request", {6, 129}: "echo reply",
	}[kind{p.Version, p.ICMPType}]
	return strings.TrimSpace(fmt.Sprintf("%s type %d code %d", name, p.ICMPType, p.ICMPCode))
}
