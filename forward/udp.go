package forward

import "encoding/binary"

// UDP header fields (RFC 768).
const (
	udpLen       = 4
	udpChecksum  = 6
	udpHeaderLen = 8
)

// Every transport protocol with ports begins with them.
const (
	l4SrcPort = 0
	l4DstPort = 2
)

func (p *Packet) readPorts(h []byte) {
	p.SrcPort = binary.BigEndian.Uint16(h[l4SrcPort:])
	p.DstPort = binary.BigEndian.Uint16(h[l4DstPort:])
}

// readUDP reads the ports. b ends where the packet does. The length field is that of the
// whole datagram, so it is not compared with a fragment's length.
func (p *Packet) readUDP(b []byte) Reason {
	if p.L4+udpHeaderLen > len(b) {
		return BadL4Header
	}
	h := b[p.L4:]
	n := int(binary.BigEndian.Uint16(h[udpLen:]))
	if n < udpHeaderLen || p.Frag == NotFrag && n > len(h) {
		return BadLength
	}
	p.Payload = p.L4 + udpHeaderLen
	p.readPorts(h)
	return None
}
