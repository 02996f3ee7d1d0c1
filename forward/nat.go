package forward

import (
	"encoding/binary"
	"math/bits"
)

// side is which end of a packet NAT rewrites.
type side uint8

const (
	source side = iota
	destination
)

// NATRequest rewrites the destination of f to a server's address and port, for a packet
// from a client (ip_vs: MASQ). The port changes in TCP, UDP and SCTP, but not in a later
// fragment. Afterwards the caller decrements the TTL and sets the Ethernet addresses:
// DecTTL, SetMACs.
//
// IPv4 header checksum and transport checksum are updated (RFC 1624), not computed, so
// that a damaged packet stays damaged for its receiver. A UDP checksum of 0 stays 0; of a
// partial checksum the pseudo-header's sum is updated.
//
// The result is FamilyMismatch where dst is not of the packet's family, and
// FragmentedSCTP for a new port in the first fragment of an SCTP packet, whose CRC32c
// covers all fragments.
func NATRequest(f *Frame, p *Packet, dst *Addr, dport uint16) Reason {
	return translate(f, p, destination, dst, dport)
}

// NATReply rewrites the source of f to the service's address and port, for a packet from
// a server. In all else it is like NATRequest.
func NATReply(f *Frame, p *Packet, src *Addr, sport uint16) Reason {
	return translate(f, p, source, src, sport)
}

func translate(f *Frame, p *Packet, s side, addr *Addr, port uint16) Reason {
	if isMapped(addr) != (p.Version == 4) {
		return FamilyMismatch
	}
	oldPort := p.port(s)
	ports := hasPorts(p.Proto) && p.Frag != LaterFrag
	if p.Proto == ProtoSCTP && p.Frag == FirstFrag && *oldPort != port {
		return FragmentedSCTP
	}
	normalizeOffload(f, p)
	b := f.Bytes()
	changed := replaceAddr(b[p.L3:], p.Version, s, addr)
	copyAddr(p.addr(s), addr)
	if p.Frag == LaterFrag {
		return None
	}
	h := b[p.L4:p.End]
	if p.Proto == ProtoSCTP {
		replaceSCTPPort(h, s, port)
		*oldPort = port
		return None
	}
	var portChange uint16
	if ports {
		portChange = change(*oldPort, port)
		binary.BigEndian.PutUint16(h[s.port():], port)
		*oldPort = port
	}
	off, ok := checksumOffset(p.Proto)
	if !ok || p.Proto == ProtoICMP || p.Proto == ProtoICMPv6 && p.Version == 4 {
		return None
	}
	fixTransport(h[off:], p.Proto, partialChecksum(f, p), changed, portChange)
	return None
}

// fixTransport updates a transport checksum after the address, and what else it covers,
// changed. A partial checksum covers the addresses alone.
func fixTransport(field []byte, proto uint8, partial bool, addrChange, otherChange uint16) {
	c := binary.BigEndian.Uint16(field)
	switch {
	case partial:
		binary.BigEndian.PutUint16(field, add(c, addrChange))
	case proto != ProtoUDP:
		update(field, add(addrChange, otherChange))
	case c != 0:
		c = ^add(^c, add(addrChange, otherChange))
		binary.BigEndian.PutUint16(field, notZero(c))
	}
}

// replaceAddr writes addr into the IP header h, updates its checksum, and returns the
// change to a transport checksum.
func replaceAddr(h []byte, version uint8, s side, addr *Addr) uint16 {
	if version == 4 {
		field := h[ip4Src+4*int(s):][:4]
		old, new := binary.BigEndian.Uint32(field), binary.BigEndian.Uint32(addr[12:])
		c := change(fold(old), fold(new))
		binary.BigEndian.PutUint32(field, new)
		update(h[ip4Checksum:], c)
		return c
	}
	field := (*Addr)(h[ip6Src+16*int(s):])
	c := addrChange(field, addr)
	copyAddr(field, addr)
	return c
}

// addrChange is change for addresses. It reads them in two words (see copyAddr).
func addrChange(old, new *Addr) uint16 {
	s, c := bits.Add64(^binary.LittleEndian.Uint64(old[:]), binary.LittleEndian.Uint64(new[:]), 0)
	s, c = bits.Add64(s, ^binary.LittleEndian.Uint64(old[8:]), c)
	s, c = bits.Add64(s, binary.LittleEndian.Uint64(new[8:]), c)
	s, c = bits.Add64(s, 0, c)
	return bits.ReverseBytes16(fold64(s + c))
}

// replaceSCTPPort writes a port and computes the CRC32c, which cannot be updated. A
// packet with a wrong one gets a wrong one again.
func replaceSCTPPort(h []byte, s side, port uint16) {
	if binary.BigEndian.Uint16(h[s.port():]) == port {
		return
	}
	ok := crcOK(h)
	binary.BigEndian.PutUint16(h[s.port():], port)
	fillCRC(h)
	if !ok {
		h[sctpChecksum] ^= 1
	}
}

func hasPorts(proto uint8) bool {
	return proto == ProtoTCP || proto == ProtoUDP || proto == ProtoSCTP
}

// port returns the offset of the side's port in a transport header.
func (s side) port() int { return 2 * int(s) }

func (p *Packet) addr(s side) *Addr {
	if s == source {
		return &p.Src
	}
	return &p.Dst
}

func (p *Packet) port(s side) *uint16 {
	if s == source {
		return &p.SrcPort
	}
	return &p.DstPort
}
