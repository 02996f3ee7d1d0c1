package dataplane

import "context"

// task is a function that a worker runs between batches: only workers send frames.
type task struct {
	do   func(*Worker) Reason
	done chan Reason // room for one
}

// maxTasks is how many tasks may wait.
const maxTasks = 256

// do has the first worker run a task, and returns its result.
func (p *Plane) do(ctx context.Context, do func(*Worker) Reason) (Reason, error) {
	workers := *p.workers.Load()
	if len(workers) == 0 || p.stopped.Load() {
		return 0, ErrNotRunning
	}
	w := workers[0]
	t := task{do, make(chan Reason, 1)}
	select {
	case w.tasks <- t:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	w.ports[w.in].Wake()
	select {
	case r := <-t.done:
		return r, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// Stop has tasks fail from now on, since the workers end.
func (p *Plane) Stop() { p.stopped.Store(true) }

// runTasks runs the tasks that wait.
func (w *Worker) runTasks() {
	for len(w.tasks) > 0 {
		t := <-w.tasks
		w.ifaces = *w.plane.ifaces.Load()
		t.done <- t.do(w)
		w.flush()
	}
}
