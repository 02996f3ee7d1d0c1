package benchmarks

import (
	"encoding/binary"
	"net/netip"

	"github.com/golb/golb/forward"
)

// A flow is a number. What its packets look like follows from it by arithmetic
// alone, so that making them costs no memory access that would count as golb's: of
// eight flows five are TCP and one is UDP over IPv4, one is TCP and one is UDP over
// IPv6.
const (
	kinds     = 8
	tcp4Kinds = 5 // the first
)

// kind is what flows of the same number modulo kinds have in common.
type kind struct {
	template [templateLen]byte // a frame from the client
	length   int
	v6, udp  bool
	sum      uint32 // of the IPv4 header, without what differs
}

const (
	templateLen = 96
	vipPort     = 80
	clientMAC   = "\x02\x00\x00\x00\x00\xfe"
	portMAC     = "\x02\x00\x00\x00\x00\x01"
)

var (
	vip4 = netip.MustParseAddr("192.0.2.80")
	vip6 = netip.MustParseAddr("2001:db8::80")
)

// addressOf and portOf are the client of a flow. Each client has one.
func addressOf(flow uint32) uint32 { return 10<<24 | flow }
func portOf(flow uint32) uint16    { return uint16(flow*40503) | 1024 }

// Offsets into a frame.
const (
	l3       = forward.EthernetLen
	src4     = l3 + 12
	dst4     = l3 + 16
	sum4     = l3 + 10
	l44      = l3 + 20
	src6     = l3 + 8
	dst6     = l3 + 24
	l46      = l3 + 40
	tcpFlags = 13
)

// newKind builds the frame that the client of a kind sends, or, with a server,
// what that server answers.
func newKind(i int, server netip.Addr) kind {
	k := kind{v6: i >= 6, udp: i == tcp4Kinds || i == 7}
	b := k.template[:]
	copy(b, portMAC+clientMAC)
	l4, transport := l44, 20+10 // ten bytes of payload
	if k.udp {
		transport = 8 + 22
	}
	proto := byte(forward.ProtoTCP)
	if k.udp {
		proto = forward.ProtoUDP
	}
	src, dst := src4, dst4
	if k.v6 {
		l4, src, dst = l46, src6, dst6
		b[12], b[13] = 0x86, 0xdd
		b[l3] = 6 << 4
		binary.BigEndian.PutUint16(b[l3+4:], uint16(transport))
		b[l3+6], b[l3+7] = proto, 64
	} else {
		b[12], b[13] = 0x08, 0x00
		b[l3] = 4<<4 | 5
		binary.BigEndian.PutUint16(b[l3+2:], uint16(20+transport))
		b[l3+8], b[l3+9] = 64, proto
	}
	vip, far := vip4, netip.AddrFrom4([4]byte{})
	if k.v6 {
		vip, far = vip6, netip.MustParseAddr("2001:db8:1::")
	}
	near := l4 + 2 // of the VIP's port
	if server.IsValid() {
		src, dst, vip, near = dst, src, server, l4
		copy(b[6:], serverMAC(server))
	}
	copy(b[src:], far.AsSlice())
	copy(b[dst:], vip.AsSlice())
	binary.BigEndian.PutUint16(b[near:], vipPort)
	if k.udp {
		binary.BigEndian.PutUint16(b[l4+4:], uint16(transport))
		binary.BigEndian.PutUint16(b[l4+6:], 0x1234)
	} else {
		b[l4+12], b[l4+tcpFlags] = 5<<4, forward.FlagACK
	}
	k.length = l4 + transport
	if !k.v6 {
		for at := l3; at < l44; at += 2 {
			k.sum += uint32(binary.BigEndian.Uint16(b[at:]))
		}
	}
	return k
}

// write makes a packet of a flow from its client, or to it.
func (k *kind) write(b []byte, flow uint32, reply bool) int {
	*(*[templateLen]byte)(b) = k.template
	addr, port := addressOf(flow), portOf(flow)
	at, l4 := src4, l44
	if k.v6 {
		at, l4 = src6+12, l46
	}
	if reply {
		l4 += 2
		at += dst4 - src4
		if k.v6 {
			at += dst6 - src6 - (dst4 - src4)
		}
	}
	binary.BigEndian.PutUint32(b[at:], addr)
	binary.BigEndian.PutUint16(b[l4:], port)
	if !k.v6 {
		sum := k.sum + addr>>16 + addr&0xffff
		sum = sum>>16 + sum&0xffff
		binary.BigEndian.PutUint16(b[sum4:], ^uint16(sum>>16+sum))
	}
	return k.length
}

func serverMAC(a netip.Addr) string {
	b := a.As16()
	return string([]byte{2, 1, b[0], b[1], b[14], b[15]})
}
