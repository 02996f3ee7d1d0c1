package forward

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// MAC is an Ethernet address.
type MAC [6]byte

// IsZero reports whether the address is 00:00:00:00:00:00, which means "not known" in
// golb.
func (m MAC) IsZero() bool { return m == MAC{} }

// IsGroup reports whether the address is multicast or broadcast (IEEE 802 I/G bit).
func (m MAC) IsGroup() bool { return m[0]&1 != 0 }

// String prints the address as 02:00:00:00:00:01.
func (m MAC) String() string {
	const hex = "0123456789abcdef"
	var b [17]byte
	for i, o := range m {
		if i > 0 {
			b[i*3-1] = ':'
		}
		b[i*3], b[i*3+1] = hex[o>>4], hex[o&15]
	}
	return string(b[:])
}

// MarshalText is String; the zero MAC is the empty text.
func (m MAC) MarshalText() ([]byte, error) {
	if m.IsZero() {
		return nil, nil
	}
	return []byte(m.String()), nil
}

// UnmarshalText reads six octets in hexadecimal, as 02:00:00:00:00:01, or the empty text;
// it fails with what is allowed.
func (m *MAC) UnmarshalText(b []byte) error {
	*m = MAC{}
	if len(b) == 0 {
		return nil
	}
	var mac MAC
	for i := range mac {
		at := 3 * i
		if len(b) != 17 || i > 0 && b[at-1] != ':' {
			return errMAC
		}
		hi, ok1 := hexDigit(b[at])
		lo, ok2 := hexDigit(b[at+1])
		if !ok1 || !ok2 {
			return errMAC
		}
		mac[i] = hi<<4 | lo
	}
	*m = mac
	return nil
}

var errMAC = errors.New("allowed: a MAC address, as 02:00:00:00:00:01")

func hexDigit(c byte) (uint8, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// Addr is an IP address in network byte order. An IPv4 address is in its IPv4-mapped
// form (RFC 4291 §2.5.5.2). Unlike netip.Addr it holds no pointer, so the garbage
// collector need not scan tables of it.
type Addr [16]byte

// mappedPrefix is bytes 8 to 11 of an IPv4-mapped address, read as little-endian.
const mappedPrefix = 0xffff0000

// AddrFrom converts a netip.Addr. The zone is dropped; the zero netip.Addr becomes the
// zero Addr.
func AddrFrom(a netip.Addr) Addr {
	if !a.IsValid() {
		return Addr{}
	}
	return a.As16()
}

// AddrFrom4 makes an Addr of an IPv4 address.
func AddrFrom4(a [4]byte) Addr {
	return Addr{10: 0xff, 11: 0xff, 12: a[0], 13: a[1], 14: a[2], 15: a[3]}
}

// Is4 reports whether the address is an IPv4 one.
func (a Addr) Is4() bool { return isMapped(&a) }

// isMapped is Is4. It reads two words, for the reason given at copyAddr.
func isMapped(a *Addr) bool {
	return binary.LittleEndian.Uint64(a[:]) == 0 && uint32(binary.LittleEndian.Uint64(a[8:])) == mappedPrefix
}

// As4 returns the last four bytes: the IPv4 address where Is4 holds.
func (a Addr) As4() [4]byte { return [4]byte(a[12:]) }

// Netip returns the address as a netip.Addr, IPv4 ones unmapped.
func (a Addr) Netip() netip.Addr { return netip.AddrFrom16(a).Unmap() }

// String prints the address as netip.Addr does.
func (a Addr) String() string { return a.Netip().String() }

// GSOType says what kind of segments a super-packet stands for. The values are those of
// virtio_net_hdr.gso_type (virtio 1.2 §5.1.6).
type GSOType uint8

// The GSO types of virtio_net_hdr. GSOECN is a flag in addition to a TCP type: only the
// first segment carries CWR (RFC 3168 §6.1.2).
const (
	GSONone  GSOType = 0
	GSOTCPv4 GSOType = 1
	GSOUDP   GSOType = 3 // UDP fragmentation offload, obsolete
	GSOTCPv6 GSOType = 4
	GSOUDPL4 GSOType = 5
	GSOECN   GSOType = 0x80
)

// Offload is what a network card, real or virtual, has left to the sender of the frame,
// or has already done: the contents of virtio_net_hdr, as PACKET_VNET_HDR passes them.
// The zero value is a plain frame with complete checksums. Every rewriter updates it with
// the frame.
type Offload struct {
	NeedsCsum bool // partial checksum: the field holds the pseudo-header's sum alone
	DataValid bool // the receiver has verified the checksums

	GSO     GSOType
	GSOSize uint16 // payload of each segment but the last, in bytes, without headers
	HdrLen  uint16 // bytes from the Ethernet header to the end of the transport header; a hint

	CsumStart  uint16 // bytes from the Ethernet header to where the checksum starts
	CsumOffset uint16 // bytes from CsumStart to the checksum field
}

// superTCP reports whether the frame is a super-packet of TCP. Such a one may be longer than
// the length field of its IP header can say, which is then 0 (BIG TCP).
func (o *Offload) superTCP() bool {
	t := o.GSO &^ GSOECN
	return t == GSOTCPv4 || t == GSOTCPv6
}

// Frame is one Ethernet frame. Its bytes are Buf[Head:Tail]. Those before Head are
// headroom for encapsulation; those after Tail may be used to make the frame longer.
//
// Whoever filled Buf owns it, in golb the port that received the frame, and reuses it
// for its next batch. So nobody keeps a slice of Buf for longer than the batch.
type Frame struct {
	Buf     []byte
	Head    int
	Tail    int
	Port    int // port that it came from or leaves by: an index into the caller's list
	Offload Offload
}

// Bytes returns the frame from its Ethernet header on: a slice of Buf, not a copy.
func (f *Frame) Bytes() []byte { return f.Buf[f.Head:f.Tail] }

// Len returns the number of bytes from the Ethernet header to the end.
func (f *Frame) Len() int { return f.Tail - f.Head }

// Headroom is how many bytes a port keeps free before each received frame: enough for
// the longest tunnel header (outer IPv6, UDP, GUE with options).
const Headroom = 128

// MaxFrame is the length in bytes of the longest frame of one IP packet: an Ethernet
// header, an IPv6 header and 65535 bytes.
const MaxFrame = EthernetLen + 65535 + 40

// MaxSuperFrame is the length in bytes of the longest frame that a port passes: an
// Ethernet header and the longest super-packet that Linux makes (GSO_MAX_SIZE,
// GRO_MAX_SIZE), with a jumbo payload option.
const MaxSuperFrame = EthernetLen + 8*65535 + jumboLen

// EthernetLen is the length in bytes of an Ethernet header without a VLAN tag.
const EthernetLen = 14
