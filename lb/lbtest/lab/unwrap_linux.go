package lab

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"
)

// encap is a way of carrying an IP packet in another.
type encap int

const (
	ipInIP encap = iota
	gre
	gue
)

var (
	errMalformed   = errors.New("malformed")
	errBadChecksum = errors.New("bad checksum")
	errUnfinished  = errors.New("checksum left to hardware")
)

// strip returns the IP packet that b carries, b being what follows the outer IP header (IPIP, GRE) or UDP header (GUE). It
// does so with errUnfinished too.
func (e encap) strip(b []byte) ([]byte, error) {
	switch e {
	case gre:
		return stripGRE(b)
	case gue:
		return stripGUE(b)
	default:
		return trim(b, 0)
	}
}

// stripGRE reads RFC 2784 and RFC 2890: checksum, key and sequence number may be there, routing may not.
func stripGRE(b []byte) ([]byte, error) {
	const checksum, key, sequence = 0x8000, 0x2000, 0x1000
	if len(b) < 4 {
		return nil, errMalformed
	}
	flags := binary.BigEndian.Uint16(b)
	if flags&^(checksum|key|sequence) != 0 {
		return nil, errMalformed
	}
	size := 4
	for _, f := range []uint16{checksum, key, sequence} {
		if flags&f != 0 {
			size += 4
		}
	}
	if len(b) < size {
		return nil, errMalformed
	}
	version := 0
	switch binary.BigEndian.Uint16(b[2:]) {
	case unix.ETH_P_IP:
		version = 4
	case unix.ETH_P_IPV6:
		version = 6
	default:
		return nil, errMalformed
	}
	inner, err := trim(b[size:], version)
	if err != nil || flags&checksum == 0 || fold(sum(b)) == 0xffff {
		return inner, err
	}
	if binary.BigEndian.Uint16(b[4:]) == 0 {
		return inner, errUnfinished
	}
	// The checksum may be over the inner one's final value, which the sender has left to hardware to write.
	if c, ok := partialChecksum(inner); ok {
		c.finish(inner)
		if fold(sum(b)) == 0xffff {
			return inner, nil
		}
	}
	return nil, errBadChecksum
}

// stripGUE reads draft-ietf-intarea-gue: version 0 with any extensions, and version 1, an IP packet straight after UDP.
// Extensions are skipped; remote checksum offload, the one that changes the packet, leaves the inner checksum unfinished.
func stripGUE(b []byte) ([]byte, error) {
	if len(b) < 4 {
		return nil, errMalformed
	}
	if b[0]>>6 == 1 {
		return trim(b, 0)
	}
	const control = 0x20
	size := 4 + 4*int(b[0]&0x1f)
	if b[0]>>6 != 0 || b[0]&control != 0 || len(b) < size {
		return nil, errMalformed
	}
	switch b[1] {
	case unix.IPPROTO_IPIP:
		return trim(b[size:], 4)
	case unix.IPPROTO_IPV6:
		return trim(b[size:], 6)
	}
	return nil, errMalformed
}

// trim cuts what follows the IP packet at the start of b. version is 4 or 6, or 0 for either.
func trim(b []byte, version int) ([]byte, error) {
	if len(b) < 20 || version != 0 && int(b[0]>>4) != version {
		return nil, errMalformed
	}
	size := 0
	switch b[0] >> 4 {
	case 4:
		size = int(binary.BigEndian.Uint16(b[2:]))
		if header := 4 * int(b[0]&15); header < 20 || size < header {
			return nil, errMalformed
		}
	case 6:
		size = 40 + int(binary.BigEndian.Uint16(b[4:]))
	default:
		return nil, errMalformed
	}
	if size > len(b) {
		return nil, errMalformed
	}
	return b[:size], nil
}

// partial is the place of a partial checksum: the sum starts at start and belongs at start+offset.
type partial struct{ start, offset int }

// partialChecksum reports whether the packet's TCP or UDP checksum is only the sum of its pseudo header. A complete checksum
// looks the same in one of 65,535 packets; completing that again does not change it.
func partialChecksum(p []byte) (c partial, ok bool) {
	var proto byte
	var addrs []byte
	if p[0]>>4 == 4 {
		const moreOrOffset = 0x3fff
		if binary.BigEndian.Uint16(p[6:])&moreOrOffset != 0 {
			return c, false
		}
		proto, addrs, c.start = p[9], p[12:20], 4*int(p[0]&15)
	} else {
		proto, addrs, c.start = p[6], p[8:40], 40
	}
	size := 0
	switch proto {
	case unix.IPPROTO_TCP:
		c.offset, size = 16, 20
	case unix.IPPROTO_UDP:
		c.offset, size = 6, 8
	default:
		return c, false
	}
	if len(p) < c.start+size {
		return c, false
	}
	pseudo := fold(sum(addrs) + uint64(proto) + uint64(len(p)-c.start))
	return c, binary.BigEndian.Uint16(p[c.start+c.offset:]) == pseudo
}

func (c partial) finish(p []byte) {
	v := ^fold(sum(p[c.start:]))
	if v == 0 {
		v = 0xffff // for UDP a zero means none; for TCP the two are equal
	}
	binary.BigEndian.PutUint16(p[c.start+c.offset:], v)
}

// sum adds b as big-endian 16-bit words without folding (RFC 1071).
func sum(b []byte) (s uint64) {
	for ; len(b) >= 8; b = b[8:] {
		s += uint64(binary.BigEndian.Uint32(b)) + uint64(binary.BigEndian.Uint32(b[4:]))
	}
	for ; len(b) >= 2; b = b[2:] {
		s += uint64(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		s += uint64(b[0]) << 8
	}
	return s
}

func fold(s uint64) uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}
