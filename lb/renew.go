package lb

import "github.com/golb/golb/forward"

// renew ends a connection, and deals with its packet as one of no connection. As in
// ip_vs, where the timer ends it a moment later (ip_vs_conn_expire_now), its server
// still counts it when a new one is scheduled, and its template stays.
func (w *worker) renew(snap *snapshot, f *forward.Frame, c uint32, m meta, key *words, hash uint64) Reason {
	s, inactive, ended := w.supersede(c, m)
	reason := w.unknown(snap, f, key, hash)
	if ended {
		s.unbind(false, inactive)
	}
	return reason
}

// supersede ends a connection that its server is to count for a while, if it still
// lives the life of m. It spares what controls others.
func (x *plane) supersede(c uint32, m meta) (s *server, inactive, ended bool) {
	sh := x.table.shardOf(c)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if !x.table.conns[c].load().sameLife(m) || x.table.cold[c].controls.Load() > 0 {
		return nil, false, false
	}
	sh.unfile(x.table, c)
	s, m = x.unlist(c)
	return s, m.has(flagInactive), true
}
