// Package sched holds the schedulers: each picks a server for a new connection,
// as the one of the same name in ip_vs does. One file each, headed by the
// algorithm. A scheduler knows servers and flows only; it has no socket, no
// clock of its own and no log.
package sched

// Flow is the packet that asks for a server. Addresses are in network byte
// order, IPv4 as IPv4-mapped; ports in host order, 0 where the protocol has none.
type Flow struct {
	Src, Dst         [16]byte
	SrcPort, DstPort uint16
	Proto            uint8
	Hash             uint32 // a well mixed hash of the five-tuple, for an embedder's scheduler; none here reads it
}

// Scheduler picks servers for one service. The owner keeps the list of servers in
// ip_vs's order, newest first, never changes a list once passed, and calls Added,
// Removed and Edited one at a time, after the fact, once for each server: state
// such as wrr's depends on it. A scheduler that takes over from another is told of
// each server with the whole list. Pick may be called from many goroutines at once,
// also while the list changes. It allocates nothing, unless its scheduler says so.
type Scheduler interface {
	// Name returns the name that New takes.
	Name() string
	// Added says that s is new in list.
	Added(list []*Server, s *Server)
	// Removed says that s is no longer in list. Picks under way may still return it.
	Removed(list []*Server, s *Server)
	// Edited says that the weight or a threshold of s changed.
	Edited(list []*Server, s *Server)
	// Pick returns a server, or nil where the algorithm finds none. It keeps nothing
	// of f.
	Pick(f *Flow) *Server
}

// Options are what a scheduler may need besides the servers; each scheduler
// documents what it uses. The zero value is good for all that say nothing.
type Options struct {
	Fallback bool // sh, mh: try other servers where the hashed one is not eligible (sh-fallback, mh-fallback)
	Port     bool // sh, mh: hash the client's port too (sh-port, mh-port)

	Now  func() int64  // lblc, lblcr: seconds on a monotonic clock; required there
	Rand func() uint64 // twos: uniform random bits; required there; safe for concurrent use

	Expiration int64 // lblc, lblcr: seconds until an unused entry is dropped; 0: 86400
}
