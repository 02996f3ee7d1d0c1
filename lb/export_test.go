package lb

import (
	"time"

	"github.com/golb/golb/lb/internal/dataplane"
)

// Workers opens a balancer whose workers are given their frames: handle returns what
// a worker sent for one. Different workers may be called at once.
func Workers(t fataler, cfg Config) (b *Balancer, handle func(worker int, frame []byte) [][]byte, advance func(time.Duration)) {
	r := newRig(t, cfg)
	handle = func(worker int, frame []byte) [][]byte {
		_, sent := r.handle(worker, frame)
		return sent
	}
	return r.b, handle, func(d time.Duration) { r.advance(dataplane.Ticks(d)) }
}

// FTPState is how many FTP control connections and expectations are known.
func (b *Balancer) FTPState() (controls, expected int) { return b.plane.FTPState() }
