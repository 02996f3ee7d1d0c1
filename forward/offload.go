package forward

import (
	"encoding/binary"
	"hash/crc32"
)

// partialChecksum reports whether the transport header's own checksum is partial
// (CHECKSUM_PARTIAL): its field holds the pseudo-header's sum, not complemented, and
// whoever sends the frame completes it (virtio 1.2 §5.1.6.2).
func partialChecksum(f *Frame, p *Packet) bool {
	return f.Offload.NeedsCsum && int(f.Offload.CsumStart) == p.L4
}

// normalizeOffload brings a frame with offloads to a form that every kernel sends
// correctly:
//
//   - Kernels sum to the end of the frame, so padding is cut off.
//   - The offload header cannot say that a checksum is a CRC32c. A partial checksum of
//     SCTP would be completed as an Internet checksum, so it is computed here.
//   - Network cards that merge packets (LRO) pass super-packets without NeedsCsum, whose
//     checksum field is undefined. virtio 1.2 §5.1.6.2 requires NeedsCsum with every
//     super-packet, so the checksum is made partial.
func normalizeOffload(f *Frame, p *Packet) {
	if f.Offload.pending() {
		normalizePending(f, p)
	}
}

// pending reports whether the sender of the frame has a checksum to complete or segments
// to make.
func (o *Offload) pending() bool { return o.NeedsCsum || o.GSO != GSONone }

func normalizePending(f *Frame, p *Packet) {
	if f.Offload.NeedsCsum {
		f.Tail = f.Head + p.End
		if p.Proto == ProtoSCTP && partialChecksum(f, p) {
			FinishChecksum(f, p)
		}
		return
	}
	off, _ := checksumOffset(p.Proto)
	field := f.Bytes()[p.L4+off:]
	if p.Proto == ProtoUDP && binary.BigEndian.Uint16(field) == 0 {
		return
	}
	setPartialChecksum(f, p, off)
}

// setPartialChecksum makes the transport checksum, at off of the transport header, a
// partial one.
func setPartialChecksum(f *Frame, p *Packet, off int) {
	f.Tail = f.Head + p.End
	binary.BigEndian.PutUint16(f.Bytes()[p.L4+off:], pseudo(&p.Src, &p.Dst, p.Proto, p.End-p.L4))
	o := &f.Offload
	o.NeedsCsum, o.CsumStart, o.CsumOffset = true, uint16(p.L4), uint16(off)
}

// FinishChecksum completes a partial checksum in software and clears it from the offload
// header (skb_checksum_help). It cuts off Ethernet padding. A frame without a partial
// checksum is not changed, nor is a super-packet: see Segmenter.
func FinishChecksum(f *Frame, p *Packet) {
	o := &f.Offload
	if !o.NeedsCsum || o.GSO != GSONone {
		return
	}
	f.Tail = f.Head + p.End
	b := f.Bytes()
	start := int(o.CsumStart)
	if p.Proto == ProtoSCTP && start == p.L4 {
		fillCRC(b[start:])
	} else {
		field := b[start+int(o.CsumOffset):]
		binary.BigEndian.PutUint16(field, notZero(^sum(b[start:])))
	}
	o.NeedsCsum, o.CsumStart, o.CsumOffset = false, 0, 0
}

// notZero replaces a checksum of 0 by 0xffff, its equal in ones-complement arithmetic:
// in UDP 0 means that there is no checksum (RFC 768), elsewhere both are right.
func notZero(c uint16) uint16 {
	if c == 0 {
		return 0xffff
	}
	return c
}

// ChecksumOK reports whether the transport checksum is right. It computes it, except
// where it is partial or where the receiver has verified it (Offload.DataValid). It also
// reports true for a UDP packet without a checksum, for protocols that have none, and for
// fragments, of which one alone cannot be checked. f is unchanged afterwards.
func ChecksumOK(f *Frame, p *Packet) bool {
	if p.Frag != NotFrag || f.Offload.DataValid || partialChecksum(f, p) {
		return true
	}
	b := f.Bytes()[p.L4:p.End]
	switch p.Proto {
	case ProtoUDP:
		if binary.BigEndian.Uint16(b[udpChecksum:]) == 0 {
			return true
		}
		b = b[:binary.BigEndian.Uint16(b[udpLen:])]
	case ProtoTCP:
	case ProtoICMP, ProtoICMPv6:
		if !p.isICMP() {
			return true
		}
		if p.Version == 4 { // no pseudo-header (RFC 792)
			return sum(b) == 0xffff
		}
	case ProtoSCTP:
		return crcOK(b)
	default:
		return true
	}
	return add(sum(b), pseudo(&p.Src, &p.Dst, p.Proto, len(b))) == 0xffff
}

// castagnoli is the polynomial of SCTP's checksum (RFC 9260 appendix A).
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// fillCRC computes the checksum of an SCTP packet (RFC 9260 §6.8), which is on the wire
// in little-endian order.
func fillCRC(b []byte) {
	field := b[sctpChecksum : sctpChecksum+4]
	clear(field)
	binary.LittleEndian.PutUint32(field, crc32.Checksum(b, castagnoli))
}

// crcOK reports whether the checksum of an SCTP packet is right. b is unchanged
// afterwards.
func crcOK(b []byte) bool {
	field := b[sctpChecksum : sctpChecksum+4]
	old := binary.LittleEndian.Uint32(field)
	fillCRC(b)
	ok := binary.LittleEndian.Uint32(field) == old
	binary.LittleEndian.PutUint32(field, old)
	return ok
}
