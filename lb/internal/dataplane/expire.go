package dataplane

import (
	"sync"
	"sync/atomic"
	"time"
)

// expiry removes connections whose time is over. When millions are over at once, it
// removes them in bursts, so that a worker which shares its processor, or needs a shard
// that it holds, waits for one burst at most; and the workers help, each with as many as
// it has packets, so that no more connections begin than end.
type expiry struct {
	behind atomic.Bool // there is more to do: workers help
	_      line
	mu     sync.Mutex // one at a time, and for what follows

	done  Tick      // up to which all is done
	begin time.Time // of the burst
}

const (
	// expireBudget is how many connections may expire before the shard's lock is let go
	// for workers that wait for it.
	expireBudget = 32

	// expireApart is how many ticks are gone through one by one at most.
	expireApart = TicksPerSecond

	expireBurst = 100 * time.Microsecond
	expirePause = 100 * time.Microsecond
)

// Expire removes all connections whose time is over.
func (p *Plane) Expire() { p.expire(p.tick()) }

func (p *Plane) expire(now Tick) {
	p.frags.mu.Lock()
	p.frags.table.Expire(uint32(now))
	p.frags.mu.Unlock()

	p.expiry.mu.Lock()
	defer p.expiry.mu.Unlock()
	if p.orphans.Swap(false) && p.snap.Load().settings.ExpireNodestConn {
		p.endOrphans()
	}
	p.expiry.begin = time.Now()
	// Tick by tick, so that a template does not wait for a connection that ends before
	// it in another shard; but not through what was slept over.
	at := p.expiry.done + 1
	if (at + expireApart).before(now) {
		at = now - expireApart
	}
	for ; !now.before(at); at++ {
		for i := range p.table.shards {
			p.expireShard(&p.table.shards[i], at)
		}
		p.expiry.done = at
	}
	p.expiry.behind.Store(false)
}

// expireShard is expire for one shard.
func (p *Plane) expireShard(sh *shard, now Tick) {
	for left := 0; left == 0; {
		sh.mu.Lock()
		left = p.expireSomeLocked(sh, now, expireBudget)
		sh.mu.Unlock()
		if left == 0 && time.Since(p.expiry.begin) > expireBurst {
			p.expiry.behind.Store(true)
			time.Sleep(expirePause)
			p.expiry.begin = time.Now()
		}
	}
}

// expireSomeLocked is expire for one shard, whose lock is held, with a bound on the work:
// 0 is left of it where there may be more to do.
func (p *Plane) expireSomeLocked(sh *shard, now Tick, budget int) (left int) {
	return sh.advance(p.table, now, budget, func(c uint32) { p.dueLocked(sh, c, now) })
}

// expireShare expires as many connections at most as n packets may begin.
func (w *Worker) expireShare(n int) {
	sh := &w.plane.table.shards[w.expireShard%shardCount]
	if n == 0 || !sh.mu.TryLock() {
		w.expireShard++
		return
	}
	defer sh.mu.Unlock()
	if w.plane.expireSomeLocked(sh, w.now, n) > 0 {
		w.expireShard++
	}
}

// endOrphans ends the connections and templates of servers that left their service
// (ip_vs_expire_nodest_conn_flush): a template that controls connections with the last
// of them.
func (p *Plane) endOrphans() {
	for c := uint32(1); c < p.table.used(); c++ {
		m := p.table.conns[c].load()
		for id := m.id(c); m.has(flagLive) && p.servers.get(m.server()).gone.Load(); {
			id, _ = p.deleteOne(id)
			m = p.table.conns[id.index].load()
		}
	}
}
