package forward

import (
	"encoding/binary"
	"net/netip"
)

// MAC is an Ethernet address.
type MAC [6]byte

// IsZero reports whether the address is 00:00:00:00:00:00, which golb takes for
// "not known".
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

// Addr is an IP address in network byte order, an IPv4 address in its
// IPv4-mapped form (RFC 4291 §2.5.5.2). It holds no pointer, unlike netip.Addr,
// so that tables of millions of them are nothing to the garbage collector.
type Addr [16]byte

// mappedPrefix is bytes 8 to 11 of an IPv4-mapped address, read as little-endian.
const mappedPrefix = 0xffff0000

// AddrFrom converts a netip.Addr; the zone is dropped, the zero netip.Addr
// becomes the zero Addr.
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

// isMapped reads in two words, as copyAddr does.
func isMapped(a *Addr) bool {
	return binary.LittleEndian.Uint64(a[:]) == 0 && uint32(binary.LittleEndian.Uint64(a[8:])) == mappedPrefix
}

// As4 returns the last four bytes: the IPv4 address where Is4 holds.
func (a Addr) As4() [4]byte { return [4]byte(a[12:]) }

// Netip returns the address as a netip.Addr, IPv4 ones unmapped.
func (a Addr) Netip() netip.Addr { return netip.AddrFrom16(a).Unmap() }

// String prints the address as netip.Addr does.
func (a Addr) String() string { return a.Netip().String() }

// GSOType says what a super-packet is made of. The values are those of
// virtio_net_hdr.gso_type (virtio 1.2 §5.1.6).
type GSOType uint8

// The GSO types of virtio_net_hdr. GSOECN is a flag beside a TCP type: the first
// segment alone carries CWR (RFC 3168 §6.1.2).
const (
	GSONone  GSOType = 0
	GSOTCPv4 GSOType = 1
	GSOUDP   GSOType = 3 // UDP fragmentation offload, obsolete
	GSOTCPv6 GSOType = 4
	GSOUDPL4 GSOType = 5
	GSOECN   GSOType = 0x80
)

// Offload is what a network card, real or virtual, still has to do to a frame, or
// has already done: the contents of virtio_net_hdr, as PACKET_VNET_HDR passes
// them. The zero value is a plain frame with all checksums in place. Every
// rewriter keeps it true of the frame.
type Offload struct {
	NeedsCsum bool // checksum at CsumStart+CsumOffset holds only the pseudo-header's sum
	DataValid bool // checksums were verified by the receiver

	GSO     GSOType
	GSOSize uint16 // payload bytes of each segment but the last, without headers
	HdrLen  uint16 // bytes from the Ethernet header to the end of the transport header; a hint

	CsumStart  uint16 // from the Ethernet header to where the checksum starts
	CsumOffset uint16 // from CsumStart to the checksum field
}

// Frame is one Ethernet frame in a buffer that a port lends. The bytes are
// Buf[Head:Tail]; those before Head are headroom for encapsulation, those after
// Tail may be used to grow. The lender owns Buf; nobody keeps a slice of it past
// the batch.
type Frame struct {
	Buf     []byte
	Head    int
	Tail    int
	Port    int // index of the port it came from, or is to leave by, in the owner's list
	Offload Offload
}

// Bytes returns the frame from its Ethernet header on. The slice is good until
// the frame is sent or released.
func (f *Frame) Bytes() []byte { return f.Buf[f.Head:f.Tail] }

// Len returns the number of bytes from the Ethernet header to the end.
func (f *Frame) Len() int { return f.Tail - f.Head }

// Headroom is the number of bytes a port keeps free before each received frame:
// enough for the longest tunnel header (outer IPv6, UDP, GUE with options).
const Headroom = 128

// MaxFrame is the longest frame a port passes: a super-packet of 64 KiB with its
// Ethernet header.
const MaxFrame = EthernetLen + 65535 + 40

// EthernetLen is the length of an Ethernet header without a VLAN tag.
const EthernetLen = 14
