package sched

import "sync/atomic"

// servers is the list of a scheduler that has no other state: swapped as a whole
// on every change, so that Pick takes no lock.
type servers struct {
	p atomic.Pointer[[]*Server]
}

func (l *servers) load() []*Server {
	if p := l.p.Load(); p != nil {
		return *p
	}
	return nil
}

// Added implements Scheduler.
func (l *servers) Added(list []*Server, _ *Server) { l.p.Store(&list) }

// Removed implements Scheduler.
func (l *servers) Removed(list []*Server, _ *Server) { l.p.Store(&list) }

// Edited implements Scheduler. Weights are read at each pick.
func (l *servers) Edited(list []*Server, _ *Server) { l.p.Store(&list) }
