package forward

import "encoding/binary"

// candidate is what Merger reads of a packet.
type candidate struct {
	l4, payload, end int    // offsets in the frame
	flow             uint32 // hash of addresses and ports
	proto            uint8
	fits             bool // has no property that forbids merging
	first, last      bool // may be merged only as the first, or the last, of its super-packet
	seq              uint32
	id               uint16
}

// relation says which flows a frame must not overtake.
type relation uint8

const (
	knownFlow relation = iota // those with the hash candidate.flow
	noFlow                    // none that is merged
	anyFlow                   // any
)

// read reads a frame, which may be malformed.
func (c *candidate) read(f *Frame, udp bool) relation {
	b := f.Bytes()
	if len(b) < EthernetLen+ip4MinLen {
		return anyFlow
	}
	var h uint64
	switch binary.BigEndian.Uint16(b[ethType:]) {
	case etherTypeIPv4:
		ip := ipv4(b[EthernetLen:])
		if c.proto = ip[ip4Proto]; c.proto != ProtoTCP && c.proto != ProtoUDP {
			return noFlow
		}
		c.l4, c.end, c.id = EthernetLen+ip4MinLen, EthernetLen+ip.totalLen(), ip.id()
		if ip[ip4VerIHL] != 4<<4|ip4MinLen/4 || ip.frag()&(ip4MF|ip4OffMask) != 0 {
			return anyFlow
		}
		h = binary.LittleEndian.Uint64(ip[ip4Src:])
	case etherTypeIPv6:
		if len(b) < EthernetLen+ip6HeaderLen {
			return anyFlow
		}
		ip := ipv6(b[EthernetLen:])
		if ip[ip6VerClassFlow]>>4 != 6 {
			return anyFlow
		}
		switch c.proto = ip[ip6Next]; c.proto {
		case ProtoTCP, ProtoUDP:
		case extHopByHop, extRouting, extFragment, extDest:
			return anyFlow
		default:
			return noFlow
		}
		c.l4, c.end = EthernetLen+ip6HeaderLen, EthernetLen+ip6HeaderLen+ip.payloadLen()
		h = binary.LittleEndian.Uint64(ip[ip6Src+8:]) ^ binary.LittleEndian.Uint64(ip[ip6Dst+8:])
	default:
		return noFlow
	}
	if c.proto == ProtoUDP && !udp {
		return noFlow
	}
	if c.end > len(b) || c.l4+udpHeaderLen > c.end {
		return anyFlow
	}
	l4 := b[c.l4:c.end]
	c.flow = flowHash(h, binary.LittleEndian.Uint32(l4))
	plain := f.Offload.GSO == GSONone && (!f.Offload.NeedsCsum || int(f.Offload.CsumStart) == c.l4)
	if c.proto == ProtoUDP {
		c.payload = c.l4 + udpHeaderLen
		c.fits = plain && c.payload < c.end && int(binary.BigEndian.Uint16(l4[udpLen:])) == len(l4)
		return knownFlow
	}
	c.fits = plain && c.readTCP(l4)
	return knownFlow
}

// readTCP reads a TCP header and reports whether the segment may be merged.
func (c *candidate) readTCP(l4 tcp) bool {
	if len(l4) < tcpMinLen {
		return false
	}
	n := l4.headerLen()
	flags := l4[tcpFlags]
	c.payload = c.l4 + n
	c.seq = l4.seq()
	c.first = flags&FlagCWR != 0
	c.last = flags&(FlagPSH|FlagFIN) != 0
	return n >= tcpMinLen && n < len(l4) && flags&(FlagACK|FlagSYN|FlagRST|FlagURG) == FlagACK
}

// flowHash hashes a flow. Flows with the same hash are merged less often, but never with
// each other.
func flowHash(addrs uint64, ports uint32) uint32 {
	const odd = 0x9e3779b97f4a7c15 // 2^64 / golden ratio
	return uint32((addrs*odd ^ uint64(ports)) * odd >> 32)
}

// sameNetwork reports whether a and b have the same Ethernet and network headers, apart
// from length and header checksum, and b has the IPv4 identification id.
func sameNetwork(a, b []byte, id uint16) bool {
	u64, u16 := binary.BigEndian.Uint64, binary.BigEndian.Uint16
	// Ethernet header, IPv4 version, header length and TOS; IPv6 version and class
	if u64(a) != u64(b) || u64(a[8:]) != u64(b[8:]) {
		return false
	}
	x, y := a[EthernetLen:], b[EthernetLen:]
	if x[0]>>4 == 4 {
		return u16(y[ip4ID:]) == id && binary.BigEndian.Uint32(x[ip4Frag:]) == binary.BigEndian.Uint32(y[ip4Frag:]) &&
			u64(x[ip4Src:]) == u64(y[ip4Src:])
	}
	return u16(x[2:]) == u16(y[2:]) && u16(x[ip6Next:]) == u16(y[ip6Next:]) && // flow label; next header, hop limit
		u64(x[8:]) == u64(y[8:]) && u64(x[16:]) == u64(y[16:]) && u64(x[24:]) == u64(y[24:]) && u64(x[32:]) == u64(y[32:])
}

// sameTCP reports whether two TCP headers of the same length are the same, apart from
// sequence number, checksum, and the flags that only the first or the last packet may
// have.
func sameTCP(a, b []byte) bool {
	const mayDiffer = FlagFIN | FlagPSH | FlagCWR
	u16 := binary.BigEndian.Uint16
	if binary.BigEndian.Uint32(a) != binary.BigEndian.Uint32(b) ||
		binary.BigEndian.Uint64(a[tcpAck:])&^(mayDiffer<<16) != binary.BigEndian.Uint64(b[tcpAck:])&^(mayDiffer<<16) ||
		u16(a[tcpChecksum+2:]) != u16(b[tcpChecksum+2:]) {
		return false
	}
	return string(a[tcpMinLen:]) == string(b[tcpMinLen:])
}

// checksumsValid reports whether the packet's checksums are right, and are what
// segmentation would write. That excludes 0xffff in place of 0, which is right too, and
// UDP without a checksum.
func checksumsValid(f *Frame, l4, end int, proto uint8) bool {
	b := f.Bytes()
	if ip := ipv4(b[EthernetLen:]); ip[ip4VerIHL]>>4 == 4 {
		if sum(ip[:ip4MinLen]) != 0xffff || binary.BigEndian.Uint16(ip[ip4Checksum:]) == 0xffff {
			return false
		}
	}
	at, never := tcpChecksum, uint16(0xffff)
	if proto == ProtoUDP {
		at, never = udpChecksum, 0
	}
	o := &f.Offload
	field := binary.BigEndian.Uint16(b[l4+at:])
	switch {
	case o.NeedsCsum:
		off := change(pseudoOf(b, proto, end-l4), field)
		return int(o.CsumOffset) == at && (off == 0 || off == 0xffff)
	case field == never:
		return false
	case o.DataValid:
		return true
	}
	return add(sum(b[l4:end]), pseudoOf(b, proto, end-l4)) == 0xffff
}

// pseudoOf is pseudo for n bytes of transport packet in the frame b, which has no IPv4
// options or IPv6 extension headers.
func pseudoOf(b []byte, proto uint8, n int) uint16 {
	from, to := EthernetLen+ip4Src, EthernetLen+ip4MinLen
	if b[EthernetLen]>>4 == 6 {
		from, to = EthernetLen+ip6Src, EthernetLen+ip6HeaderLen
	}
	return add(sum(b[from:to]), fold(uint32(n)+uint32(proto)))
}
