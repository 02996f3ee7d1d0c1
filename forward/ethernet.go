package forward

import "encoding/binary"

// Ethernet II header (IEEE 802.3): destination, source, EtherType.
const (
	ethDst  = 0
	ethSrc  = 6
	ethType = 12

	etherTypeIPv4 = 0x0800
	etherTypeIPv6 = 0x86dd
)

// SetMACs writes the Ethernet addresses of f, which has at least an Ethernet header.
func SetMACs(f *Frame, dst, src MAC) {
	b := f.Buf[f.Head:][:EthernetLen]
	copy(b[ethDst:], dst[:])
	copy(b[ethSrc:], src[:])
}

// DstMAC returns the Ethernet destination of f, which has at least a header.
func DstMAC(f *Frame) MAC { return MAC(f.Buf[f.Head+ethDst:][:6]) }

// SrcMAC returns the Ethernet source of f, which has at least a header.
func SrcMAC(f *Frame) MAC { return MAC(f.Buf[f.Head+ethSrc:][:6]) }

func setEtherType(b []byte, version uint8) {
	t := uint16(etherTypeIPv4)
	if version == 6 {
		t = etherTypeIPv6
	}
	binary.BigEndian.PutUint16(b[ethType:], t)
}
