package afpacket

import (
	"net/netip"
	"slices"

	"golang.org/x/net/bpf"
)

// label is the place of an instruction, counted from the program's end.
type label int

// assembler writes a program from its last instruction to its first, since classic
// BPF jumps only forward: every jump's target is there already when the jump is
// written, and so is its distance.
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

// branch writes a comparison of the accumulator with k. Both targets have to be
// within 255 instructions; those that are not are reached through a relay, which
// further branches share while it is near.
func (a *assembler) branch(cond bpf.JumpTest, k uint32, yes, no label) label {
	const relays = 2 // that may yet be written between here and a near target
	yes = a.near(yes, relays)
	no = a.near(no, relays)
	return a.emit(bpf.JumpIf{Cond: cond, Val: k, SkipTrue: uint8(a.distance(yes)), SkipFalse: uint8(a.distance(no))})
}

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

// distance is how many instructions the next one written would skip to get to target.
func (a *assembler) distance(target label) int { return len(a.reversed) - 1 - int(target) }

// search loads the word-th word of the address at base and goes on at hit if one of
// the prefixes holds the address, at miss if none does.
func (a *assembler) search(prefixes []netip.Prefix, base uint32, word int, hit, miss label) label {
	if len(prefixes) == 0 {
		return miss
	}
	a.tree(ranges(prefixes, word), func(s span) label {
		if s.rest == nil {
			return hit
		}
		return a.search(s.rest, base, word+1, hit, miss)
	}, miss)
	return a.emit(bpf.LoadAbsolute{Off: base + uint32(word*wordLen), Size: wordLen})
}

// tree is a balanced search. Its leaves compare with a few spans one by one: a leaf
// costs one instruction for each address, a further level one for each half.
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

// match goes on at found for a word in the span, at next for a greater one. A lesser
// one cannot be in the spans after it either.
func (a *assembler) match(s span, found, next, miss label) label {
	if s.lo == s.hi {
		return a.branch(bpf.JumpEqual, s.lo, found, next)
	}
	upper := a.branch(bpf.JumpGreaterThan, s.hi, next, found)
	return a.branch(bpf.JumpGreaterOrEqual, s.lo, upper, miss)
}
