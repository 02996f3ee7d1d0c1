package lb

import (
	"math/rand/v2"
	"time"
)

// FTPState is how many FTP control connections and expectations are known.
func (b *Balancer) FTPState() (controls, expected int) {
	b.ftp.mu.Lock()
	defer b.ftp.mu.Unlock()
	return len(b.ftp.controls), int(b.ftp.expected.Load())
}

// Workers opens a balancer whose workers are given their frames: handle returns what
// a worker sent for one. Different workers may be called at once.
func Workers(t fataler, cfg Config) (b *Balancer, handle func(worker int, frame []byte) [][]byte, advance func(time.Duration)) {
	r := newRig(t, cfg)
	r.b.plane.rand = rand.Uint64
	handle = func(worker int, frame []byte) [][]byte {
		_, sent := r.handle(worker, frame)
		return sent
	}
	return r.b, handle, func(d time.Duration) { r.advance(ticksOf(d)) }
}

// KillTwice ends one entry of the table as two workers do at once, and returns how
// many entries are left.
func (b *Balancer) KillTwice() int64 {
	for c := uint32(1); c < b.table.used(); c++ {
		if m := b.table.conns[c].load(); m.has(flagLive) {
			b.killOne(c, m)
			b.killOne(c, m)
			break
		}
	}
	return b.table.inUse()
}
