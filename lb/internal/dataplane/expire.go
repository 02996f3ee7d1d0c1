package dataplane

import (
	"sync"
	"sync/atomic"
	"time"
)

// expiry removes connections whose time is over. When millions expire at once, it
// removes them in bursts: a worker that shares its processor, or waits for a shard,
// waits for one burst at most. Until all are removed, each worker removes as many
// connections per batch as it has packets, so that no more begin than end.
type expiry struct {
	behind atomic.Bool // workers remove connections too
	_      line
	mu     sync.Mutex // one expiry at a time; guards what follows

	doneUpTo   Tick      // tick up to which all shards are done
	burstStart time.Time // of the burst under way
}

const (
	// expireBudget is how many connections are examined before the shard's lock is
	// released.
	expireBudget = 32

	// maxTicksApart bounds how many ticks are gone through one at a time: the last ones
	// since the previous expiry. Earlier ones are gone through at once.
	maxTicksApart = TicksPerSecond

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
	if p.serversGone.Swap(false) && p.snap.Load().settings.ExpireNodestConn {
		p.endConnsOfGoneServers()
	}
	if p.accessChanged.Swap(false) {
		p.endDeniedConns()
	}
	p.expiry.burstStart = time.Now()
	// All shards at one tick before the next: a template is then examined after its
	// connections that end earlier, whatever their shards.
	at := p.expiry.doneUpTo + 1
	if (at + maxTicksApart).before(now) {
		at = now - maxTicksApart
	}
	for ; !now.before(at); at++ {
		for i := range p.table.shards {
			p.expireShard(&p.table.shards[i], at)
		}
		p.expiry.doneUpTo = at
	}
	p.expiry.behind.Store(false)
}

// expireShard is expire for one shard.
func (p *Plane) expireShard(sh *shard, now Tick) {
	for left := 0; left == 0; {
		sh.mu.Lock()
		left = p.expireSomeLocked(sh, now, expireBudget)
		sh.mu.Unlock()
		if left == 0 && time.Since(p.expiry.burstStart) > expireBurst {
			p.expiry.behind.Store(true)
			time.Sleep(expirePause)
			p.expiry.burstStart = time.Now()
		}
	}
}

// expireSomeLocked examines at most budget connections of a shard, and returns what is
// left of the budget: 0 where there may be more to do.
func (p *Plane) expireSomeLocked(sh *shard, now Tick, budget int) (left int) {
	return sh.advance(p.table, now, budget, func(c uint32) { p.dueLocked(sh, c, now) })
}

// expireShare examines at most n connections of one shard, the next one once that has
// no more.
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

// endConnsOfGoneServers ends the connections and templates of servers that left their service
// (ip_vs_expire_nodest_conn_flush). A template that controls connections ends with the
// last of them.
func (p *Plane) endConnsOfGoneServers() {
	for c := uint32(1); c < p.table.used(); c++ {
		m := p.table.conns[c].load()
		for id := m.id(c); m.has(flagLive) && p.servers.get(m.server()).gone.Load(); {
			id, _ = p.deleteOne(id)
			m = p.table.conns[id.index].load()
		}
	}
}
