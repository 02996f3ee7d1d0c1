package dataplane

import "time"

// Tick is the table's unit of time, a sixteenth of a second. Ticks wrap after eight
// years; compare them with before.
type Tick uint32

// TicksPerSecond is how many ticks a second has.
const TicksPerSecond = 16

// Ticks is d in whole ticks, rounded down.
func Ticks(d time.Duration) Tick { return Tick(d * TicksPerSecond / time.Second) }

func (t Tick) before(u Tick) bool { return int32(t-u) < 0 }

// Until returns the time from now to t, 0 where t is past.
func (t Tick) Until(now Tick) time.Duration {
	if t.before(now) {
		return 0
	}
	return time.Duration(t-now) * time.Second / TicksPerSecond
}

// wheel files connections by the tick at which they may expire (a hierarchical timing
// wheel): three levels of 256 slots, of 1, 256 and 65,536 ticks a slot (16 s, 68 min, 12
// days in all). A later tick goes into the last slot, and is filed again from there. A
// packet that prolongs a connection does not move it: it is examined at the old tick and
// filed again. The shard's lock guards the wheel.
type wheel struct {
	now   Tick
	slots [wheelLevels][wheelSlots]uint32 // first connection of a doubly linked list
}

const (
	wheelLevels = 3
	wheelBits   = 8
	wheelSlots  = 1 << wheelBits
	wheelSpan   = 1 << (wheelLevels * wheelBits) // ticks
)

func (w *wheel) start(now Tick) { w.now = now }

// slotAt returns where tick at is filed, seen from a tick not after it.
func slotAt(from, at Tick) (level int, slot Tick) {
	d := at - from
	if d >= wheelSpan {
		at, d = from+wheelSpan-1, wheelSpan-1
	}
	for d >= wheelSlots {
		level++
		d >>= wheelBits
	}
	return level, at >> (level * wheelBits) % wheelSlots
}

// file enters c to be examined in tick at, or in the next one where at is not
// after now: the slot of now itself has been emptied.
func (w *wheel) file(t *table, c uint32, at Tick) {
	if !w.now.before(at) {
		at = w.now + 1
	}
	// As seen from the next tick, since its coarse slots may have been emptied already.
	w.insert(t, c, w.now+1, at)
}

func (w *wheel) insert(t *table, c uint32, from, at Tick) {
	level, slot := slotAt(from, at)
	head := &w.slots[level][slot]
	cold := &t.cold[c]
	cold.filed, cold.next, cold.prev = uint32(level)<<wheelBits|uint32(slot), *head, 0
	cold.due.Store(uint32(at))
	if *head != 0 {
		t.cold[*head].prev = c
	}
	*head = c
}

// unfile takes c out.
func (w *wheel) unfile(t *table, c uint32) {
	cold := &t.cold[c]
	if cold.next != 0 {
		t.cold[cold.next].prev = cold.prev
	}
	if cold.prev != 0 {
		t.cold[cold.prev].next = cold.next
	} else {
		w.slots[cold.filed>>wheelBits][cold.filed%wheelSlots] = cold.next
	}
}

// advance moves on to tick now and calls due for each connection whose tick has
// come; due unfiles it, and may file it again. It examines at most budget connections
// and returns the rest of the budget: 0 means there may be more to do.
func (w *wheel) advance(t *table, now Tick, budget int, due func(c uint32)) int {
	for w.now.before(now) {
		next := w.now + 1
		for level := wheelLevels - 1; level > 0; level-- {
			if next&(1<<(level*wheelBits)-1) == 0 {
				budget = w.cascade(t, level, next, budget)
			}
		}
		head := &w.slots[0][next%wheelSlots]
		for *head != 0 && budget > 0 {
			budget--
			due(*head)
		}
		if budget == 0 {
			return 0
		}
		w.now = next
	}
	return budget
}

// cascade moves the connections of a slot to lower levels. None comes back to the slot,
// so that it can be emptied in several calls.
func (w *wheel) cascade(t *table, level int, next Tick, budget int) int {
	head := &w.slots[level][next>>(level*wheelBits)%wheelSlots]
	for ; *head != 0 && budget > 0; budget-- {
		c := *head
		w.unfile(t, c)
		w.insert(t, c, next, Tick(t.cold[c].due.Load()))
	}
	return budget
}
