package sched

import (
	"sync"
	"sync/atomic"
)

// Server is a real server of one service, as schedulers see it (ip_vs_dest). Its owner
// sets the fields and passes it to Slab.Init before any other use; Addr and Port then
// stay as they are. Methods may be called at any time from any goroutine.
//
// A server has at most 2^27-1 active connections, and Overhead is less than 2^35.
type Server struct {
	Addr [16]byte // network byte order, IPv4 as IPv4-mapped
	Port uint16   // host byte order
	ID   uint32   // the owner's number for it; schedulers do not read it

	load       *load
	lastWeight atomic.Int32
	gone       atomic.Bool
}

// load is what schedulers compare: 16 bytes, so that those of 1,000 servers fit the first
// level of the cache. Four share a line, see Slab.
type load struct {
	// conns is both counts in one word, overhead<<activeBits + active, so that a
	// connection that moves between them is never counted twice or not at all. While
	// active is negative, as it may be for a moment where two workers count what
	// happened to one connection, the overhead reads 1 less than it is.
	conns atomic.Int64

	// weight is ^weight, which is negative, while the server is overloaded: a pick looks
	// at one number.
	weight atomic.Int64
}

const activeBits = 28

// overhead is what Server.Overhead returns.
func (l *load) overhead() int64 { return l.conns.Load() >> activeBits }

func (l *load) active() int64 { return activeOf(l.conns.Load()) }

func activeOf(conns int64) int64 { return conns << (64 - activeBits) >> (64 - activeBits) }

func (l *load) eligible() bool { return l.weight.Load() > 0 }

// eligibleWeight returns the weight, 0 where the server is overloaded.
func (l *load) eligibleWeight() int64 { return max(l.weight.Load(), 0) }

// anyWeight returns the weight whether the server is overloaded or not.
func (l *load) anyWeight() int64 {
	w := l.weight.Load()
	return w ^ w>>63
}

// Weight returns the weight; a server of weight 0 gets no new connections.
func (s *Server) Weight() int32 { return int32(s.load.anyWeight()) }

// SetWeight sets the weight, from 0 to 65535. The owner then tells the scheduler by
// Edited, if the server is in the list.
func (s *Server) SetWeight(w int32) {
	for {
		old, to := s.load.weight.Load(), int64(w)
		if old < 0 {
			to = ^to
		}
		if s.load.weight.CompareAndSwap(old, to) {
			break
		}
	}
	if w != 0 {
		s.lastWeight.Store(w)
	}
}

// LastWeight returns the last weight that was not 0, for mh; 0 if there was none.
func (s *Server) LastWeight() int32 { return s.lastWeight.Load() }

// ResetLastWeight makes LastWeight 0: for a server that is about to be added again,
// which in ip_vs has no last weight.
func (s *Server) ResetLastWeight() { s.lastWeight.Store(0) }

// Active returns how many connections are in an active state (ip_vs's activeconns).
func (s *Server) Active() int64 { return s.load.active() }

// Inactive returns how many connections are in any other state (inactconns).
func (s *Server) Inactive() int64 {
	conns := s.load.conns.Load()
	active := activeOf(conns)
	return (conns-active)>>activeBits - 256*active
}

// Connections returns the sum of Active and Inactive.
func (s *Server) Connections() int64 {
	conns := s.load.conns.Load()
	active := activeOf(conns)
	return (conns-active)>>activeBits - 255*active
}

// AddConnections adds to both counts at once: (0, 1) is a new connection, (1, -1)
// one that became active, (-1, 0) one that was active and is over.
func (s *Server) AddConnections(active, inactive int64) {
	s.load.conns.Add((256*active+inactive)<<activeBits + active)
}

// Overhead is the load of a server in lc, wlc, lblc, lblcr and twos: an active
// connection counts as 256 inactive ones (ip_vs_dest_conn_overhead).
func (s *Server) Overhead() int64 { return s.load.overhead() }

// Overloaded reports whether the server has reached its upper threshold
// (IP_VS_DEST_F_OVERLOAD).
func (s *Server) Overloaded() bool { return s.load.weight.Load() < 0 }

// SetOverloaded sets what Overloaded reports. The scheduler need not be told.
func (s *Server) SetOverloaded(overloaded bool) {
	for {
		w := s.load.weight.Load()
		if w < 0 == overloaded || s.load.weight.CompareAndSwap(w, ^w) {
			return
		}
	}
}

// Eligible reports whether the server may get new connections by the rule that most
// schedulers share: it has a weight, and is not overloaded.
func (s *Server) Eligible() bool { return s.load.eligible() }

// Gone reports whether the server is out of its service (IP_VS_DEST_F_AVAILABLE is
// not set).
func (s *Server) Gone() bool { return s.gone.Load() }

// SetGone sets what Gone reports: the owner sets it before it calls Removed, and
// clears it before Added.
func (s *Server) SetGone(gone bool) { s.gone.Store(gone) }

// Slab holds the weights and connection counts of servers in few lines of the cache, so
// that a scheduler that looks at all of a service's servers reads them fast. One slab may
// serve many services. The zero value is ready; it may be used from several goroutines
// at once.
//
// Memory is freed by the block: once none of 64 servers that were initialized one after
// another is in use. So servers that come and go leave nothing behind, and a Pick that
// has begun before may still look at one that is gone.
type Slab struct {
	mu    sync.Mutex
	block *[slabLines][slabPerLine]load
	used  int
}

// A block is a kibibyte, which the heap aligns to a line of the cache. Servers that
// follow one another are on different lines, so that those of a small service do not
// share any: workers that count on them at once would take the line from each other.
const (
	slabLines   = 16
	slabPerLine = 4
)

// Init readies s: weight 0, no connections.
func (a *Slab) Init(s *Server) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.block == nil || a.used == slabLines*slabPerLine {
		a.block, a.used = new([slabLines][slabPerLine]load), 0
	}
	s.load = &a.block[a.used%slabLines][a.used/slabLines]
	a.used++
}
