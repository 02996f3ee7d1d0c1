package forward

import "encoding/binary"

// Packets that golb sends itself, each in reply to a received one: ICMP errors, TCP
// resets, echo replies. Builders write into the caller's frame, from out.Head on, and set
// out.Tail, Port and Offload. out.Buf needs MaxReply bytes from out.Head on. The Ethernet
// addresses are those of the received frame, swapped. Source address and IPv4
// identification are the caller's choice (RFC 6864 §4.3: unique per source, destination
// and protocol).

// replyTTL is the TTL of packets that golb makes: the kernel's default.
const replyTTL = 64

// MaxReply is the length in bytes of the longest frame that TimeExceeded, TooBig,
// PortUnreachable, RelayICMPError and TCPReset write.
const MaxReply = EthernetLen + maxError6

// startReply writes the headers of a reply to p, fills q, which describes it, and returns
// the n bytes of IP payload for the caller to fill. It returns nil where out has too little
// room or src is of the other family.
func startReply(out *Frame, f *Frame, p *Packet, q *Packet, src Addr, proto, tos uint8, id uint16, df bool, n int) []byte {
	hl := ip4MinLen
	if p.Version == 6 {
		hl = ip6HeaderLen
	}
	size := EthernetLen + hl + n
	if src.Is4() != (p.Version == 4) || out.Head+size > len(out.Buf) {
		return nil
	}
	out.Tail = out.Head + size
	out.Port, out.Offload = f.Port, Offload{}
	b := out.Bytes()
	SetMACs(out, SrcMAC(f), DstMAC(f))
	setEtherType(b, p.Version)
	*q = Packet{
		Src: src, Dst: p.Src, Version: p.Version, Proto: proto, TTL: replyTTL, TOS: tos, DF: df,
		L3: EthernetLen, L4: EthernetLen + hl, Payload: EthernetLen + hl, End: size, SCTPChunk: SCTPNoChunk,
	}
	if p.Version == 4 {
		writeIPv4(b[EthernetLen:], q, id)
	} else {
		writeIPv6(b[EthernetLen:], q)
	}
	return b[q.L4:]
}

// writeIPv4 writes the header of the packet that q describes, without options, and sets
// q.FragID.
func writeIPv4(b []byte, q *Packet, id uint16) {
	h := ipv4(b[:ip4MinLen])
	h[ip4VerIHL] = 4<<4 | ip4MinLen/4
	h[ip4TOS] = q.TOS
	h.setTotalLen(q.End - q.L3)
	var frag uint16
	if q.DF {
		id, frag = 0, ip4DF // RFC 6864 §4.1: without meaning in an atomic datagram
	}
	h.setID(id)
	h.setFrag(frag)
	h[ip4TTL], h[ip4Proto] = q.TTL, q.Proto
	src, dst := binary.BigEndian.Uint32(q.Src[12:]), binary.BigEndian.Uint32(q.Dst[12:])
	binary.BigEndian.PutUint32(h[ip4Src:], src)
	binary.BigEndian.PutUint32(h[ip4Dst:], dst)
	// The sum is of the values: to load what was just stored would be slow (see copyAddr).
	h.setChecksum(^fold((4<<4|ip4MinLen/4)<<8 + uint32(q.TOS) + uint32(q.End-q.L3) + uint32(id) + uint32(frag) +
		uint32(q.TTL)<<8 + uint32(q.Proto) + src>>16 + src&0xffff + dst>>16 + dst&0xffff))
	q.FragID = uint32(id)
}

// writeIPv6 writes the header of the packet that q describes, with flow label 0.
func writeIPv6(b []byte, q *Packet) {
	h := ipv6(b[:ip6HeaderLen])
	h[0], h[1], h[2], h[3] = 6<<4|q.TOS>>4, q.TOS<<4, 0, 0
	h.setPayloadLen(q.End - q.L3 - ip6HeaderLen)
	h[ip6Next], h[ip6HopLimit] = q.Proto, q.TTL
	copyAddr((*Addr)(h[ip6Src:]), &q.Src)
	copyAddr((*Addr)(h[ip6Dst:]), &q.Dst)
}

// MayAnswer reports whether the packet may be answered with an ICMP error or a reset: not
// where it is an ICMP error or a later fragment, where its destination is a multicast or
// broadcast address of either layer, or its source not the address of one host (RFC 1122
// §3.2.2, RFC 4443 §2.4 (e)).
func MayAnswer(f *Frame, p *Packet) bool {
	return p.Frag != LaterFrag && !p.IsICMPError() && !DstMAC(f).IsGroup() && isHost(&p.Src) && !isGroup(&p.Dst)
}

// isHost reports whether a can be the address of one host, other than this one.
func isHost(a *Addr) bool {
	if isGroup(a) {
		return false
	}
	if a.Is4() {
		return a[12] != 0 && a[12] != 127 && a[12] < 240 // RFC 1122 §3.2.1.3
	}
	return *a != Addr{} && *a != Addr{15: 1}
}

// isGroup reports whether a is a multicast or the limited broadcast address.
func isGroup(a *Addr) bool {
	if a.Is4() {
		return a[12]>>4 == 14 || a.As4() == [4]byte{255, 255, 255, 255}
	}
	return a[0] == 0xff
}
