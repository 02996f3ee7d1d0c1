package dataplane

import (
	"net/netip"
	"slices"
	"sync/atomic"

	"github.com/golb/golb/sched"
)

// serverTable is all servers by number, also those that were dropped and that
// connections may still refer to. Reading takes no lock; changes go one at a time.
//
// It is no part of the snapshot: a scheduler may pick, and another worker's
// connection may have, a server that is newer than the snapshot of a batch.
type serverTable struct {
	list atomic.Pointer[[]*Server] // replaced, never changed; nil where free, as 0 is
	free []uint32
	slab sched.Slab // what schedulers read of them
}

func (x *serverTable) start() { x.list.Store(&[]*Server{nil}) }

func (x *serverTable) all() []*Server { return *x.list.Load() }

// get returns server n. It is not nil for the number of a connection that exists or
// ended a moment before, nor for one that a scheduler returned (see unreferredTime).
func (x *serverTable) get(n uint32) *Server { return x.all()[n] }

// add gives s a number, and its place among what schedulers read.
func (x *serverTable) add(s *Server) {
	x.slab.Init(&s.Server)
	list := x.all()
	if last := len(x.free) - 1; last >= 0 {
		s.ID = x.free[last]
		x.free = x.free[:last]
		list = slices.Clone(list)
		list[s.ID] = s
	} else {
		s.ID = uint32(len(list))
		list = append(list, s) // behind what readers of the old list can see
	}
	x.list.Store(&list)
}

// remove frees the numbers of servers.
func (x *serverTable) remove(servers []*Server) {
	if len(servers) == 0 {
		return
	}
	list := slices.Clone(x.all())
	for _, s := range servers {
		list[s.ID] = nil
		x.free = append(x.free, s.ID)
	}
	x.list.Store(&list)
}

// Servers are all servers, also those that were dropped and may still be referred to.
func (p *Plane) Servers() []*Server {
	return slices.DeleteFunc(slices.Clone(p.servers.all()), func(s *Server) bool { return s == nil })
}

// unreferredTime is how long nothing must have referred to a dropped server before its
// number is free: a worker may still enter a connection that it has scheduled, or handle
// a packet of one that has just ended.
const unreferredTime = 60 * TicksPerSecond

// AddServer makes a server of v, which schedulers do not see until Service.Add. One
// that was dropped, but that connections still refer to, comes back with its counters
// (ip_vs_trash_get_dest).
func (p *Plane) AddServer(v *Service, addr netip.AddrPort) *Server {
	if s := v.trash[addr]; s != nil {
		delete(v.trash, addr)
		s.unreferredSince = 0
		return s
	}
	s := newServer(addr, p.workerCount)
	s.service = v
	p.servers.add(s)
	return s
}

// DropServer removes a server from its service. Connections may still refer to it
// (ip_vs_del_dest).
func (p *Plane) DropServer(s *Server) {
	v := s.service
	if v.Has(s) {
		v.Remove(s)
	}
	s.setGone(true)
	p.serversGone.Store(true)
	if v.trash == nil {
		v.trash = map[netip.AddrPort]*Server{}
	}
	v.trash[s.AddrPort()] = s
	p.dropped = append(p.dropped, s)
}

// forgetDropped frees the numbers of dropped servers that nothing refers to any more.
func (p *Plane) forgetDropped(now Tick) {
	var forgotten []*Server
	p.dropped = slices.DeleteFunc(p.dropped, func(s *Server) bool {
		v := s.service
		switch {
		case v.trash[s.AddrPort()] != s: // it came back
			return true
		case s.referred():
			s.unreferredSince = 0
			return false
		case s.unreferredSince == 0:
			s.unreferredSince = now
			return false
		case now.before(s.unreferredSince + unreferredTime):
			return false
		}
		delete(v.trash, s.AddrPort())
		forgotten = append(forgotten, s)
		return true
	})
	p.servers.remove(forgotten)
}
