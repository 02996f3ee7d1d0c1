package forward

import (
	"encoding/binary"
	"net/netip"
)

// Test frames are built here without the code under test.

var (
	client4 = addr("172.16.5.5")
	vip4    = addr("10.0.0.100")
	server4 = addr("10.9.1.1")
	client6 = addr("2001:db8::5")
	vip6    = addr("fd00:1::100")
	server6 = addr("fd00:9::1:1")
	local4  = addr("10.9.0.1")
	local6  = addr("fd00:9::1")

	macA = MAC{2, 0, 0, 0, 0, 0xfe}
	macB = MAC{2, 0, 0, 0, 0, 0x66}
	macC = MAC{2, 0, 0, 0, 0, 1}
)

func addr(s string) Addr { return AddrFrom(netip.MustParseAddr(s)) }

// tb is what *testing.T, *testing.F and *rapid.T have in common.
type tb interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

// frameOf puts an IP packet after an Ethernet header, in a buffer with headroom before
// the frame and slack free bytes after it.
func frameOf(packet []byte, slack int) *Frame {
	b := make([]byte, Headroom+EthernetLen+len(packet)+slack)
	f := &Frame{Buf: b, Head: Headroom, Tail: Headroom + EthernetLen + len(packet)}
	e := b[Headroom:]
	copy(e, macB[:])
	copy(e[6:], macA[:])
	e[12], e[13] = 0x08, 0x00
	if len(packet) > 0 && packet[0]>>4 == 6 {
		e[12], e[13] = 0x86, 0xdd
	}
	copy(e[EthernetLen:], packet)
	return f
}

func packetOf(f *Frame) []byte { return f.Bytes()[EthernetLen:] }

// mustParse parses a frame, which must be valid.
func mustParse(t tb, f *Frame) *Packet {
	t.Helper()
	p := new(Packet)
	if r := Parse(f, p); r != None {
		t.Fatalf("Parse: %v of % x", r, f.Bytes()[:min(f.Len(), 100)])
	}
	return p
}

// spec describes a packet to build. A TTL of 0 becomes 61.
type spec struct {
	src, dst     Addr
	sport, dport uint16
	proto        uint8
	ttl, tos     uint8
	df           bool
	id           uint16
	options      []byte // IPv4 options, or IPv6 extension headers, the first one's type in ext
	ext          uint8
	flags        uint8 // TCP
	tcpOptions   []byte
	seq, ack     uint32
	payload      []byte // ICMP: from the type on
	noChecksum   bool   // UDP
}

// refSum is the sum of RFC 1071 in its simplest form.
func refSum(parts ...[]byte) uint16 {
	var all []byte
	for _, b := range parts {
		all = append(all, b...)
	}
	if len(all)%2 == 1 {
		all = append(all, 0)
	}
	var s uint32
	for i := 0; i < len(all); i += 2 {
		s += uint32(all[i])<<8 | uint32(all[i+1])
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

// refCRC is CRC32c, bit by bit.
func refCRC(b []byte) uint32 {
	c := ^uint32(0)
	for _, x := range b {
		c ^= uint32(x)
		for range 8 {
			if c&1 != 0 {
				c = c>>1 ^ 0x82f63b78
			} else {
				c >>= 1
			}
		}
	}
	return ^c
}

// refPseudo is the pseudo-header, written out.
func refPseudo(src, dst Addr, proto uint8, n int) []byte {
	if src.Is4() {
		s, d := src.As4(), dst.As4()
		return append(append(s[:], d[:]...), 0, proto, byte(n>>8), byte(n))
	}
	b := append(append([]byte{}, src[:]...), dst[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(n))
	return append(b, 0, 0, 0, proto)
}

// build returns the IP packet with correct checksums.
func (s spec) build() []byte {
	if s.ttl == 0 {
		s.ttl = 61
	}
	return s.header(s.transport())
}

func (s spec) header(l4 []byte) []byte {
	var h []byte
	if s.src.Is4() {
		opts := append([]byte{}, s.options...)
		for len(opts)%4 != 0 {
			opts = append(opts, 0)
		}
		hl := 20 + len(opts)
		h = make([]byte, 20, hl+len(l4))
		h[0] = 0x40 | byte(hl/4)
		h[1] = s.tos
		binary.BigEndian.PutUint16(h[2:], uint16(hl+len(l4)))
		binary.BigEndian.PutUint16(h[4:], s.id)
		if s.df {
			h[6] = 0x40
		}
		h[8], h[9] = s.ttl, s.proto
		src, dst := s.src.As4(), s.dst.As4()
		copy(h[12:], src[:])
		copy(h[16:], dst[:])
		h = append(h, opts...)
		binary.BigEndian.PutUint16(h[10:], ^refSum(h))
		return append(h, l4...)
	}
	h = make([]byte, 40, 40+len(s.options)+len(l4))
	h[0], h[1], h[3] = 0x60|s.tos>>4, s.tos<<4, 0x45
	binary.BigEndian.PutUint16(h[4:], uint16(len(s.options)+len(l4)))
	h[6], h[7] = s.proto, s.ttl
	if len(s.options) > 0 {
		h[6] = s.ext
	}
	copy(h[8:], s.src[:])
	copy(h[24:], s.dst[:])
	return append(append(h, s.options...), l4...)
}

func (s spec) transport() []byte {
	var h []byte
	at := 0
	switch s.proto {
	case ProtoTCP:
		opts := append([]byte{}, s.tcpOptions...)
		for len(opts)%4 != 0 {
			opts = append(opts, 1)
		}
		h = make([]byte, 20)
		binary.BigEndian.PutUint32(h[4:], s.seq)
		binary.BigEndian.PutUint32(h[8:], s.ack)
		h[12], h[13] = byte(5+len(opts)/4)<<4, s.flags
		h[14], h[15] = 0x72, 0x10
		h = append(h, opts...)
		at = 16
	case ProtoUDP:
		h = make([]byte, 8)
		binary.BigEndian.PutUint16(h[4:], uint16(8+len(s.payload)))
		at = 6
	case ProtoSCTP:
		h = make([]byte, 12)
		binary.BigEndian.PutUint32(h[4:], s.seq)
	case ProtoICMP, ProtoICMPv6:
		at = 2
	default:
		return s.payload
	}
	if len(h) > 0 {
		binary.BigEndian.PutUint16(h, s.sport)
		binary.BigEndian.PutUint16(h[2:], s.dport)
	}
	b := append(h, s.payload...)
	switch {
	case s.proto == ProtoSCTP:
		binary.LittleEndian.PutUint32(b[8:], refCRC(b))
	case s.proto == ProtoUDP && s.noChecksum:
	case s.proto == ProtoICMP:
		b[2], b[3] = 0, 0
		binary.BigEndian.PutUint16(b[2:], ^refSum(b))
	default:
		b[at], b[at+1] = 0, 0
		c := ^refSum(refPseudo(s.src, s.dst, s.proto, len(b)), b)
		if c == 0 && s.proto == ProtoUDP {
			c = 0xffff
		}
		binary.BigEndian.PutUint16(b[at:], c)
	}
	return b
}

// makePartial makes the packet's transport checksum a partial one, as a sender with
// checksum offload does.
func makePartial(t tb, f *Frame) {
	p := mustParse(t, f)
	off := map[uint8]int{ProtoTCP: 16, ProtoUDP: 6, ProtoSCTP: 8, ProtoICMPv6: 2}[p.Proto]
	f.Offload.NeedsCsum = true
	f.Offload.CsumStart, f.Offload.CsumOffset = uint16(p.L4), uint16(off)
	b := f.Bytes()[p.L4:p.End]
	if p.Proto == ProtoSCTP {
		copy(b[8:12], []byte{0, 0, 0, 0})
		return
	}
	binary.BigEndian.PutUint16(b[off:], refSum(refPseudo(p.Src, p.Dst, p.Proto, len(b))))
}

// check checks all length fields and checksums of a packet, and of those inside IPIP,
// GRE and GUE, without the code under test. It completes a partial checksum first, on a
// copy, as the kernel would.
func check(t tb, f *Frame) {
	t.Helper()
	b := append([]byte{}, f.Bytes()...)
	o := f.Offload
	if o.NeedsCsum {
		s, at := int(o.CsumStart), int(o.CsumStart)+int(o.CsumOffset)
		if at+2 > len(b) {
			t.Fatalf("offload: checksum at %d of %d bytes", at, len(b))
		}
		c := ^refSum(b[s:])
		if c == 0 {
			c = 0xffff
		}
		binary.BigEndian.PutUint16(b[at:], c)
	}
	want := byte(4)
	if b[12] == 0x86 && b[13] == 0xdd {
		want = 6
	} else if b[12] != 8 || b[13] != 0 {
		t.Fatalf("EtherType %x", b[12:14])
	}
	checkIP(t, b[14:], want)
}

func checkIP(t tb, b []byte, version byte) {
	t.Helper()
	if len(b) < 20 || b[0]>>4 != version {
		t.Fatalf("IP version %d, want %d", b[0]>>4, version)
	}
	var src, dst Addr
	var proto uint8
	var l4 []byte
	frag := false
	if version == 4 {
		hl := int(b[0]&15) * 4
		n := int(b[2])<<8 | int(b[3])
		if n > len(b) {
			t.Fatalf("IPv4 length %d of %d bytes", n, len(b))
		}
		if refSum(b[:hl]) != 0xffff {
			t.Fatalf("IPv4 header checksum of % x", b[:hl])
		}
		src, dst = AddrFrom4([4]byte(b[12:16])), AddrFrom4([4]byte(b[16:20]))
		frag = b[6]&0x3f != 0 || b[7] != 0
		proto, l4 = b[9], b[hl:n]
	} else {
		n := 40 + (int(b[4])<<8 | int(b[5]))
		if n > len(b) {
			t.Fatalf("IPv6 length %d of %d bytes", n, len(b))
		}
		src, dst = Addr(b[8:24]), Addr(b[24:40])
		proto, l4 = b[6], b[40:n]
		for proto == 0 || proto == 43 || proto == 44 || proto == 60 {
			size := (int(l4[1]) + 1) * 8
			if proto == 44 {
				size = 8
				frag = frag || l4[2] != 0 || l4[3]&^6 != 0
			}
			proto, l4 = l4[0], l4[size:]
		}
	}
	if !frag {
		checkTransport(t, l4, src, dst, proto)
	}
}

func checkTransport(t tb, b []byte, src, dst Addr, proto uint8) {
	t.Helper()
	ps := refPseudo(src, dst, proto, len(b))
	switch proto {
	case ProtoTCP:
		if refSum(ps, b) != 0xffff {
			t.Fatalf("TCP checksum %x of %d bytes", b[16:18], len(b))
		}
	case ProtoUDP:
		if n := int(b[4])<<8 | int(b[5]); n != len(b) {
			t.Fatalf("UDP length %d of %d bytes", n, len(b))
		}
		if (b[6] != 0 || b[7] != 0) && refSum(ps, b) != 0xffff {
			t.Fatalf("UDP checksum %x of %d bytes", b[6:8], len(b))
		}
		if b[2] == guePort>>8 && b[3] == guePort&0xff {
			checkIP(t, b[12:], map[byte]byte{4: 4, 41: 6}[b[9]])
		}
	case ProtoSCTP:
		c := binary.LittleEndian.Uint32(b[8:])
		z := append([]byte{}, b...)
		copy(z[8:12], []byte{0, 0, 0, 0})
		if refCRC(z) != c {
			t.Fatalf("SCTP checksum %x of %d bytes", c, len(b))
		}
	case ProtoICMP:
		if refSum(b) != 0xffff {
			t.Fatalf("ICMP checksum %x of %d bytes", b[2:4], len(b))
		}
	case ProtoICMPv6:
		if refSum(ps, b) != 0xffff {
			t.Fatalf("ICMPv6 checksum %x of %d bytes", b[2:4], len(b))
		}
	case ProtoIPIP:
		checkIP(t, b, 4)
	case ProtoIPv6:
		checkIP(t, b, 6)
	case ProtoGRE:
		n := 4
		if b[0]&0x80 != 0 {
			n = 8
			if refSum(b) != 0xffff {
				t.Fatalf("GRE checksum %x", b[4:6])
			}
		}
		checkIP(t, b[n:], map[byte]byte{0x08: 4, 0x86: 6}[b[2]])
	}
}

const guePort = 6080
