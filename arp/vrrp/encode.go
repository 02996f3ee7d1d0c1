package vrrp

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// Append appends the advert as an IP packet to b. All lengths, counts and checksums are
// computed, so that [Advert.Sum] plays no part; [Advert.Checksum] says which kind of
// checksum version 3 over IPv4 gets, ChecksumPseudo if it is unknown. The HMAC of the
// trailer and the ICV of the AH go out as they are: [Advert.SignHMAC] and
// [Advert.SignAH] make them.
//
// Source and destination must be of one family, as must the addresses; version 2 and an
// AH are for IPv4 only.
func (a *Advert) Append(b []byte) []byte {
	start := len(b)
	if a.Src.Is6() {
		return a.appendMessage(a.appendIPv6(b))
	}
	b = a.appendIPv4(b)
	if a.AH != nil {
		b = append(b, protoVRRP, ahLen/4-2, 0, 0)
		b = binary.BigEndian.AppendUint32(b, a.AH.SPI)
		b = binary.BigEndian.AppendUint32(b, a.AH.Seq)
		b = append(b, a.AH.ICV[:]...)
	}
	b = a.appendMessage(b)
	header := b[start : start+ipv4HeaderLen]
	binary.BigEndian.PutUint16(header[10:], ^fold(sum(0, header)))
	return b
}

func (a *Advert) appendIPv4(b []byte) []byte {
	length, proto := ipv4HeaderLen+a.messageLen(), byte(protoVRRP)
	if a.AH != nil {
		length, proto = length+ahLen, protoAH
	}
	var flags uint16
	if a.DF {
		flags = 0x4000
	}
	b = append(b, 0x45, a.TOS)
	b = binary.BigEndian.AppendUint16(b, uint16(length))
	b = binary.BigEndian.AppendUint16(b, a.ID)
	b = binary.BigEndian.AppendUint16(b, flags)
	b = append(b, a.TTL, proto, 0, 0)
	b = append(b, a.Src.AsSlice()...)
	return append(b, a.Dst.AsSlice()...)
}

func (a *Advert) appendIPv6(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, 6<<28|uint32(a.TOS)<<20|a.FlowLabel&0xfffff)
	b = binary.BigEndian.AppendUint16(b, uint16(a.messageLen()))
	b = append(b, protoVRRP, a.TTL)
	b = append(b, a.Src.AsSlice()...)
	return append(b, a.Dst.AsSlice()...)
}

// messageLen is the length of the VRRP message with the HMAC trailer.
func (a *Advert) messageLen() int {
	n := headerLen + len(a.Addresses)*a.Src.BitLen()/8
	if a.Version == 2 {
		n += authDataLen
	}
	if a.Trailer != nil {
		n += trailerLen
	}
	return n
}

// appendMessage appends the VRRP message with its checksum and the HMAC trailer.
func (a *Advert) appendMessage(b []byte) []byte {
	start := len(b)
	b = append(b, a.Version<<4|a.Type, a.VRID, a.Priority, uint8(len(a.Addresses)))
	if a.Version == 2 {
		b = append(b, uint8(a.AuthType), uint8(a.Interval/time.Second))
	} else {
		b = binary.BigEndian.AppendUint16(b, uint16(a.Reserved)<<12|uint16(a.Interval/(10*time.Millisecond))&0xfff)
	}
	b = append(b, 0, 0)
	for _, addr := range a.Addresses {
		b = append(b, addr.AsSlice()...)
	}
	if a.Version == 2 {
		b = append(b, a.AuthData[:]...)
	}
	end := len(b)
	if t := a.Trailer; t != nil {
		b = append(b, t.Scheme, t.KeyID)
		b = binary.BigEndian.AppendUint16(b, t.Reserved)
		b = binary.BigEndian.AppendUint64(b, t.seq())
		b = append(b, t.HMAC[:]...)
	}
	binary.BigEndian.PutUint16(b[start+6:], a.checksum(b[start:end], b[start:]))
	return b
}

// checksum computes the checksum of a message in which it is zero; signed is the
// message with the HMAC trailer.
func (a *Advert) checksum(message, signed []byte) uint16 {
	switch {
	case a.Src.Is6():
		return ^fold(sum(pseudoSum(a.Src, a.Dst, len(signed)), signed))
	case a.Version == 2, a.Checksum == ChecksumPlain:
		return ^fold(sum(0, message))
	case a.Checksum == ChecksumPseudoMulticast:
		return ^fold(sum(pseudoSum(a.Src, group4, len(message)), message))
	}
	return ^fold(sum(pseudoSum(a.Src, a.Dst, len(message)), message))
}

// pseudoSum is the sum over the pseudo header: RFC 8200 §8.1, RFC 793 §3.1 for IPv4.
func pseudoSum(src, dst netip.Addr, length int) uint32 {
	return sum(sum(uint32(length)+protoVRRP, src.AsSlice()), dst.AsSlice())
}

// sum adds the 16-bit words of b to a sum: RFC 1071. It holds up to 64 KiB. All that is
// summed here has an even length.
func sum(s uint32, b []byte) uint32 {
	for ; len(b) > 1; b = b[2:] {
		s += uint32(b[0])<<8 | uint32(b[1])
	}
	return s
}

func fold(s uint32) uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}
