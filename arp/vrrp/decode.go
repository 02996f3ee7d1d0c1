package vrrp

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// Decode reads an IP packet. It looks at all that can be told without a configuration
// and returns the first thing wrong; the advert then has what could be read up to it.
// Bytes after the IP packet, which Ethernet adds to short frames, are ignored. The
// advert keeps no part of packet.
func Decode(packet []byte) (Advert, Reason) {
	var a Advert
	var message []byte
	reason := ReasonNotVRRP
	if len(packet) > 0 {
		switch packet[0] >> 4 {
		case 4:
			message, reason = a.decodeIPv4(packet)
		case 6:
			message, reason = a.decodeIPv6(packet)
		}
	}
	if reason != ReasonNone {
		return a, reason
	}
	if len(message) < headerLen {
		return a, ReasonLength
	}
	reason = a.decodeMessage(message)
	if a.Dst.IsMulticast() && a.TTL != fullTTL {
		return a, ReasonTTL
	}
	return a, reason
}

func (a *Advert) decodeIPv4(p []byte) (message []byte, _ Reason) {
	if len(p) < ipv4HeaderLen {
		return nil, ReasonLength
	}
	header, total := int(p[0]&0xf)*4, int(binary.BigEndian.Uint16(p[2:]))
	if header < ipv4HeaderLen || total < header || total > len(p) {
		return nil, ReasonLength
	}
	a.TOS, a.TTL = p[1], p[8]
	a.ID = binary.BigEndian.Uint16(p[4:])
	fragment := binary.BigEndian.Uint16(p[6:])
	a.DF = fragment&0x4000 != 0
	a.Src, a.Dst = netip.AddrFrom4([4]byte(p[12:])), netip.AddrFrom4([4]byte(p[16:]))
	message = p[header:total]
	switch {
	case p[9] != protoVRRP && p[9] != protoAH, fragment&0x3fff != 0:
		return nil, ReasonNotVRRP
	case fold(sum(0, p[:header])) != 0xffff:
		return nil, ReasonIPChecksum
	case p[9] == protoVRRP:
		return message, ReasonNone
	case len(message) < ahLen:
		return nil, ReasonLength
	case message[0] != protoVRRP:
		return nil, ReasonNotVRRP
	case (int(message[1])+2)*4 != ahLen:
		return nil, ReasonLength
	}
	a.AH = &AH{
		SPI: binary.BigEndian.Uint32(message[4:]),
		Seq: binary.BigEndian.Uint32(message[8:]),
		ICV: [12]byte(message[12:]),
	}
	return message[ahLen:], ReasonNone
}

func (a *Advert) decodeIPv6(p []byte) (message []byte, _ Reason) {
	if len(p) < ipv6HeaderLen {
		return nil, ReasonLength
	}
	word, length := binary.BigEndian.Uint32(p), int(binary.BigEndian.Uint16(p[4:]))
	a.TOS, a.FlowLabel, a.TTL = uint8(word>>20), word&0xfffff, p[7]
	a.Src, a.Dst = netip.AddrFrom16([16]byte(p[8:])), netip.AddrFrom16([16]byte(p[24:]))
	if p[6] != protoVRRP {
		return nil, ReasonNotVRRP
	}
	if length > len(p)-ipv6HeaderLen {
		return nil, ReasonLength
	}
	return p[ipv6HeaderLen : ipv6HeaderLen+length], ReasonNone
}

// decodeMessage reads the message m, which is not shorter than its header.
func (a *Advert) decodeMessage(m []byte) Reason {
	a.Version, a.Type = m[0]>>4, m[0]&0xf
	a.VRID, a.Priority = m[1], m[2]
	a.Sum = binary.BigEndian.Uint16(m[6:])
	size := a.Src.BitLen() / 8 // of an address
	end := headerLen + int(m[3])*size
	want := end
	switch {
	case a.Version == 2 && a.Src.Is4():
		a.AuthType = AuthType(m[4])
		a.Interval = time.Duration(m[5]) * time.Second
		want += authDataLen
	case a.Version == 3:
		a.Reserved = m[4] >> 4
		a.Interval = time.Duration(binary.BigEndian.Uint16(m[4:])&0xfff) * 10 * time.Millisecond
	default:
		return ReasonVersion
	}
	if a.Type != typeAdvert {
		return ReasonType
	}
	if len(m) != want && len(m) != want+trailerLen {
		return ReasonLength
	}
	a.Addresses = make([]netip.Addr, 0, m[3])
	for b := m[headerLen:end]; len(b) > 0; b = b[size:] {
		addr, _ := netip.AddrFromSlice(b[:size])
		a.Addresses = append(a.Addresses, addr)
	}
	if a.Version == 2 {
		a.AuthData = [authDataLen]byte(m[end:])
	}
	if len(m) > want {
		a.Trailer = decodeTrailer(m[want:])
	}
	if a.Checksum = a.checksumOf(m[:want], m); a.Checksum == ChecksumUnknown {
		return ReasonChecksum
	}
	return ReasonNone
}

func decodeTrailer(b []byte) *Trailer {
	t := &Trailer{Scheme: b[0], KeyID: b[1], Reserved: binary.BigEndian.Uint16(b[2:]), HMAC: [16]byte(b[12:])}
	t.setSeq(binary.BigEndian.Uint64(b[4:]))
	return t
}

// checksumOf returns what the checksum in a message covers; signed is the message with
// the HMAC trailer. Over IPv6 the kernel makes the checksum, and takes in the trailer.
func (a *Advert) checksumOf(message, signed []byte) Checksum {
	right := func(seed uint32, b []byte) bool { return fold(sum(seed, b)) == 0xffff }
	switch {
	case a.Src.Is6():
		if right(pseudoSum(a.Src, a.Dst, len(signed)), signed) {
			return ChecksumPseudo
		}
	case a.Version == 2:
		if right(0, message) {
			return ChecksumPlain
		}
	case right(pseudoSum(a.Src, a.Dst, len(message)), message):
		return ChecksumPseudo
	case right(0, message):
		return ChecksumPlain
	case right(pseudoSum(a.Src, group4, len(message)), message):
		return ChecksumPseudoMulticast
	}
	return ChecksumUnknown
}
