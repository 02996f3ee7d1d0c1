package sched

// nq is never queue (ip_vs_nq.c): the first eligible server in the list that has
// no active connection, whatever its weight; where all have some, sed's choice.
//
// Cost of a pick: O(n), one cache line a server.
type nq struct{ servers }

// Name implements Scheduler.
func (*nq) Name() string { return "nq" }

// Pick implements Scheduler.
func (q *nq) Pick(*Flow) *Server { return shortestDelay(q.load(), true) }
