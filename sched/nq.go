package sched

// nq is never queue (ip_vs_nq.c): the first eligible server in the list that has no
// active connection, whatever its weight; where all have some, sed's choice.
//
// Cost of a pick: O(n), four servers a cache line; twice where none is idle.
type nq struct{ servers }

func newNQ(Options) (Scheduler, error) { return &nq{}, nil }

// Name implements Scheduler.
func (*nq) Name() string { return "nq" }

// Pick implements Scheduler.
func (q *nq) Pick(*Flow) *Server {
	servers, loads := q.current()
	return shortestDelay(servers, loads, 0)
}
