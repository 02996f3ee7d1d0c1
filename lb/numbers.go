package lb

import (
	"slices"
	"sync/atomic"

	"github.com/golb/golb/sched"
)

// numbers is all servers by number, also those that were dropped and that
// connections may still refer to. Reading takes no lock; the balancer's lock guards
// changes.
//
// It is no part of the snapshot: a scheduler may pick, and another worker's
// connection may have, a server that is newer than the snapshot of a batch.
type numbers struct {
	list atomic.Pointer[[]*server] // replaced, never changed; nil where free, as 0 is
	free []uint32
	slab sched.Slab // what schedulers read of them
}

func (x *numbers) start() { x.list.Store(&[]*server{nil}) }

func (x *numbers) all() []*server { return *x.list.Load() }

// get returns server n. It is not nil for the number of a connection that lives or
// has lived a moment before, nor for one that a scheduler gave (see quietTime).
func (x *numbers) get(n uint32) *server { return x.all()[n] }

// add gives s a number, and its place among what schedulers read.
func (x *numbers) add(s *server) {
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
func (x *numbers) remove(servers []*server) {
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
