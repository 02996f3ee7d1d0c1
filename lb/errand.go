package lb

import (
	"context"
	"errors"
)

// errand is what a worker is asked to do between batches: sending is a worker's alone.
type errand struct {
	do   func(*worker) Reason
	done chan Reason // room for one
}

// errandRoom is how many errands may wait.
const errandRoom = 256

// errand has a worker do something, and returns what came of it.
func (b *Balancer) errand(ctx context.Context, do func(*worker) Reason) (Reason, error) {
	b.mu.Lock()
	running := b.net != nil && len(b.workers) > 0
	b.mu.Unlock()
	if !running {
		return 0, errors.New("golb does not run")
	}
	w := b.workers[0]
	e := errand{do, make(chan Reason, 1)}
	select {
	case w.errands <- e:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	w.ports[w.in].Wake()
	select {
	case r := <-e.done:
		return r, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// runErrands does what the worker was asked to do.
func (w *worker) runErrands() {
	for len(w.errands) > 0 {
		e := <-w.errands
		e.done <- e.do(w)
		w.flush()
	}
}
