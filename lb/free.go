package lb

// The numbers of connections are handed out by the shards, each under its own lock:
// those that were free again first, then some that were never used, so that memory
// that was never needed is never touched. A shard that has none, when all were used
// once, takes some of another's, so that the table is full only when all are in use.

// freeBatch is how many numbers a shard takes at a time.
const freeBatch = 32

// alloc takes a free number for a connection of sh, or 0 where the table is full. The
// shard is held.
func (t *table) alloc(sh *shard) uint32 {
	if sh.free == 0 && !t.takeFresh(sh) && !t.takeOthers(sh) {
		return 0
	}
	c := sh.free
	sh.free = t.cold[c].next
	sh.spare.Add(-1)
	sh.inUse.Add(1)
	return c
}

// release gives back the number of a connection of sh, which is held.
func (t *table) release(sh *shard, c uint32) {
	sh.give(t, c)
	sh.inUse.Add(-1)
}

func (sh *shard) give(t *table, c uint32) {
	t.cold[c].next = sh.free
	sh.free = c
	sh.spare.Add(1)
}

// takeFresh gives sh numbers that were never used, the lowest on top.
func (t *table) takeFresh(sh *shard) bool {
	for {
		at := t.fresh.Load()
		n := min(freeBatch, uint32(len(t.conns))-at)
		if n == 0 {
			return false
		}
		if t.fresh.CompareAndSwap(at, at+n) {
			for c := at + n - 1; c >= at; c-- {
				sh.give(t, c)
			}
			return true
		}
	}
}

// takeOthers gives sh some of another shard's. It does not wait for one, since sh is
// held: those that are busy are passed over.
func (t *table) takeOthers(sh *shard) bool {
	for i := range t.shards {
		from := &t.shards[i]
		if from == sh || from.spare.Load() == 0 || !from.mu.TryLock() {
			continue
		}
		n := 0
		for ; n < freeBatch && from.free != 0; n++ {
			c := from.free
			from.free = t.cold[c].next
			from.spare.Add(-1)
			sh.give(t, c)
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
