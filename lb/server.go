package lb

import (
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/sched"
)

// server is a real server of one service at run time (ip_vs_dest). It lives on
// after it was taken out of its service, until no connection refers to it.
//
// Workers read it without a lock; what changes is atomic.
type server struct {
	// What every packet reads, on one line of the cache where the heap has put a word
	// before it.
	service  *service
	path     atomic.Pointer[path]
	counters []counters  // one per worker
	gone     atomic.Bool // as Gone
	words    [2]uint64   // the address as words of a tuple
	_        line

	// What connections write when they come, go and change.
	sched.Server
	upper, lower atomic.Int64 // connection thresholds, 0 none
	templates    atomic.Int64 // persistence templates (persistconns)
	evidence     evidence
	_            line

	name    string
	address netip.Addr

	// The balancer's lock guards what follows.
	weight    int32 // as configured
	runWeight int32 // as set at run time
	ownUpper  int64 // thresholds as configured
	ownLower  int64
	state     ServerState
	drainEnd  tick // when what is left is cut, 0 never
	drained   bool // and told
	rampStart tick // of slow start, 0 none
	up        bool
	changed   time.Time       // when up became what it is
	says      [sources]string // why it failed, by who says so; "" where that one does not
	failedAt  tick            // when it went down last
	held      bool            // failed, and stays in the service nonetheless
	checkKey  string          // of its check; "" where the verdict is fixed
	agent     *agentState     // nil where it has none
	agentKey  string          // of the question to its agent
	percent   bool            // what the agent says is a percentage of the weight, not how idle it is
	methods   uint8           // bits of all methods that a connection to it may have
	reason    string
	quiet     tick // when it was found dropped, and nothing to refer to it any more; 0 never
}

// line keeps what is written apart from what others read: two that are not on one line
// of the cache do not take it from each other. 64 bytes between them do, wherever
// they are in memory.
type line [64]byte

// setGone says whether the server is in its service.
func (s *server) setGone(gone bool) {
	s.SetGone(gone)
	s.gone.Store(gone)
}

// path is how packets get to a server: the method, and the next hop. It is
// replaced, never changed.
type path struct {
	// What every packet reads, on one line.
	method   Method
	dst, src forward.MAC // dst is zero while the next hop's MAC is not known
	port     int         // index of the port that they leave by
	mtu      int         // bytes of IP packet
	room     int         // bytes of IP packet that the tunnel takes

	tunnel Tunnel
	source forward.Addr // the host's own towards the server
	wrap   forward.Tunnel
	_      [24]byte // up to a size that the heap aligns
}

// forward is the tunnel as package forward knows it.
func (t Tunnel) forward(local, remote forward.Addr, pmtuDisc bool) forward.Tunnel {
	kinds := [...]forward.TunnelKind{IPIP: forward.IPIP, GUE: forward.GUE, GRE: forward.GRE}
	return forward.Tunnel{Kind: kinds[t.Type], Csum: t.Checksum, PMTUDisc: pmtuDisc, Port: t.Port, Local: local, Remote: remote}
}

// configure makes name, method and tunnel those of a config.
func (s *server) configure(v *Service, cfg *Server) {
	s.name = cfg.name(v)
	method := cfg.method(v)
	s.methods |= 1 << method
	s.editPath(func(to *path) {
		to.method = method
		if method == TUN {
			to.tunnel = cfg.tunnel(v)
		}
	})
}

// editPath replaces the path by one with a change; concurrent edits all take effect.
func (s *server) editPath(edit func(*path)) {
	for {
		old := s.path.Load()
		to := *old
		edit(&to)
		to.room = to.mtu - to.wrap.Overhead()
		if s.path.CompareAndSwap(old, &to) {
			return
		}
	}
}

// counters are one worker's counts for one server: written by that worker only, a
// cache line each.
type counters struct {
	conns, inPackets, inBytes, outPackets, outBytes relaxed
	_                                               [24]byte
}

func (s *server) addrPort() netip.AddrPort { return netip.AddrPortFrom(s.address, s.Port) }

// total is the number of connections that thresholds count.
func (s *server) total() int64 { return s.Connections() }

// count counts a connection or template that is about to be entered.
func (s *server) count(template bool) {
	if template {
		s.templates.Add(1)
	} else {
		s.AddConnections(0, 1)
	}
}

// uncount takes back one that was not entered.
func (s *server) uncount(template bool) {
	if template {
		s.templates.Add(-1)
	} else {
		s.AddConnections(0, -1)
	}
}

// bind closes the server to schedulers once, with a new connection or template, it
// has its upper threshold of connections (ip_vs_bind_dest).
func (s *server) bind() {
	if upper := s.upper.Load(); upper != 0 && s.total() >= upper {
		s.SetOverloaded(true)
	}
}

// unbind uncounts one and opens the server again below its lower threshold, or
// below three quarters of the upper one (ip_vs_unbind_dest).
func (s *server) unbind(template, inactive bool) {
	switch {
	case template:
		s.templates.Add(-1)
	case inactive:
		s.AddConnections(0, -1)
	default:
		s.AddConnections(-1, 0)
	}
	if !s.Overloaded() {
		return
	}
	total, lower, upper := s.total(), s.lower.Load(), s.upper.Load()
	if lower != 0 && total < lower || lower == 0 && (upper == 0 || 4*total < 3*upper) {
		s.SetOverloaded(false)
	}
}

// setThresholds changes them as an edit does: a higher upper one, or none, opens
// the server; a lower one takes effect with the next connection.
func (s *server) setThresholds(upper, lower int64) {
	if upper == 0 || upper > s.upper.Load() {
		s.SetOverloaded(false)
	}
	s.upper.Store(upper)
	s.lower.Store(lower)
}

// activate moves one connection between the two counts.
func (s *server) activate(active bool) {
	if active {
		s.AddConnections(1, -1)
	} else {
		s.AddConnections(-1, 1)
	}
}

// referred reports whether a connection or template still names the server.
func (s *server) referred() bool {
	return s.Active() != 0 || s.Inactive() != 0 || s.templates.Load() != 0
}
