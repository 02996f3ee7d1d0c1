package lb

import (
	"sync"
	"sync/atomic"
	"time"
)

// expiry removes what is over. When millions are at once, it does so by and by: in
// bursts, so that a worker which shares its processor, or needs a shard that it
// holds, waits for no more than one; and the workers help, as much as they have
// packets, so that no more begin than end.
type expiry struct {
	late atomic.Bool // there is more to do: workers help
	_    line
	mu   sync.Mutex // one at a time, and for what follows

	done  tick      // up to which all is done
	begin time.Time // of the burst
}

const (
	// expireBudget is how many connections may expire before the shard is let go for
	// workers that wait for it.
	expireBudget = 32

	// expireApart is how many ticks are gone through one by one at most.
	expireApart = ticksPerSecond

	expireBurst = 100 * time.Microsecond
	expirePause = 100 * time.Microsecond
)

// expire removes all connections whose time has come.
func (x *plane) expire(now tick) {
	x.frags.mu.Lock()
	x.frags.table.Expire(uint32(now))
	x.frags.mu.Unlock()

	x.expiry.mu.Lock()
	defer x.expiry.mu.Unlock()
	if x.orphan.Swap(false) && x.snap.Load().settings.expireNodest {
		x.endOrphans()
	}
	x.expiry.begin = time.Now()
	// Tick by tick, so that a template does not wait for a connection that ends before
	// it in another shard; but not through what was slept over.
	at := x.expiry.done + 1
	if (at + expireApart).before(now) {
		at = now - expireApart
	}
	for ; !now.before(at); at++ {
		for i := range x.table.shards {
			x.expireShard(&x.table.shards[i], at)
		}
		x.expiry.done = at
	}
	x.expiry.late.Store(false)
}

// expireShard is expire for one shard.
func (x *plane) expireShard(sh *shard, now tick) {
	for left := 0; left == 0; {
		sh.mu.Lock()
		left = x.expireSome(sh, now, expireBudget)
		sh.mu.Unlock()
		if left == 0 && time.Since(x.expiry.begin) > expireBurst {
			x.expiry.late.Store(true)
			time.Sleep(expirePause)
			x.expiry.begin = time.Now()
		}
	}
}

// expireSome is expire for one shard, which is held, with a bound on the work: 0 is
// left of it where there may be more to do.
func (x *plane) expireSome(sh *shard, now tick, budget int) (left int) {
	return sh.advance(x.table, now, budget, func(c uint32) { x.due(sh, c, now) })
}

// help expires as many connections at most as n packets may begin.
func (w *worker) help(n int) {
	sh := &w.table.shards[w.late%shardCount]
	if n == 0 || !sh.mu.TryLock() {
		w.late++
		return
	}
	defer sh.mu.Unlock()
	if w.expireSome(sh, w.now, n) > 0 {
		w.late++
	}
}

// endOrphans ends the connections and templates of servers that left their service
// (ip_vs_expire_nodest_conn_flush): a template that controls connections with the last
// of them.
func (x *plane) endOrphans() {
	for c := uint32(1); c < x.table.used(); c++ {
		for n, m := c, x.table.conns[c].load(); m.has(flagLive) && x.servers.get(m.server()).gone.Load(); {
			n, m = x.killOne(n, m)
		}
	}
}
