package dataplane

// The numbers of connections are handed out by the shards, each under its own lock:
// first those that were freed, then unused ones, so that memory is touched only once it
// is needed. When all have been used, a shard without free ones takes some of another's,
// so that the table is full only when all are in use.

// freeBatch is how many numbers a shard takes at a time.
const freeBatch = 32

// allocLocked takes a free number for a connection of sh, or 0 where the table is
// full.
func (t *table) allocLocked(sh *shard) uint32 {
	if sh.freeList == 0 && !t.takeUnusedLocked(sh) && !t.stealLocked(sh) {
		return 0
	}
	sh.inUse.Add(1)
	return sh.popFreeLocked(t)
}

// freeLocked frees the number of a connection of sh.
func (t *table) freeLocked(sh *shard, c uint32) {
	sh.pushFreeLocked(t, c)
	sh.inUse.Add(-1)
}

func (sh *shard) pushFreeLocked(t *table, c uint32) {
	t.cold[c].next = sh.freeList
	sh.freeList = c
	sh.freeCount.Add(1)
}

// popFreeLocked takes a free number of sh, 0 where there is none.
func (sh *shard) popFreeLocked(t *table) uint32 {
	c := sh.freeList
	if c != 0 {
		sh.freeList = t.cold[c].next
		sh.freeCount.Add(-1)
	}
	return c
}

// takeUnusedLocked gives sh numbers that were never used, the lowest on top.
func (t *table) takeUnusedLocked(sh *shard) bool {
	for {
		at := t.nextUnused.Load()
		n := min(freeBatch, uint32(len(t.conns))-at)
		if n == 0 {
			return false
		}
		if t.nextUnused.CompareAndSwap(at, at+n) {
			for c := at + n - 1; c >= at; c-- {
				sh.pushFreeLocked(t, c)
			}
			return true
		}
	}
}

// stealLocked gives sh free numbers of another shard. It skips shards that are locked:
// to wait for a second shard's lock could deadlock.
func (t *table) stealLocked(sh *shard) bool {
	for i := range t.shards {
		from := &t.shards[i]
		if from == sh || from.freeCount.Load() == 0 || !from.mu.TryLock() {
			continue
		}
		n := 0
		for ; n < freeBatch && from.freeList != 0; n++ {
			sh.pushFreeLocked(t, from.popFreeLocked(t))
		}
		from.mu.Unlock()
		if n > 0 {
			return true
		}
	}
	return false
}

// moveFree gives to one free number of from, if it has any. Neither may be locked.
func (t *table) moveFree(from, to *shard) {
	if from == to {
		return
	}
	from.mu.Lock()
	c := from.popFreeLocked(t)
	from.mu.Unlock()
	if c == 0 {
		return
	}
	to.mu.Lock()
	defer to.mu.Unlock()
	to.pushFreeLocked(t, c)
}

// used is one more than the highest number that a shard has, or had.
func (t *table) used() uint32 { return t.nextUnused.Load() }

// inUse is how many connections and templates there are.
func (t *table) inUse() (n int64) {
	for i := range t.shards {
		n += t.shards[i].inUse.Load()
	}
	return n
}
