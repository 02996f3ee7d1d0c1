package forward

import "encoding/binary"

// Parse finds the headers of f and fills all of p. It checks every bound that the
// accessors and rewriters of this package rely on, the IPv4 header checksum, and that
// the offload header agrees with the packet. It does not check transport checksums: see
// ChecksumOK. It does not change f. Where it returns a Reason other than None, p is
// undefined.
//
// A TCP super-packet that is too long for the length field of its IP header, which is then
// 0, ends with the frame (BIG TCP of Linux). Rewriters do not take it: see Splitter.
//
// It understands Ethernet II without a VLAN tag, IPv4 with options, IPv6 with
// hop-by-hop, routing, destination and fragment headers, TCP, UDP, SCTP, ICMP and
// ICMPv6. Of any other transport protocol the ports are 0, and Payload is L4.
func Parse(f *Frame, p *Packet) Reason {
	b := f.Bytes()
	if len(b) < EthernetLen {
		return TooShort
	}
	*p = Packet{SCTPChunk: SCTPNoChunk}
	if !p.parsePlain(b) && !p.parsePlain6(b) {
		if r := p.parseAny(b, f.Offload.superTCP()); r != None {
			return r
		}
	}
	if f.Offload.pending() {
		return checkOffload(&f.Offload, p)
	}
	return None
}

// parseAny parses all that Parse understands. p is empty but for SCTPChunk. super says that
// the frame is a super-packet of TCP.
func (p *Packet) parseAny(b []byte, super bool) (r Reason) {
	switch binary.BigEndian.Uint16(b[ethType:]) {
	case etherTypeIPv4:
		r = parseIPv4(b, p, super)
	case etherTypeIPv6:
		r = parseIPv6(b, p, super)
	default:
		return NotIP
	}
	if r != None {
		return r
	}
	p.Payload = p.L4
	if p.Frag != LaterFrag {
		if r = p.readTransport(b[:p.End]); r != None {
			return r
		}
	}
	return None
}

// parsePlain does in one function what Parse does for most packets: a TCP segment or
// UDP datagram that is not a fragment, after an IPv4 header without options. It reports
// false for any other, and for a malformed one; then it has set at most TCPFlags.
func (p *Packet) parsePlain(b []byte) bool {
	const plain = EthernetLen + ip4MinLen
	if len(b) < plain+tcpMinLen {
		return false
	}
	h := (*[plain + tcpMinLen]byte)(b)
	if *(*[3]byte)(h[ethType:]) != [3]byte{etherTypeIPv4 >> 8, etherTypeIPv4 & 0xff, 4<<4 | ip4MinLen/4} {
		return false
	}
	end := EthernetLen + int(binary.BigEndian.Uint16(h[EthernetLen+ip4Len:]))
	frag := binary.BigEndian.Uint16(h[EthernetLen+ip4Frag:])
	if end > len(b) || frag&(ip4MF|ip4OffMask) != 0 || !plainChecksumValid((*[ip4MinLen]byte)(h[EthernetLen:])) {
		return false
	}
	payload, ok := p.plainTransport((*[tcpMinLen]byte)(h[plain:]), h[EthernetLen+ip4Proto], plain, end)
	if !ok {
		return false
	}
	p.L3, p.L4, p.Payload, p.End = EthernetLen, plain, payload, end
	p.Version, p.Proto = 4, h[EthernetLen+ip4Proto]
	p.TTL, p.TOS = h[EthernetLen+ip4TTL], h[EthernetLen+ip4TOS]
	p.FragID, p.DF = uint32(binary.BigEndian.Uint16(h[EthernetLen+ip4ID:])), frag&ip4DF != 0
	putAddr4(&p.Src, h[EthernetLen+ip4Src:])
	putAddr4(&p.Dst, h[EthernetLen+ip4Dst:])
	p.readPorts(h[plain:])
	return true
}

// parsePlain6 is parsePlain for IPv6 without extension headers.
func (p *Packet) parsePlain6(b []byte) bool {
	const plain = EthernetLen + ip6HeaderLen
	if len(b) < plain+tcpMinLen {
		return false
	}
	h := (*[plain + tcpMinLen]byte)(b)
	if h[ethType] != etherTypeIPv6>>8 || h[ethType+1] != etherTypeIPv6&0xff || h[EthernetLen]>>4 != 6 {
		return false
	}
	end := plain + int(binary.BigEndian.Uint16(h[EthernetLen+ip6Len:]))
	payload, ok := p.plainTransport((*[tcpMinLen]byte)(h[plain:]), h[EthernetLen+ip6Next], plain, end)
	if !ok || end > len(b) {
		return false
	}
	p.L3, p.L4, p.Payload, p.End = EthernetLen, plain, payload, end
	p.Version, p.Proto = 6, h[EthernetLen+ip6Next]
	p.TTL, p.TOS = h[EthernetLen+ip6HopLimit], ipv6(h[EthernetLen:]).class()
	p.Src, p.Dst = Addr(h[EthernetLen+ip6Src:]), Addr(h[EthernetLen+ip6Dst:])
	p.readPorts(h[plain:])
	return true
}

// plainTransport finds where the payload of a TCP segment or UDP datagram begins, which
// is not a fragment. The transport header is at offset at of the frame.
func (p *Packet) plainTransport(h *[tcpMinLen]byte, proto uint8, at, end int) (payload int, ok bool) {
	switch proto {
	case ProtoTCP:
		payload = at + int(h[tcpOffset]>>4)*4
		p.TCPFlags = h[tcpFlags]
		return payload, payload >= at+tcpMinLen && payload <= end
	case ProtoUDP:
		n := int(binary.BigEndian.Uint16(h[udpLen:]))
		return at + udpHeaderLen, n >= udpHeaderLen && at+n <= end
	}
	return 0, false
}

func (p *Packet) readTransport(b []byte) Reason {
	switch p.Proto {
	case ProtoTCP:
		return p.readTCP(b)
	case ProtoUDP:
		return p.readUDP(b)
	case ProtoSCTP:
		return p.readSCTP(b)
	case ProtoICMP:
		if p.Version == 4 {
			return p.readICMP(b)
		}
	case ProtoICMPv6:
		if p.Version == 6 {
			return p.readICMP(b)
		}
	}
	return None
}

func (p *Packet) setFragment(off uint16, more bool) {
	p.FragOff, p.MoreFrags = off, more
	switch {
	case off != 0:
		p.Frag = LaterFrag
	case more:
		p.Frag = FirstFrag
	default:
		p.Frag = NotFrag
	}
}

// checkFragment checks a fragment's data by RFC 791 §3.2 and RFC 8200 §4.5: it is not
// empty, its length a multiple of 8 bytes unless it is the last, and it ends within
// 65535 bytes.
func (p *Packet) checkFragment() Reason {
	start, n := p.fragmentData()
	if n <= 0 || p.MoreFrags && n%8 != 0 || start+n > 65535 {
		return BadFragment
	}
	return None
}

// fragmentData returns which part of the datagram a fragment has: its offset and length
// in bytes. In IPv6 the data begins right after the fragment header, where a first
// fragment may have further extension headers.
func (p *Packet) fragmentData() (off, n int) {
	from := p.L4
	if p.Version == 6 {
		from = int(p.fragHdr) + fragHeaderLen
	}
	return int(p.FragOff), p.End - from
}

// checkOffload checks that the offload header agrees with the packet, so that rewriters
// can trust it. A super-packet is not a fragment and is of the protocol that its GSO
// type names. A partial checksum is the transport header's own, or one within the
// payload, as in a tunnel that passes through.
func checkOffload(o *Offload, p *Packet) Reason {
	if p.Frag != NotFrag {
		return BadOffload
	}
	if o.NeedsCsum && !csumFits(o, p) {
		return BadOffload
	}
	if o.GSO == GSONone {
		return None
	}
	var proto, version uint8
	switch o.GSO &^ GSOECN {
	case GSOTCPv4:
		proto, version = ProtoTCP, 4
	case GSOTCPv6:
		proto, version = ProtoTCP, 6
	case GSOUDPL4:
		proto, version = ProtoUDP, p.Version
	}
	if proto != p.Proto || version != p.Version || o.GSOSize == 0 ||
		o.NeedsCsum && int(o.CsumStart) != p.L4 {
		return BadOffload
	}
	return None
}

// csumFits reports whether a partial checksum is in a place where p can have one.
func csumFits(o *Offload, p *Packet) bool {
	start := int(o.CsumStart)
	if start+int(o.CsumOffset)+2 > p.End {
		return false
	}
	off, hasChecksum := checksumOffset(p.Proto)
	if start == p.L4 {
		return !hasChecksum || int(o.CsumOffset) == off
	}
	return start >= p.Payload && (!hasChecksum || p.Proto == ProtoUDP)
}

// checksumOffset returns the offset of the checksum in a transport protocol's header;
// ok is false for a protocol without one, or that Parse does not know.
func checksumOffset(proto uint8) (off int, ok bool) {
	switch proto {
	case ProtoTCP:
		return tcpChecksum, true
	case ProtoUDP:
		return udpChecksum, true
	case ProtoSCTP:
		return sctpChecksum, true
	case ProtoICMP, ProtoICMPv6:
		return icmpChecksum, true
	}
	return 0, false
}
