package forward

import "encoding/binary"

// Parse finds the headers of f and fills p, all of it. It checks every bound
// that the accessors and rewriters of this package rely on, the IPv4 header
// checksum, and that the offload header fits the packet. It changes nothing and
// keeps nothing. Where it returns a Reason other than None, p is undefined.
//
// Understood are Ethernet II without VLAN tag, IPv4 with options, IPv6 with
// hop-by-hop, routing, destination and fragment headers, TCP, UDP, SCTP, ICMP,
// ICMPv6. Other transport protocols pass with ports 0 and Payload at L4.
func Parse(f *Frame, p *Packet) Reason {
	b := f.Bytes()
	if len(b) < EthernetLen {
		return TooShort
	}
	*p = Packet{SCTPChunk: SCTPNoChunk}
	if !p.parsePlain(b) && !p.parsePlain6(b) {
		if r := p.parseAny(b); r != None {
			return r
		}
	}
	if f.Offload.pending() {
		return checkOffload(&f.Offload, p)
	}
	return None
}

// parseAny parses what Parse understands, into an empty p.
func (p *Packet) parseAny(b []byte) (r Reason) {
	switch binary.BigEndian.Uint16(b[ethType:]) {
	case etherTypeIPv4:
		r = parseIPv4(b, p)
	case etherTypeIPv6:
		r = parseIPv6(b, p)
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

// parsePlain is all of Parse in one piece for what most packets are: a sound TCP
// segment or UDP datagram, whole, behind an IPv4 header without options. Of anything
// else it makes nothing; then p has at most TCPFlags.
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

// plainTransport finds where the payload of a whole TCP segment or UDP datagram
// begins.
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

// checkFragment holds a fragment's data against RFC 791 §3.2 and RFC 8200 §4.5:
// not empty, a multiple of 8 bytes unless the last, within 65535 bytes.
func (p *Packet) checkFragment() Reason {
	start, n := p.fragmentData()
	if n <= 0 || p.MoreFrags && n%8 != 0 || start+n > 65535 {
		return BadFragment
	}
	return None
}

// fragmentData returns the part of the datagram that a fragment holds: its
// offset in bytes and its length. In IPv6 that begins right behind the fragment
// header, which a first fragment may follow with further extension headers.
func (p *Packet) fragmentData() (off, n int) {
	from := p.L4
	if p.Version == 6 {
		from = int(p.fragHdr) + fragHeaderLen
	}
	return int(p.FragOff), p.End - from
}

// checkOffload holds the offload header against the packet, so that rewriters
// can trust it. A super-packet is whole and of the protocol that its type names;
// an unfinished checksum is the transport header's, in its own field, or is in the
// payload, as of a tunnel that passes through.
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

func csumFits(o *Offload, p *Packet) bool {
	start := int(o.CsumStart)
	if start+int(o.CsumOffset)+2 > p.End {
		return false
	}
	off, known := checksumOffset(p.Proto)
	if start == p.L4 {
		return !known || int(o.CsumOffset) == off
	}
	return start >= p.Payload && (!known || p.Proto == ProtoUDP)
}

// checksumOffset returns where in its header a transport protocol keeps the
// checksum.
func checksumOffset(proto uint8) (int, bool) {
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
