package forward

import (
	"encoding/binary"
	"hash/crc32"
)

// unfinished reports whether the transport header's own checksum is the one that
// the offload header leaves to be computed, so that its field holds a
// pseudo-header's sum, not complemented (virtio 1.2 §5.1.6.2).
func partialChecksum(f *Frame, p *Packet) bool {
	return f.Offload.NeedsCsum && int(f.Offload.CsumStart) == p.L4
}

// settle brings a frame whose offload header is not empty to a form that every
// kernel sends right.
//
//   - Kernels sum to the end of the frame, so padding goes.
//   - The offload header cannot say that a checksum is a CRC32c, so an unfinished
//     one of SCTP would be sent as an Internet checksum: it is computed here.
//   - Receivers that merge in hardware (LRO) hand up super-packets without
//     NeedsCsum, their checksum field undefined; virtio 1.2 §5.1.6.2 wants
//     NeedsCsum with every super-packet.
func normalizeOffload(f *Frame, p *Packet) {
	if f.Offload.pending() {
		normalizePending(f, p)
	}
}

// pending reports whether something is left to do to the frame.
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

// leaveChecksum makes the transport checksum an unfinished one: the
// pseudo-header's sum in the field at off, the rest in the offload header.
func setPartialChecksum(f *Frame, p *Packet, off int) {
	f.Tail = f.Head + p.End
	binary.BigEndian.PutUint16(f.Bytes()[p.L4+off:], pseudo(&p.Src, &p.Dst, p.Proto, p.End-p.L4))
	o := &f.Offload
	o.NeedsCsum, o.CsumStart, o.CsumOffset = true, uint16(p.L4), uint16(off)
}

// FinishChecksum computes the checksum that the offload header leaves to be
// computed, in software, and takes it off the offload header. Padding goes. A
// frame that needs none, or is a super-packet (see Segmenter), is not changed.
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

// notZero turns a checksum of 0 into its other representation: in UDP 0 means
// that there is none (RFC 768), elsewhere both are right.
func notZero(c uint16) uint16 {
	if c == 0 {
		return 0xffff
	}
	return c
}

// ChecksumOK reports whether the transport checksum is right, or is known to be:
// unfinished ones and those that the receiver verified are. So are a UDP checksum
// of 0, protocols that have none, and fragments, of which it cannot be told. f is
// as it was afterwards.
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

// fillCRC computes the checksum of an SCTP packet (RFC 9260 §6.8). It goes on
// the wire least significant byte first.
func fillCRC(b []byte) {
	field := b[sctpChecksum : sctpChecksum+4]
	clear(field)
	binary.LittleEndian.PutUint32(field, crc32.Checksum(b, castagnoli))
}

// crcOK reports whether the checksum of an SCTP packet is right. It leaves b as
// it was.
func crcOK(b []byte) bool {
	field := b[sctpChecksum : sctpChecksum+4]
	old := binary.LittleEndian.Uint32(field)
	fillCRC(b)
	ok := binary.LittleEndian.Uint32(field) == old
	binary.LittleEndian.PutUint32(field, old)
	return ok
}
