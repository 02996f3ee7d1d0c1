package lb_test

import (
	"slices"
	"sync/atomic"

	"github.com/golb/golb/lb"
	"github.com/golb/golb/sched"
)

// first is a scheduler: the first server in the config's order that may get connections.
type first struct {
	list atomic.Pointer[[]*sched.Server] // newest first
}

func newFirst(sched.Options) (sched.Scheduler, error) { return new(first), nil }

func (*first) Name() string                                      { return "first" }
func (s *first) Added(list []*sched.Server, _ *sched.Server)     { s.list.Store(&list) }
func (s *first) Removed(list []*sched.Server, _ *sched.Server)   { s.list.Store(&list) }
func (*first) Edited(list []*sched.Server, edited *sched.Server) {} // Eligible reads the weight

func (s *first) Pick(*sched.Flow) *sched.Server {
	list := s.list.Load()
	if list == nil {
		return nil
	}
	for _, server := range slices.Backward(*list) {
		if server.Eligible() {
			return server
		}
	}
	return nil
}

// A scheduler of the program's own, which the config names as it names golb's.
func ExampleEnv_schedulers() {
	cfg := webConfig()
	cfg.Services[0].Scheduler = "first"
	b, connect, stop := runInMemory(cfg, lb.Env{
		Schedulers: map[string]func(sched.Options) (sched.Scheduler, error){"first": newFirst},
	})
	defer stop()
	connect("198.51.100.1:4000", "198.51.100.2:4000", "198.51.100.3:4000")
	printServers(b)
	// Output:
	// web1 weight 1: 3 connections
	// web2 weight 1: 0 connections
}
