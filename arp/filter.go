package arp

import "golang.org/x/net/bpf"

const (
	etherTypeARP  = 0x0806
	etherTypeIPv6 = 0x86dd
)

// filter returns the socket filter of a protocol. It drops frames of other VLANs, and IPv6
// packets other than neighbor solicitations and advertisements. Everything else is checked,
// and counted, by parse.
func filter(p protocol) ([]bpf.RawInstruction, error) {
	const (
		drop, accept = 0, 1 << 16
		otherHost    = 3 // PACKET_OTHERHOST
		groupBit     = 1
		nextHeader   = 14 + 6
		icmpType     = 14 + ipv6HeaderLen
	)
	// A frame of a VLAN that the host has no interface for comes without its tag, as
	// PACKET_OTHERHOST. A multicast or broadcast frame is of that type for no other reason.
	// A unicast frame may be for a virtual MAC of the link.
	ours := []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: otherHost, SkipTrue: 3},
		bpf.LoadAbsolute{Off: 0, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: groupBit, SkipTrue: 1},
		bpf.RetConstant{Val: drop},
	}
	if p == ipv4ARP {
		return bpf.Assemble(append(ours, bpf.RetConstant{Val: accept}))
	}
	return bpf.Assemble(append(ours,
		bpf.LoadAbsolute{Off: nextHeader, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: icmpv6, SkipTrue: 4},
		bpf.LoadAbsolute{Off: icmpType, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 135, SkipTrue: 1},    // RFC 4861 §4.3
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 136, SkipTrue: 1}, // RFC 4861 §4.4
		bpf.RetConstant{Val: accept},
		bpf.RetConstant{Val: drop},
	))
}
