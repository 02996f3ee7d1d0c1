package dataplane

// The numbers of connections are handed out by the shards, each under its own lock:
// returned ones first, then some that were never used, so that memory that
// was never needed is never touched. A shard that has none, when all have been used
// once, takes some of another's, so that the table is full only when all are in use.

// freeBatch is how many numbers a shard takes at a time.
const freeBatch = 32

// allocLocked takes a free number for a connection of sh, or 0 where the table is
// full. The lock of sh is held.
func (t *table) allocLocked(sh *shard) uint32 {
	if sh.freeList == 0 && !t.takeFreshLocked(sh) && !t.takeOthersLocked(sh) {
		return 0
	}
	c := sh.freeList
	sh.freeList = t.cold[c].next
	sh.spare.Add(-1)
	sh.inUse.Add(1)
	return c
}

// freeLocked gives back the number of a connection of sh, whose lock is held.
func (t *table) freeLocked(sh *shard, c uint32) {
	sh.giveLocked(t, c)
	sh.inUse.Add(-1)
}

func (sh *shard) giveLocked(t *table, c uint32) {
	t.cold[c].next = sh.freeList
	sh.freeList = c
	sh.spare.Add(1)
}

// takeFreshLocked gives sh numbers that were never used, the lowest on top.
func (t *table) takeFreshLocked(sh *shard) bool {
	for {
		at := t.fresh.Load()
		n := min(freeBatch, uint32(len(t.conns))-at)
		if n == 0 {
			return false
		}
		if t.fresh.CompareAndSwap(at, at+n) {
			for c := at + n - 1; c >= at; c-- {
				sh.giveLocked(t, c)
			}
			return true
		}
	}
}

// takeOthersLocked gives sh some of another shard's. It does not wait for that one's lock,
// since it holds the lock of sh: shards that are busy are passed over.
func (t *table) takeOthersLocked(sh *shard) bool {
	for i := range t.shards {
		from := &t.shards[i]
		if from == sh || from.spare.Load() == 0 || !from.mu.TryLock() {
			continue
		}
		n := 0
		for ; n < freeBatch && from.freeList != 0; n++ {
			c := from.freeList
			from.freeList = t.cold[c].next
			from.spare.Add(-1)
			sh.giveLocked(t, c)
		}
		from.mu.Unlock()
		if n > 0 {
			return true
		}
	}
	return false
}

// used is one more than the highest number ever handed out to a shard.
func (t *table) used() uint32 { return t.fresh.Load() }

// inUse is how many connections and templates there are.
func (t *table) inUse() (n int64) {
	for i := range t.shards {
		n += t.shards[i].inUse.Load()
	}
	return n
}
