package sched

import "sync/atomic"

// servers is the list of a scheduler that keeps no other state. It is replaced as a
// whole when servers come and go, so that Pick takes no lock.
type servers struct {
	p atomic.Pointer[list]
}

// list is the servers of a service, and beside them what a pick reads of each.
type list struct {
	servers []*Server
	loads   []*load
}

func newList(servers []*Server) *list {
	l := &list{servers, make([]*load, len(servers))}
	for i, s := range servers {
		l.loads[i] = s.load
	}
	return l
}

// current returns the servers and what a pick reads of each, none before the first.
func (v *servers) current() ([]*Server, []*load) {
	l := v.p.Load()
	if l == nil {
		return nil, nil
	}
	return l.servers, l.loads
}

// Added implements Scheduler.
func (v *servers) Added(servers []*Server, _ *Server) { v.p.Store(newList(servers)) }

// Removed implements Scheduler.
func (v *servers) Removed(servers []*Server, _ *Server) { v.p.Store(newList(servers)) }

// Edited implements Scheduler. Weights are read at each pick.
func (*servers) Edited([]*Server, *Server) {}

// at returns the server with that index, nil for -1.
func at(servers []*Server, i int) *Server {
	if i < 0 {
		return nil
	}
	return servers[i]
}
