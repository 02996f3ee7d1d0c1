package forward

import (
	"encoding/binary"
	"math/bits"
)

// Merger makes super-packets of packets of one flow in a batch, as the kernel's GRO does
// on receiving (net/ipv4/tcp_offload.c, udp_offload.c), for devices that do not. Sending
// costs per frame: one of 64 KiB costs little more than one of 1500 bytes.
//
// Packets are merged only where segmentation (TSO, USO, Segmenter) restores exactly the
// same packets, bit for bit. They have to have
//
//   - the same Ethernet and network headers, with consecutive IPv4 identifications, as
//     segmentation writes them;
//   - no IPv4 options, no IPv6 extension headers, and be no fragments;
//   - payloads of the same length, of which only the last may be shorter;
//   - checksums that are right (computed, verified by the receiver, or partial), so that
//     damage is not hidden;
//   - in TCP, consecutive sequence numbers and the same acknowledgment, window, flags and
//     options; PSH and FIN only in the last, CWR only in the first;
//   - in UDP, a checksum.
//
// Packets of one flow never overtake each other. Packets of different flows may.
//
// The zero value is ready to use. A Merger keeps only memory from one call to the next,
// and does not allocate. Not for concurrent use.
type Merger struct {
	held  [mergeSets * mergeWays]heldFrame // a set-associative table, by the flow's hash
	flows [mergeSets * mergeWays]uint32    // hashes
	open  uint64                           // bit i: held[i] is in use
}

// heldFrame is a frame that further packets of its flow may be appended to.
type heldFrame struct {
	at       int32  // index of the frame in the batch
	end      uint32 // offset of the end of its IP packet
	seq      uint32 // TCP sequence number of the packet to append
	l4       uint16 // offset of the transport header
	payload  uint16 // offset of the first payload byte
	size     uint16 // payload of each packet, in bytes
	id       uint16 // IPv4 identification of the packet to append
	proto    uint8
	count    uint8 // packets so far
	verified bool  // the first packet's checksums are right
}

const (
	mergeSets = 16
	mergeWays = 4

	// maxMerged bounds a super-packet with its Ethernet header, in bytes: one as long as
	// a device's gso_max_size, 64 KiB, the kernel segments in software.
	maxMerged = 65535
	// maxSegments bounds the packets in a super-packet: the smallest UDP_MAX_SEGMENTS of
	// any kernel.
	maxSegments = 64
)

// Merge merges what it can of frames, which are ready to be sent by one port, and returns
// those that are left: a prefix of frames, in order. It appends payloads in the buffer of
// a flow's first frame, as far as there is room after it. If udp is false it merges only
// TCP: kernels before 6.2 have no offload header for UDP.
func (m *Merger) Merge(frames []Frame, udp bool) []Frame {
	if len(frames) < 2 {
		return frames
	}
	kept := 0
	for i := range frames {
		if m.tryMerge(frames[:kept], &frames[i], udp) {
			continue
		}
		if kept != i {
			frames[kept] = frames[i]
		}
		kept++
	}
	m.flushAll(frames)
	return frames[:kept]
}

// tryMerge appends f to one of kept, the frames before it. If it returns false, f has to
// be kept.
func (m *Merger) tryMerge(kept []Frame, f *Frame, udp bool) bool {
	var c candidate
	switch c.read(f, udp) {
	case noFlow:
		return false
	case anyFlow:
		m.flushAll(kept)
		return false
	}
	i := m.find(c.flow)
	h := &m.held[i]
	if m.open>>i&1 != 0 && m.flows[i] == c.flow {
		if c.fits && h.append(&kept[h.at], f, &c) {
			if c.last || c.end-c.payload < int(h.size) || h.count == maxSegments {
				m.flush(i, kept)
			}
			return true
		}
		m.flush(i, kept)
	}
	if c.fits && !c.last {
		if m.open>>i&1 != 0 {
			m.flush(i, kept)
		}
		m.open |= 1 << i
		m.flows[i] = c.flow
		n := c.end - c.payload
		*h = heldFrame{
			at: int32(len(kept)), end: uint32(c.end), seq: c.seq + uint32(n), l4: uint16(c.l4), payload: uint16(c.payload),
			size: uint16(n), id: c.id + 1, proto: c.proto, count: 1,
		}
	}
	return false
}

// find returns the index in held of a flow, or where it is to be held: a free entry, or
// that of the flow whose frame is the oldest.
func (m *Merger) find(flow uint32) int {
	set := int(flow>>28) * mergeWays
	free, oldest := -1, set
	for i := set; i < set+mergeWays; i++ {
		switch {
		case m.open>>i&1 == 0:
			free = i
		case m.flows[i] == flow:
			return i
		case m.held[i].at < m.held[oldest].at:
			oldest = i
		}
	}
	if free >= 0 {
		return free
	}
	return oldest
}

func (m *Merger) flushAll(kept []Frame) {
	for m.open != 0 {
		m.flush(bits.TrailingZeros64(m.open), kept)
	}
}

// flush finishes a held frame: nothing more is appended to it.
func (m *Merger) flush(i int, kept []Frame) {
	m.open &^= 1 << i
	h := &m.held[i]
	h.finish(&kept[h.at])
}

// append appends c, which describes f, to the packets of h, which are in head. It returns
// false where it may not.
func (h *heldFrame) append(head, f *Frame, c *candidate) bool {
	n, end := c.end-c.payload, int(h.end)
	a, b := head.Bytes(), f.Bytes()
	switch {
	case n > int(h.size) || c.first || c.payload != int(h.payload) || c.proto != h.proto,
		end+n > maxMerged || head.Head+end+n > len(head.Buf),
		c.seq != h.seq && c.proto == ProtoTCP,
		!sameNetwork(a, b, h.id),
		c.proto == ProtoTCP && !sameTCP(a[h.l4:h.payload], b[c.l4:c.payload]),
		c.proto == ProtoUDP && binary.BigEndian.Uint32(a[h.l4:]) != binary.BigEndian.Uint32(b[c.l4:]):
		return false
	}
	if !h.verified && !checksumsValid(head, c.l4, end, h.proto) || !checksumsValid(f, c.l4, c.end, c.proto) {
		return false
	}
	copy(head.Buf[head.Head+end:], b[c.payload:c.end])
	if c.proto == ProtoTCP {
		a[h.l4+tcpFlags] |= b[c.l4+tcpFlags] & (FlagFIN | FlagPSH)
	}
	h.verified = true
	h.count++
	h.end += uint32(n)
	h.seq += uint32(n)
	h.id++
	return true
}

// finish makes f a super-packet if packets were appended to it: lengths, checksums,
// offload header.
func (h *heldFrame) finish(f *Frame) {
	if h.count < 2 {
		return
	}
	end := int(h.end)
	f.Tail = f.Head + end
	b := f.Bytes()
	o := Offload{NeedsCsum: true, GSOSize: h.size, HdrLen: h.payload, CsumStart: h.l4}
	n := end - int(h.l4)
	l4 := b[h.l4:]
	at := tcpChecksum
	if h.proto == ProtoUDP {
		at, o.GSO = udpChecksum, GSOUDPL4
		binary.BigEndian.PutUint16(l4[udpLen:], uint16(n))
	}
	v4 := b[EthernetLen]>>4 == 4
	if v4 {
		ip := ipv4(b[EthernetLen:])
		ip.setTotalLen(end - EthernetLen)
		ip.fillChecksum()
	} else {
		ipv6(b[EthernetLen:]).setPayloadLen(n)
	}
	if h.proto == ProtoTCP {
		o.GSO = GSOTCPv6
		if v4 {
			o.GSO = GSOTCPv4
		}
		if l4[tcpFlags]&FlagCWR != 0 {
			o.GSO |= GSOECN
		}
	}
	o.CsumOffset = uint16(at)
	binary.BigEndian.PutUint16(l4[at:], pseudoOf(b, h.proto, n))
	f.Offload = o
}
