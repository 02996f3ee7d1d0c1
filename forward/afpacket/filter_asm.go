package afpacket

import (
	"net/netip"
	"slices"

	"golang.org/x/net/bpf"
)

// label is an instruction's position, counted from the program's end.
type label int

// assembler writes a program from its last instruction to its first. Classic BPF jumps only
// forward, so every jump's target, and its distance, is known when the jump is written.
type assembler struct {
	reversed []bpf.Instruction
	relays   map[label]label // the latest unconditional jump to a label
}

func (a *assembler) emit(ins bpf.Instruction) label {
	a.reversed = append(a.reversed, ins)
	return label(len(a.reversed) - 1)
}

func (a *assembler) program() []bpf.Instruction {
	slices.Reverse(a.reversed)
	return a.reversed
}

// branch writes a comparison of the accumulator with k. A conditional jump reaches 255
// instructions. A target that is farther is reached by a relay, an unconditional jump,
// which later branches share as long as they reach it.
func (a *assembler) branch(cond bpf.JumpTest, k uint32, yes, no label) label {
	const relays = 2 // at most so many are written between this branch and its targets
	yes = a.near(yes, relays)
	no = a.near(no, relays)
	return a.emit(bpf.JumpIf{Cond: cond, Val: k, SkipTrue: uint8(a.distance(yes)), SkipFalse: uint8(a.distance(no))})
}

// near returns target, or a relay to it, in reach of a branch that is written slack
// instructions later.
func (a *assembler) near(target label, slack int) label {
	const reach = 255
	if a.distance(target)+slack <= reach {
		return target
	}
	if relay, ok := a.relays[target]; ok && a.distance(relay)+slack <= reach {
		return relay
	}
	if a.relays == nil {
		a.relays = make(map[label]label)
	}
	relay := a.emit(bpf.Jump{Skip: uint32(a.distance(target))})
	a.relays[target] = relay
	return relay
}

// distance is how many instructions the next one would skip to jump to target.
func (a *assembler) distance(target label) int { return len(a.reversed) - 1 - int(target) }

// search loads a word of the address at base, number word, and goes on at hit if one of
// the prefixes contains the address, at miss if none does.
func (a *assembler) search(prefixes []netip.Prefix, base uint32, word int, hit, miss label) label {
	if len(prefixes) == 0 {
		return miss
	}
	a.tree(ranges(prefixes, word), func(s span) label {
		if s.longer == nil {
			return hit
		}
		return a.search(s.longer, base, word+1, hit, miss)
	}, miss)
	return a.emit(bpf.LoadAbsolute{Off: base + uint32(word*wordLen), Size: wordLen})
}

// tree is a binary search. A leaf compares with a few spans one by one, which takes one
// instruction for each address; a further level would take one more for each half.
func (a *assembler) tree(spans []span, found func(span) label, miss label) label {
	const leaf = 4
	if len(spans) <= leaf {
		next := miss
		for _, s := range slices.Backward(spans) {
			next = a.match(s, found(s), next, miss)
		}
		return next
	}
	half := len(spans) / 2
	high := a.tree(spans[half:], found, miss)
	low := a.tree(spans[:half], found, miss)
	return a.branch(bpf.JumpGreaterOrEqual, spans[half].lo, high, low)
}

// match goes on at found for a word in the span, at next for a greater one, and at miss for
// a smaller one, which cannot be in the spans after this one either.
func (a *assembler) match(s span, found, next, miss label) label {
	if s.lo == s.hi {
		return a.branch(bpf.JumpEqual, s.lo, found, next)
	}
	upper := a.branch(bpf.JumpGreaterThan, s.hi, next, found)
	return a.branch(bpf.JumpGreaterOrEqual, s.lo, upper, miss)
}
