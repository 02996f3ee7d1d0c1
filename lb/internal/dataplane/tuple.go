package dataplane

import (
	"encoding/binary"
	"net/netip"

	"github.com/golb/golb/forward"
)

// tuple names a flow as a packet on the wire does: source first.
type tuple struct {
	src, dst         forward.Addr
	srcPort, dstPort uint16
	proto            uint8
	kind             connKind
}

// connKind separates connections from the other entries of the table.
type connKind uint8

const (
	kindConn     connKind = iota
	kindTemplate          // of persistence
	kindCall              // of persistence by Call-ID: a hash in place of the client's address
	kindExpected          // see expect.go
)

// flowKey is a tuple in the form that the table compares and hashes: the addresses
// as two words each, then packPorts.
type flowKey [5]uint64

func (t *tuple) key() flowKey {
	return flowKey{
		binary.LittleEndian.Uint64(t.src[:8]),
		binary.LittleEndian.Uint64(t.src[8:]),
		binary.LittleEndian.Uint64(t.dst[:8]),
		binary.LittleEndian.Uint64(t.dst[8:]),
		packPorts(t.srcPort, t.dstPort, t.proto, t.kind),
	}
}

// setPacket makes k the key of the packet's tuple. It reads and writes whole words,
// each as it was written and will be read: store-to-load forwarding fails where the
// pieces differ.
func (k *flowKey) setPacket(p *forward.Packet) {
	k[0] = binary.LittleEndian.Uint64(p.Src[:8])
	k[1] = binary.LittleEndian.Uint64(p.Src[8:])
	k[2] = binary.LittleEndian.Uint64(p.Dst[:8])
	k[3] = binary.LittleEndian.Uint64(p.Dst[8:])
	k[4] = packPorts(p.SrcPort, p.DstPort, p.Proto, kindConn)
}

// keyOf is the key of a packet's tuple.
func keyOf(p *forward.Packet) (k flowKey) {
	k.setPacket(p)
	return k
}

// reverseKeyOf is the key of the packets that go the other way.
func reverseKeyOf(p *forward.Packet) flowKey {
	t := tuple{src: p.Dst, dst: p.Src, srcPort: p.DstPort, dstPort: p.SrcPort, proto: p.Proto}
	return t.key()
}

func packPorts(src, dst uint16, proto uint8, kind connKind) uint64 {
	return uint64(src)<<48 | uint64(dst)<<32 | uint64(proto)<<8 | uint64(kind)
}

func (k *flowKey) src() forward.Addr { return addrOf(k[0], k[1]) }
func (k *flowKey) dst() forward.Addr { return addrOf(k[2], k[3]) }
func (k *flowKey) srcPort() uint16   { return uint16(k[4] >> 48) }
func (k *flowKey) dstPort() uint16   { return uint16(k[4] >> 32) }
func (k *flowKey) proto() uint8      { return uint8(k[4] >> 8) }
func (k *flowKey) kind() connKind    { return connKind(k[4]) }

func (k *flowKey) source() netip.AddrPort {
	return netip.AddrPortFrom(k.src().Netip(), k.srcPort())
}

func (k *flowKey) destination() netip.AddrPort {
	return netip.AddrPortFrom(k.dst().Netip(), k.dstPort())
}

// addrOf is the address of two words of a key.
func addrOf(hi, lo uint64) (a forward.Addr) {
	putAddr(&a, hi, lo)
	return a
}

// putAddr is addrOf in place: to copy what was just written in halves stalls on
// store-to-load forwarding.
func putAddr(a *forward.Addr, hi, lo uint64) {
	binary.LittleEndian.PutUint64(a[:8], hi)
	binary.LittleEndian.PutUint64(a[8:], lo)
}

// mask keeps the first bits of an address.
func mask(a forward.Addr, bits int) forward.Addr {
	if bits == 128 {
		return a
	}
	a[bits/8] &= ^byte(0xff >> (bits % 8))
	clear(a[bits/8+1:])
	return a
}
