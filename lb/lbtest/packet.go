package lbtest

import (
	"encoding/binary"
	"net/netip"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
)

// Packet describes a TCP or UDP packet to build. The zero values of all fields but the
// addresses suit most tests.
type Packet struct {
	SrcMAC, DstMAC forward.MAC
	Src, Dst       netip.AddrPort // both IPv4 or both IPv6
	Protocol       lb.Protocol    // 0: TCP
	Flags          uint8          // of TCP: forward.FlagSYN …
	Seq, Ack       uint32
	TTL            uint8  // 0: 64
	ID             uint16 // of IPv4
	DF             bool   // of IPv4
	Payload        []byte
}

// Frame builds the frame, with all checksums right.
func (p Packet) Frame() Frame {
	b := append(p.DstMAC[:], p.SrcMAC[:]...)
	if p.Src.Addr().Is4() {
		b = append(b, 0x08, 0x00)
	} else {
		b = append(b, 0x86, 0xdd)
	}
	return Frame{Data: append(b, p.Bytes()...)}
}

// With builds the frame with b behind the IP header, whatever the protocol.
func (p Packet) With(b []byte) Frame {
	f := p.Frame()
	f.Data = append(f.Data[:14:14], p.header(len(b))...)
	f.Data = append(f.Data, b...)
	return f
}

// Bytes builds the IP packet.
func (p Packet) Bytes() []byte {
	segment := p.transport()
	sum := sum16(0, p.Src.Addr().AsSlice())
	sum = sum16(sum, p.Dst.Addr().AsSlice())
	sum += uint32(p.protocol()) + uint32(len(segment))
	at := 16
	if p.protocol() == lb.UDP {
		at = 6
	}
	c := ^fold16(sum16(sum, segment))
	if c == 0 && p.protocol() == lb.UDP {
		c = 0xffff // RFC 768: 0 means no checksum
	}
	binary.BigEndian.PutUint16(segment[at:], c)
	return append(p.header(len(segment)), segment...)
}

func (p Packet) protocol() lb.Protocol {
	if p.Protocol == 0 {
		return lb.TCP
	}
	return p.Protocol
}

// transport builds header and payload with a checksum of 0.
func (p Packet) transport() []byte {
	b := binary.BigEndian.AppendUint16(nil, p.Src.Port())
	b = binary.BigEndian.AppendUint16(b, p.Dst.Port())
	if p.protocol() == lb.UDP {
		b = binary.BigEndian.AppendUint16(b, uint16(8+len(p.Payload)))
		return append(append(b, 0, 0), p.Payload...)
	}
	b = binary.BigEndian.AppendUint32(b, p.Seq)
	b = binary.BigEndian.AppendUint32(b, p.Ack)
	b = append(b, 5<<4, p.Flags, 0x20, 0, 0, 0, 0, 0)
	return append(b, p.Payload...)
}

func (p Packet) header(payload int) []byte {
	ttl := p.TTL
	if ttl == 0 {
		ttl = 64
	}
	if !p.Src.Addr().Is4() {
		b := []byte{6 << 4, 0, 0, 0, byte(payload >> 8), byte(payload), byte(p.protocol()), ttl}
		b = append(b, p.Src.Addr().AsSlice()...)
		return append(b, p.Dst.Addr().AsSlice()...)
	}
	b := []byte{4<<4 | 5, 0, byte((payload + 20) >> 8), byte(payload + 20), byte(p.ID >> 8), byte(p.ID), 0, 0, ttl, byte(p.protocol()), 0, 0}
	if p.DF {
		b[6] = 0x40
	}
	b = append(b, p.Src.Addr().AsSlice()...)
	b = append(b, p.Dst.Addr().AsSlice()...)
	binary.BigEndian.PutUint16(b[10:], ^fold16(sum16(0, b)))
	return b
}

// sum16 adds b to sum as 16-bit words (RFC 1071).
func sum16(sum uint32, b []byte) uint32 {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	return sum
}

func fold16(sum uint32) uint16 {
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}
