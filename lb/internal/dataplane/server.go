package dataplane

import (
	"net/netip"
	"sync/atomic"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/sched"
)

// Server is a real server of one service as packets see it (ip_vs_dest). After it was
// dropped from its service, it exists until no connection refers to it.
//
// Workers read it without a lock; what changes is atomic. Its exported methods that
// change something are called by one goroutine at a time.
type Server struct {
	// What every packet reads, on one line of the cache where the heap has put a word
	// before it.
	service      *Service
	path         atomic.Pointer[path]
	counters     []counters   // one per worker
	gone         atomic.Bool  // as Gone
	keepsClients atomic.Bool  // see SetKeepsClients
	linkPort     atomic.Int32 // index of the port on whose link it is; -1: behind a router, or not known
	addrWords    [2]uint64    // the address as words of a flowKey
	_            line

	// Written when connections begin, end or change state.
	sched.Server
	upper, lower atomic.Int64 // connection thresholds, 0 none
	templates    atomic.Int64 // persistence templates (persistconns)
	failed       failureCounts
	_            line

	// Used by the control plane alone.
	methods         uint8 // bits of all methods that a connection to it may have
	unreferredSince Tick  // tick since which nothing refers to it, once dropped; 0: something does
}

// line is padding between fields that are written and fields that others read: 64 bytes
// between two fields keep them on different cache lines at any alignment.
type line [64]byte

// Method is how a packet reaches its server.
type Method uint8

// The methods, with ip_vs's names for them.
const (
	DSR Method = iota + 1 // destination MAC rewritten (DROUTE)
	NAT                   // destination address and port rewritten (MASQ)
	TUN                   // encapsulated (TUNNEL)
)

// Tunnel says how packets to a server of method TUN are encapsulated.
type Tunnel struct {
	Kind     forward.TunnelKind
	Port     uint16 // GUE: the server's UDP port
	Checksum bool   // GUE and GRE: with a checksum over the inside
}

// path is how packets get to a server: the method, and the next hop. It is
// replaced, never changed.
type path struct {
	// What every packet reads, on one line.
	method   Method
	dst, src forward.MAC // dst is zero while the next hop's MAC is not known
	port     int         // index of the port that they leave by
	mtu      int         // bytes of IP packet
	innerMTU int         // bytes of IP packet that the tunnel takes

	tunnel Tunnel
	source forward.Addr // the host's own towards the server
	encap  forward.Tunnel
	ports  uint64   // bits of the ports that its packets may come by, modulo 64
	_      [16]byte // up to a size that the heap aligns
}

func newServer(addr netip.AddrPort, workers int) *Server {
	s := &Server{counters: make([]counters, workers)}
	s.path.Store(&path{})
	s.linkPort.Store(-1)
	s.Addr = forward.AddrFrom(addr.Addr())
	s.Port = addr.Port()
	k := (&tuple{src: s.Addr}).key()
	s.addrWords = [2]uint64{k[0], k[1]}
	return s
}

// SetMethod makes method and tunnel those of new connections.
func (s *Server) SetMethod(m Method, t Tunnel) {
	s.methods |= 1 << m
	s.editPath(func(to *path) {
		to.method = m
		if m == TUN {
			to.tunnel = t
		}
	})
}

// Service is the server's service.
func (s *Server) Service() *Service { return s.service }

// Method is that of new connections.
func (s *Server) Method() Method { return s.path.Load().method }

// Source is the host's own address towards the server, zero while there is none.
func (s *Server) Source() forward.Addr { return s.path.Load().source }

// Route is how packets leave for a server: by which port, with which source MAC, up to
// which size.
type Route struct {
	Port   int          // index of the port
	SrcMAC forward.MAC  // that frames leave with
	MTU    int          // bytes of IP packet
	Source forward.Addr // the host's own towards the server
	OnLink bool         // no router is between
	Ports  []int        // indexes of the ports that its packets may come by: the port, and those of other next hops
	// PMTUDisc copies Don't Fragment to tunnel headers.
	PMTUDisc bool
}

// SetRoute changes the way to the server; the next hop's MAC stays until SetMAC.
func (s *Server) SetRoute(r Route) {
	port := int32(-1)
	if r.OnLink {
		port = int32(r.Port)
	}
	s.linkPort.Store(port)
	s.editPath(func(to *path) {
		to.port, to.src, to.mtu, to.source = r.Port, r.SrcMAC, r.MTU, r.Source
		to.ports = 1 << (r.Port % 64)
		for _, p := range r.Ports {
			to.ports |= 1 << (p % 64)
		}
		to.encap = forward.Tunnel{
			Kind: to.tunnel.Kind, Csum: to.tunnel.Checksum, Port: to.tunnel.Port,
			PMTUDisc: r.PMTUDisc, Local: r.Source, Remote: s.Addr,
		}
	})
}

// SetMAC sets the next hop's MAC; zero means that it is not known.
func (s *Server) SetMAC(mac forward.MAC) {
	s.editPath(func(to *path) { to.dst = mac })
}

// editPath replaces the path by one with a change; concurrent edits all take effect.
func (s *Server) editPath(edit func(*path)) {
	for {
		old := s.path.Load()
		to := *old
		edit(&to)
		to.innerMTU = to.mtu - to.encap.Overhead()
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

// Counters are what a server counts. Bytes are those of IP packets.
type Counters struct {
	Active, Inactive, Templates              int64  // now in the table
	Connections                              uint64 // ever
	InPackets, InBytes, OutPackets, OutBytes uint64 // from clients, and from the server
	Failed                                   FailureCounts
}

// Counters reads the counters of all workers.
func (s *Server) Counters() Counters {
	c := Counters{
		Active: s.Active(), Inactive: s.Inactive(), Templates: s.templates.Load(), Failed: s.failed.read(),
	}
	for i := range s.counters {
		w := &s.counters[i]
		c.Connections += w.conns.Load()
		c.InPackets += w.inPackets.Load()
		c.InBytes += w.inBytes.Load()
		c.OutPackets += w.outPackets.Load()
		c.OutBytes += w.outBytes.Load()
	}
	return c
}

// AddrPort is the server's address and port; port 0 stands for the packet's own.
func (s *Server) AddrPort() netip.AddrPort {
	return netip.AddrPortFrom(forward.Addr(s.Addr).Netip(), s.Port)
}

// setGone says whether the server is in its service.
func (s *Server) setGone(gone bool) {
	s.SetGone(gone)
	s.gone.Store(gone)
}

// SetKeepsClients says whether persistent clients stay with the server while its weight is
// 0, also while its service is closed.
func (s *Server) SetKeepsClients(keeps bool) { s.keepsClients.Store(keeps) }

// Total is the number of connections that thresholds count.
func (s *Server) Total() int64 { return s.Connections() }

// count counts a connection or template that is about to be entered.
func (s *Server) count(template bool) {
	if template {
		s.templates.Add(1)
	} else {
		s.AddConnections(0, 1)
	}
}

// uncount takes back one that was not entered.
func (s *Server) uncount(template bool) {
	if template {
		s.templates.Add(-1)
	} else {
		s.AddConnections(0, -1)
	}
}

// bind closes the server to schedulers once, with a new connection or template, it
// has its upper threshold of connections (ip_vs_bind_dest).
func (s *Server) bind() {
	if upper := s.upper.Load(); upper != 0 && s.Total() >= upper {
		s.SetOverloaded(true)
	}
}

// unbind uncounts one and opens the server again below its lower threshold, or
// below three quarters of the upper one (ip_vs_unbind_dest).
func (s *Server) unbind(template, inactive bool) {
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
	total, lower, upper := s.Total(), s.lower.Load(), s.upper.Load()
	if lower != 0 && total < lower || lower == 0 && (upper == 0 || 4*total < 3*upper) {
		s.SetOverloaded(false)
	}
}

// SetThresholds changes the connection thresholds as an edit in ip_vs does: a higher
// upper one, or none (0), opens the server; a lower one takes effect with the next
// connection.
func (s *Server) SetThresholds(upper, lower int64) {
	if upper == 0 || upper > s.upper.Load() {
		s.SetOverloaded(false)
	}
	s.upper.Store(upper)
	s.lower.Store(lower)
}

// setActive moves one connection between the two counts.
func (s *Server) setActive(active bool) {
	if active {
		s.AddConnections(1, -1)
	} else {
		s.AddConnections(-1, 1)
	}
}

// referred reports whether a connection or template still names the server.
func (s *Server) referred() bool {
	return s.Active() != 0 || s.Inactive() != 0 || s.templates.Load() != 0
}
