package simulate_test

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
)

// packet is an IP packet as compare reads it: by code of its own, so that it does
// not share the mistakes of what it measures.
type packet struct {
	raw      []byte
	version  int
	total    int // length by the header
	tos, ttl uint8
	id       uint32
	df, more bool
	offset   int
	proto    uint8
	src, dst []byte
	headerOK bool
	payload  []byte
}

func parsePacket(text string) (*packet, error) {
	b, err := hex.DecodeString(text)
	if err != nil {
		return nil, err
	}
	p := &packet{raw: b, headerOK: true}
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		return p, p.parse4()
	case len(b) >= 40 && b[0]>>4 == 6:
		return p, p.parse6()
	}
	return nil, fmt.Errorf("no IP packet: %s", text)
}

func (p *packet) parse4() error {
	b := p.raw
	header := int(b[0]&15) * 4
	frag := binary.BigEndian.Uint16(b[6:])
	p.version, p.total = 4, int(binary.BigEndian.Uint16(b[2:]))
	if header < 20 || header > p.total || p.total > len(b) {
		return fmt.Errorf("lengths: header %d, total %d, bytes %d", header, p.total, len(b))
	}
	p.tos, p.ttl, p.proto = b[1], b[8], b[9]
	p.id = uint32(binary.BigEndian.Uint16(b[4:]))
	p.df, p.more, p.offset = frag&0x4000 != 0, frag&0x2000 != 0, int(frag&0x1fff)*8
	p.src, p.dst = b[12:16], b[16:20]
	p.headerOK = sum(b[:header]) == 0
	p.payload = b[header:p.total]
	return nil
}

func (p *packet) parse6() error {
	b := p.raw
	p.version, p.total = 6, 40+int(binary.BigEndian.Uint16(b[4:]))
	if p.total > len(b) {
		return fmt.Errorf("lengths: total %d, bytes %d", p.total, len(b))
	}
	p.tos, p.ttl = b[0]<<4|b[1]>>4, b[7]
	p.src, p.dst = b[8:24], b[24:40]
	next, at := b[6], 40
	for slices.Contains([]byte{0, 43, 44, 60}, next) && at+8 <= p.total {
		length := 8 * (int(b[at+1]) + 1)
		if next == 44 {
			word := binary.BigEndian.Uint16(b[at+2:])
			p.offset, p.more = int(word&^7), word&1 != 0
			p.id = binary.BigEndian.Uint32(b[at+4:])
			length = 8
		}
		next, at = b[at], at+length
	}
	if at > p.total {
		return fmt.Errorf("extension headers end at %d of %d", at, p.total)
	}
	p.proto, p.payload = next, b[at:p.total]
	return nil
}

func (p *packet) isFragment() bool { return p.more || p.offset > 0 }

// isTunnel reports whether the director wrapped a packet: in IP, in GRE, or in UDP
// from an address of its own.
func (p *packet) isTunnel() bool {
	switch p.proto {
	case 4, 41, 47:
		return true
	case 17:
		return slices.Contains(directorAddrs[:2], hex.EncodeToString(p.src))
	}
	return false
}

func (p *packet) isICMP() bool {
	return !p.isFragment() && len(p.payload) >= 8 && (p.version == 4 && p.proto == 1 || p.version == 6 && p.proto == 58)
}

func (p *packet) isError() bool {
	return p.isICMP() && (p.version == 6 && p.payload[0] < 128 || p.version == 4 && (p.payload[0] == 3 || p.payload[0] == 11))
}

func (p *packet) isEchoReply() bool {
	return p.isICMP() && (p.version == 4 && p.payload[0] == 0 || p.version == 6 && p.payload[0] == 129)
}

// quoted is how much of the quote in an ICMP error must be the same: the IP header
// and 8 bytes.
func (p *packet) quoted() int {
	if p.version == 6 {
		return 48
	}
	return 28
}

// payloadOK checks the checksum of the transport header.
func (p *packet) payloadOK() bool {
	if p.version == 4 && p.proto == 1 {
		return sum(p.payload) == 0
	}
	pseudo := slices.Concat(p.src, p.dst)
	pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(p.payload)))
	pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(p.proto))
	return sum(append(pseudo, p.payload...)) == 0
}

// sum is the checksum of RFC 1071.
func sum(b []byte) uint16 {
	var s uint32
	for ; len(b) >= 2; b = b[2:] {
		s += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}
