package arp

import "golang.org/x/net/bpf"

const (
	etherTypeARP  = 0x0806
	etherTypeIPv6 = 0x86dd
)

// filter returns the socket filter of a protocol: frames of this VLAN only, and of
// IPv6 only neighbour solicitations and advertisements. All else that is wrong with
// them is found, and counted, by parse.
func filter(p protocol) ([]bpf.RawInstruction, error) {
	const (
		drop, accept = 0, 1 << 16
		nextHeader   = 14 + 6
		icmpType     = 14 + ipv6HeaderLen
	)
	// A frame of a VLAN that the host has no interface for is received without
	// its tag, and with the VLAN's number beside it (802.1Q number 0 is none).
	untagged := []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtVLANTag},
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0x0fff},
	}
	if p == ipv4ARP {
		return bpf.Assemble(append(untagged,
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipFalse: 1},
			bpf.RetConstant{Val: accept},
			bpf.RetConstant{Val: drop},
		))
	}
	return bpf.Assemble(append(untagged,
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipFalse: 6},
		bpf.LoadAbsolute{Off: nextHeader, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: icmpv6, SkipFalse: 4},
		bpf.LoadAbsolute{Off: icmpType, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 135, SkipTrue: 1},  // RFC 4861 §4.3
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 136, SkipFalse: 1}, // RFC 4861 §4.4
		bpf.RetConstant{Val: accept},
		bpf.RetConstant{Val: drop},
	))
}
