package forward

import (
	"encoding/binary"
	"math/bits"
)

// Merger makes super-packets of neighbours: of packets of one flow that follow each
// other in a batch, as the kernel's GRO does on receiving (net/ipv4/tcp_offload.c,
// udp_offload.c), for devices that do not. Sending costs per frame, so one of 64 KiB
// costs little more than one of 1500 bytes.
//
// What is merged is what segmentation (TSO, USO, Segmenter) takes apart into exactly
// the packets that were merged, bit for bit: the same Ethernet and network headers;
// consecutive IPv4 identifications, since those are what segmentation writes; no IPv4
// options, IPv6 extension headers or fragments; all of one payload size, but the last
// may be shorter; checksums that are right or known to be, so that no damage is
// hidden. Of TCP also: the next sequence number, the same acknowledgement, window,
// flags and options; PSH and FIN on the last alone, CWR on the first alone. Of UDP: a
// checksum.
//
// Packets of a flow never overtake each other. Packets of different flows may.
//
// The zero value is ready. A Merger keeps nothing between calls but memory, and does
// not allocate. Not for concurrent use.
type Merger struct {
	held  [mergeSets * mergeWays]heldFrame // sets by the flow's hash
	flows [mergeSets * mergeWays]uint32
	open  uint64 // which of held are in use, by bit
}

// held is a frame that the next packets of its flow may be appended to.
type heldFrame struct {
	at       int32 // index of the frame
	end      uint32
	seq      uint32 // TCP: the next
	l4       uint16
	payload  uint16 // offset of the first payload byte
	size     uint16 // payload of each packet
	id       uint16 // IPv4: the next
	proto    uint8
	count    uint8 // packets so far
	verified bool
}

const (
	mergeSets = 16
	mergeWays = 4

	// maxMerged bounds a super-packet with its Ethernet header: the kernel segments in
	// software what is not shorter than a device's gso_max_size, 64 KiB.
	maxMerged = 65535
	// maxSegments is how many packets become one at most: the least that all kernels
	// take for UDP (UDP_MAX_SEGMENTS).
	maxSegments = 64
)

// Merge merges what it can of frames, which are to leave by one port and are finished
// but for their offload headers, and returns those that are left, in order, at the
// beginning of frames. Payload is appended in the buffer of a flow's first frame, as
// far as there is room behind it. With udp unset only TCP is merged: kernels before
// 6.2 have no offload header for UDP.
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

// take reports whether f became part of one of kept, else it is the next of them.
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

// find returns where a flow is held, or else is to be: at a free place, or that of the
// flow that has been held longest.
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

// close ends a flow that is held.
func (m *Merger) flush(i int, kept []Frame) {
	m.open &^= 1 << i
	h := &m.held[i]
	h.finish(&kept[h.at])
}

// append puts c, which is f, behind the packets of h, which are head, or reports false.
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

// finish makes a super-packet of what was appended to f: lengths, checksums, offload
// header.
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
