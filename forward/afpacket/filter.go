package afpacket

import (
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/net/bpf"
)

// MaxFilter is the greatest number of instructions of a classic BPF program that
// Linux takes (BPF_MAXINSNS).
const MaxFilter = 4096

// Filter says which IP packets a port lets in. Everything else that the host
// receives is refused in the kernel, before it is copied or wakes anybody: other
// EtherTypes (so also ARP), frames for another host's MAC, frames of a VLAN other
// than the priority-tagged 0, and IPv6 neighbour and router discovery, which package
// arp hears on sockets of its own. Discovery messages behind extension headers are
// not recognised as such (RFC 6980 forbids at least fragmented ones).
//
// Non-initial fragments are let in as whole packets are: no port is looked at. The
// zero value lets nothing in.
type Filter struct {
	// VIPs are the destinations to let in.
	VIPs []netip.Prefix
	// Servers are the sources to let in, for the replies that NAT has to translate:
	// TCP, UDP, SCTP and ICMP alone, and over IPv6 also whatever starts with an
	// extension header.
	Servers []netip.Prefix
	// ICMP lets in ICMP and ICMPv6 whatever the addresses: routers between here and
	// the servers send errors about NAT's packets to the client, and about those of
	// tunnels to the host.
	ICMP bool
}

// Program returns the filter as a classic BPF program for Port.SetFilter. Where the
// prefixes need more than MaxFilter instructions (beyond some 3,000 scattered addresses,
// or 500 IPv6 ones that have no network in common; neighbouring ones count once), exact
// is false and the program lets in all IP that is for this host, discovery apart. An
// error names the invalid prefix; IPv4-mapped IPv6 is invalid.
func (f Filter) Program() (prog []bpf.RawInstruction, exact bool, err error) {
	for _, p := range slices.Concat(f.VIPs, f.Servers) {
		if !p.IsValid() || p.Addr().Is4In6() {
			return nil, false, fmt.Errorf("afpacket: filter: invalid prefix %q", p)
		}
	}
	ins := f.instructions()
	if exact = len(ins) <= MaxFilter; !exact {
		ins = anyIP()
	}
	prog, err = bpf.Assemble(ins)
	return prog, exact, err
}

// Offsets from the Ethernet header, and the values looked for there.
const (
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
	packetOtherHost   = 3   // skb->pkt_type PACKET_OTHERHOST; 4 is PACKET_OUTGOING
	vlanIDMask        = 0x0fff
	everyByte         = 1 << 18 // more than any frame is long
	wordBits, wordLen = 32, 4
)

// Protocols and, for IPv6, extension headers that a reply to NAT may start with.
var (
	replyProtos4 = [...]uint32{6, 17, 132, 1}
	replyProtos6 = [...]uint32{6, 17, 132, protoICMP6, 44, 0, 43, 60}
)

func (f Filter) instructions() []bpf.Instruction {
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

	a.forThisHost(a.etherTypes(v4, v6, drop), drop)
	return a.program()
}

// anyIP is what Filter falls back to.
func anyIP() []bpf.Instruction {
	var a assembler
	drop := a.emit(bpf.RetConstant{Val: 0})
	accept := a.emit(bpf.RetConstant{Val: everyByte})
	a.forThisHost(a.etherTypes(accept, a.exceptND(accept, drop), drop), drop)
	return a.program()
}

// anyFrame lets in all that is for this host, whatever the EtherType.
func anyFrame() []bpf.Instruction {
	var a assembler
	drop := a.emit(bpf.RetConstant{Val: 0})
	a.forThisHost(a.emit(bpf.RetConstant{Val: everyByte}), drop)
	return a.program()
}

// forThisHost goes on at next for untagged frames that are not for another host.
// Tags are looked for in the kernel's metadata alone: by the time a packet socket
// sees a frame, its tag has been taken off the bytes.
func (a *assembler) forThisHost(next, drop label) label {
	a.branch(bpf.JumpGreaterOrEqual, packetOtherHost, drop, next)
	next = a.emit(bpf.LoadExtension{Num: bpf.ExtType})
	a.branch(bpf.JumpEqual, 0, next, drop)
	a.emit(bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: vlanIDMask})
	return a.emit(bpf.LoadExtension{Num: bpf.ExtVLANTag})
}

func (a *assembler) etherTypes(v4, v6, drop label) label {
	next := a.branch(bpf.JumpEqual, etherTypeIPv6, v6, drop)
	a.branch(bpf.JumpEqual, etherTypeIPv4, v4, next)
	return a.emit(bpf.LoadAbsolute{Off: offEtherType, Size: 2})
}

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

// span is a range of values of one 32-bit word of an address. Where rest is nil, all
// addresses with such a word are meant; otherwise lo equals hi, and the next word
// decides.
type span struct {
	lo, hi uint32
	rest   []netip.Prefix
}

// ranges turns prefixes, sorted and none inside another, into disjoint ascending
// spans of their word-th word.
func ranges(prefixes []netip.Prefix, word int) []span {
	var spans []span
	for _, p := range prefixes {
		v := addrWord(p.Addr(), word)
		s := span{lo: v, hi: v}
		bits := p.Bits() - word*wordBits
		if bits > wordBits {
			s.rest = []netip.Prefix{p}
		} else {
			s.hi |= uint32(1<<(wordBits-bits) - 1)
		}
		last := len(spans) - 1
		switch {
		case last < 0:
			spans = append(spans, s)
		case s.rest != nil && spans[last].rest != nil && spans[last].lo == v:
			spans[last].rest = append(spans[last].rest, p)
		case s.rest == nil && spans[last].rest == nil && spans[last].hi+1 == v:
			spans[last].hi = s.hi
		default:
			spans = append(spans, s)
		}
	}
	return spans
}

func addrWord(a netip.Addr, word int) uint32 {
	b := a.AsSlice()[word*wordLen:]
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

// split sorts prefixes by family and address and leaves out those inside others.
func split(prefixes []netip.Prefix) (v4, v6 []netip.Prefix) {
	sorted := make([]netip.Prefix, 0, len(prefixes))
	for _, p := range prefixes {
		sorted = append(sorted, p.Masked())
	}
	slices.SortFunc(sorted, netip.Prefix.Compare)
	for i, p := range sorted {
		family := &v6
		if p.Addr().Is4() {
			family = &v4
		}
		if n := len(*family); i > 0 && n > 0 && (*family)[n-1].Overlaps(p) {
			continue
		}
		*family = append(*family, p)
	}
	return v4, v6
}
