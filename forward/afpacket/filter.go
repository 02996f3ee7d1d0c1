package afpacket

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/golb/golb/forward"
	"golang.org/x/net/bpf"
)

// maxInstructions is the length of the longest classic BPF program that Linux takes
// (BPF_MAXINSNS).
const maxInstructions = 4096

// compile makes a classic BPF program of a filter, for a port that has the virtual MACs
// macs. Where the prefixes need more than maxInstructions, exact is false and the program
// lets in every IP packet that is for this host, apart from discovery.
func compile(f forward.Filter, macs []forward.MAC) (prog []bpf.RawInstruction, exact bool, err error) {
	for _, p := range slices.Concat(f.VIPs, f.Servers) {
		if !p.IsValid() || p.Addr().Is4In6() {
			return nil, false, fmt.Errorf("invalid prefix %q", p)
		}
	}
	ins := instructions(f, macs)
	if exact = len(ins) <= maxInstructions; !exact {
		ins = anyIP(macs)
	}
	prog, err = bpf.Assemble(ins)
	return prog, exact, err
}

// Offsets from the Ethernet header, and the values expected there.
const (
	offDstMAC    = 0
	offEtherType = 12

	offProto4 = 14 + 9
	offSrc4   = 14 + 12
	offDst4   = 14 + 16

	offNext6 = 14 + 6
	offSrc6  = 14 + 8
	offDst6  = 14 + 24
	offICMP6 = 14 + 40

	etherTypeIPv4 = 0x0800
	etherTypeIPv6 = 0x86dd

	protoICMP4        = 1
	protoICMP6        = 58
	icmp6FirstND      = 133 // router solicitation, RFC 4861
	icmp6LastND       = 137 // redirect
	packetOtherHost   = 3   // skb->pkt_type PACKET_OTHERHOST; PACKET_OUTGOING is 4
	vlanIDMask        = 0x0fff
	everyByte         = 1 << 20 // more than any frame is long
	wordBits, wordLen = 32, 4
)

// Protocols and, for IPv6, extension headers that a reply to NAT may start with.
var (
	replyProtos4 = [...]uint32{6, 17, 132, 1}
	replyProtos6 = [...]uint32{6, 17, 132, protoICMP6, 44, 0, 43, 60}
)

// instructions is the program of a filter, of any length.
func instructions(f forward.Filter, macs []forward.MAC) []bpf.Instruction {
	vips4, vips6 := split(f.VIPs)
	servers4, servers6 := split(f.Servers)

	var a assembler
	drop := a.emit(bpf.RetConstant{Val: 0})
	accept := a.emit(bpf.RetConstant{Val: everyByte})
	icmp := drop
	if f.ICMP {
		icmp = accept
	}

	miss := a.protocols([]uint32{protoICMP6}, offNext6, icmp, drop)
	miss = a.protocols(replyProtos6[:], offNext6, a.search(servers6, offSrc6, 0, accept, miss), miss)
	v6 := a.exceptND(a.search(vips6, offDst6, 0, accept, miss), drop)

	miss = a.protocols([]uint32{protoICMP4}, offProto4, icmp, drop)
	miss = a.protocols(replyProtos4[:], offProto4, a.search(servers4, offSrc4, 0, accept, miss), miss)
	v4 := a.search(vips4, offDst4, 0, accept, miss)

	a.forThisHost(macs, a.etherTypes(v4, v6, drop), drop)
	return a.program()
}

// anyIP is the program that takes the place of one that is too long.
func anyIP(macs []forward.MAC) []bpf.Instruction {
	var a assembler
	drop := a.emit(bpf.RetConstant{Val: 0})
	accept := a.emit(bpf.RetConstant{Val: everyByte})
	a.forThisHost(macs, a.etherTypes(accept, a.exceptND(accept, drop), drop), drop)
	return a.program()
}

// forThisHost goes on at next for untagged frames that the kernel has not marked as
// another host's, or that are for one of macs. It looks for VLAN tags only in the kernel's
// metadata: when a packet socket gets a frame, the tag is no longer in its bytes. Where there
// is none, as on a VLAN device, kernels before 6.2 leave the old tag there.
func (a *assembler) forThisHost(macs []forward.MAC, next, drop label) label {
	other := drop
	if len(macs) > 0 {
		other = a.branch(bpf.JumpEqual, packetOtherHost, a.dstMAC(macs, next, drop), drop)
	}
	a.branch(bpf.JumpGreaterOrEqual, packetOtherHost, other, next)
	next = a.emit(bpf.LoadExtension{Num: bpf.ExtType})
	a.branch(bpf.JumpEqual, 0, next, drop)
	a.emit(bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: vlanIDMask})
	tagged := a.emit(bpf.LoadExtension{Num: bpf.ExtVLANTag})
	a.branch(bpf.JumpEqual, 0, next, tagged)
	return a.emit(bpf.LoadExtension{Num: bpf.ExtVLANTagPresent})
}

// dstMAC goes on at next if the Ethernet destination is one of macs. It compares the first
// four bytes, which many virtual MACs share, and then the last two.
func (a *assembler) dstMAC(macs []forward.MAC, next, drop label) label {
	ends := make(map[uint32][]uint32)
	var starts []uint32
	for _, m := range macs {
		start := binary.BigEndian.Uint32(m[:])
		if ends[start] == nil {
			starts = append(starts, start)
		}
		ends[start] = append(ends[start], uint32(binary.BigEndian.Uint16(m[4:])))
	}
	other := drop
	for _, start := range starts {
		end := drop
		for _, e := range ends[start] {
			end = a.branch(bpf.JumpEqual, e, next, end)
		}
		end = a.emit(bpf.LoadAbsolute{Off: offDstMAC + 4, Size: 2})
		other = a.branch(bpf.JumpEqual, start, end, other)
	}
	return a.emit(bpf.LoadAbsolute{Off: offDstMAC, Size: wordLen})
}

// etherTypes goes on at v4 or v6, by the EtherType.
func (a *assembler) etherTypes(v4, v6, drop label) label {
	next := a.branch(bpf.JumpEqual, etherTypeIPv6, v6, drop)
	a.branch(bpf.JumpEqual, etherTypeIPv4, v4, next)
	return a.emit(bpf.LoadAbsolute{Off: offEtherType, Size: 2})
}

// exceptND goes on at next for IPv6 packets other than neighbor and router discovery.
func (a *assembler) exceptND(next, drop label) label {
	low := a.branch(bpf.JumpGreaterThan, icmp6LastND, next, drop)
	a.branch(bpf.JumpGreaterOrEqual, icmp6FirstND, low, next)
	icmp := a.emit(bpf.LoadAbsolute{Off: offICMP6, Size: 1})
	a.branch(bpf.JumpEqual, protoICMP6, icmp, next)
	return a.emit(bpf.LoadAbsolute{Off: offNext6, Size: 1})
}

// protocols goes on at next if the byte at off is one of protos.
func (a *assembler) protocols(protos []uint32, off uint32, next, drop label) label {
	if next == drop {
		return drop
	}
	other := drop
	for _, p := range protos {
		other = a.branch(bpf.JumpEqual, p, next, other)
	}
	return a.emit(bpf.LoadAbsolute{Off: off, Size: 1})
}

// span is a range of values of one 32-bit word of an address. If longer is nil, it stands
// for every address with such a word. Otherwise lo equals hi, and the next word decides:
// longer are the prefixes that go on beyond this word.
type span struct {
	lo, hi uint32
	longer []netip.Prefix
}

// ranges turns prefixes, sorted and none inside another, into disjoint ascending spans of
// word number word.
func ranges(prefixes []netip.Prefix, word int) []span {
	var spans []span
	for _, p := range prefixes {
		v := addrWord(p.Addr(), word)
		s := span{lo: v, hi: v}
		bits := p.Bits() - word*wordBits
		if bits > wordBits {
			s.longer = []netip.Prefix{p}
		} else {
			s.hi |= uint32(1<<(wordBits-bits) - 1)
		}
		last := len(spans) - 1
		switch {
		case last < 0:
			spans = append(spans, s)
		case s.longer != nil && spans[last].longer != nil && spans[last].lo == v:
			spans[last].longer = append(spans[last].longer, p)
		case s.longer == nil && spans[last].longer == nil && spans[last].hi+1 == v:
			spans[last].hi = s.hi
		default:
			spans = append(spans, s)
		}
	}
	return spans
}

func addrWord(a netip.Addr, word int) uint32 {
	return binary.BigEndian.Uint32(a.AsSlice()[word*wordLen:])
}

// split sorts prefixes by family and address, and leaves out those inside others.
func split(prefixes []netip.Prefix) (v4, v6 []netip.Prefix) {
	sorted := make([]netip.Prefix, 0, len(prefixes))
	for _, p := range prefixes {
		sorted = append(sorted, p.Masked())
	}
	slices.SortFunc(sorted, netip.Prefix.Compare)
	for _, p := range sorted {
		family := &v6
		if p.Addr().Is4() {
			family = &v4
		}
		if n := len(*family); n > 0 && (*family)[n-1].Overlaps(p) {
			continue
		}
		*family = append(*family, p)
	}
	return v4, v6
}
