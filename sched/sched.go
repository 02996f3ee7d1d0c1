// Package sched holds the schedulers of ip_vs, by their names there: each picks the
// server of a new connection. One file each, headed by the algorithm and its cost.
// They know servers and flows only: no sockets, no clock, no log, and nothing but the
// standard library.
//
//	rr, wrr       in turn; wrr by weight
//	lc, wlc       the fewest connections; wlc for the weight
//	sed, nq       the fewest active connections for the weight; nq an idle server first
//	twos          the fewer connections for the weight, of two servers drawn by weight
//	fo, ovf       the greatest weight; ovf of servers that are not full
//	sh, mh        by a hash of the client's address
//	dh            by a hash of the destination address
//	lblc, lblcr   as wlc, then the same again for a destination address, for caches
//
// The owner of a service makes a scheduler with New, or brings one of its own, and
// tells it what servers there are. It sets weights and counts connections in the
// Servers themselves, of which a Slab keeps together what schedulers read.
package sched

// Flow is the packet that a server is picked for. Addresses are in network byte order,
// IPv4 as IPv4-mapped; ports in host byte order, 0 where the protocol has none.
type Flow struct {
	Src, Dst         [16]byte
	SrcPort, DstPort uint16
	Proto            uint8
	Hash             uint32 // of the five-tuple, well mixed, set by the owner; no scheduler of New reads it
}

// Scheduler picks servers for one service.
//
// The owner keeps the list of servers in ip_vs's order, newest first, and passes a new
// one with each change: schedulers keep the list, so nobody may change it any more. It
// calls Added, Removed and Edited one at a time, once for each server, when the change
// is made; a scheduler that takes over from another gets Added for each server, oldest
// first, always with the whole list. State such as wrr's depends on the order.
//
// Pick may be called from many goroutines at once, also while the list changes. It
// allocates nothing, unless the scheduler says so.
type Scheduler interface {
	// Name returns the name that New takes.
	Name() string
	// Added says that s is new in list.
	Added(list []*Server, s *Server)
	// Removed says that s is no longer in list. A Pick that has begun before may still
	// return it.
	Removed(list []*Server, s *Server)
	// Edited says that the weight or a threshold of s has changed. The list is that of
	// the last Added or Removed.
	Edited(list []*Server, s *Server)
	// Pick returns a server, or nil where the algorithm finds none. It does not keep f.
	Pick(f *Flow) *Server
}

// Options are what a scheduler may need besides servers; each says what it uses. Zero
// values are the defaults, except where a function is required.
type Options struct {
	Fallback bool // sh, mh: try other servers where the hashed one is not eligible (sh-fallback, mh-fallback)
	Port     bool // sh, mh: hash the client's port too (sh-port, mh-port)

	Now  func() int64  // lblc, lblcr: seconds on a monotonic clock; required there
	Rand func() uint64 // twos: uniform random bits; required there; safe for concurrent use

	Expiration int64 // lblc, lblcr: seconds until an unused destination is forgotten; 0: 86400
}
