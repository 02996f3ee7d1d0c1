package lb

import "github.com/golb/golb/forward"

// renew ends a connection, and deals with its packet as one of no connection. As in
// ip_vs, where the timer ends it a moment later (ip_vs_conn_expire_now), its server
// still counts it when a new one is scheduled, and its template stays.
func (w *worker) renew(snap *snapshot, f *forward.Frame, c uint32, m meta, key *words, hash uint64) Reason {
	s, m := w.supersede(c, m)
	reason := w.unknown(snap, f, key, hash)
	if s != nil {
		s.unbind(false, m.has(flagInactive))
	}
	return reason
}

// supersede ends a connection that its server is to count for a while, if it still
// lives the life of m. It spares what controls others: then the server is nil.
func (x *plane) supersede(c uint32, m meta) (*server, meta) {
	sh := x.table.shardOf(c)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if !x.takeOut(sh, c, m) {
		return nil, 0
	}
	return x.unlist(c)
}
