package dataplane

import (
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/sched"
)

// Service is a virtual service as packets see it (ip_vs_service). It outlives reloads, so
// that its scheduler keeps its position.
//
// Its exported methods that change something are called by one goroutine at a time.
// servers is what schedulers see, in ip_vs's order, newest first; it is never changed,
// only replaced.
type Service struct {
	// What packets read, on one line of the cache.
	port     uint16        // 0 where it takes several
	grouped  bool          // ports and VIPs are one to persistence, as with a mark
	gate     atomic.Uint32 // a Gate
	mark     uint32        // its templates have it for a VIP; 0 where not grouped
	sched    atomic.Pointer[sched.Scheduler]
	settings atomic.Pointer[serviceSettings]
	limits   atomic.Pointer[limits]
	servers  atomic.Pointer[[]*Server]
	fallback atomic.Pointer[Server] // nil where there is none

	plane *Plane
	id    string
	label atomic.Pointer[Label]
	trash map[netip.AddrPort]*Server // dropped, while they have their numbers
	_     line

	pageLimits atomic.Pointer[pageLimits] // nil before it has a page
	pages      atomic.Uint64              // sent in place of a server's answer
	denied     atomic.Uint64              // frames of clients that may not come
}

// ServiceConfig is what an edit may change of a service while packets flow.
type ServiceConfig struct {
	Persistence      time.Duration  // lifetime of templates; 0: not persistent
	ClientMask       forward.Addr   // of client addresses in templates
	CallID           bool           // templates are of SIP calls
	OnePacket        bool           // each packet is scheduled, none makes a connection
	Rate, ClientRate uint32         // new connections a second; 0: no limit
	Timeouts         []Timeouts     // each overrides those before
	RefuseWhenDown   bool           // while closed: also where there is a fallback
	Allow, Deny      []netip.Prefix // clients that may come and that may not, see access; kept, and not changed
	Page             []byte         // a whole HTTP response of at most MaxPage bytes; nil where there is none
}

// serviceSettings is ServiceConfig as packets read it. It is a key of interner's map, so
// it must be comparable, and pointers in it must be equal where their values are.
type serviceSettings struct {
	persistence      Tick
	clientMask       forward.Addr
	callID           bool
	onePacket        bool
	rate, clientRate uint32
	timeouts         *timeouts
	refuse           bool
	page             *page
	access           *access // nil: all may come
}

// NewService makes a service without servers, not known to packets until Publish. port
// is its only port, or 0; grouped has persistence take all its VIPs and ports for one.
// One of the same id that was removed, but that connections still refer to, comes back. No
// service that exists has that id.
func (p *Plane) NewService(id string, port uint16, grouped bool) *Service {
	for _, s := range p.dropped {
		if v := s.service; v.id == id {
			return v
		}
	}
	v := &Service{plane: p, id: id, port: port, grouped: grouped}
	v.label.Store(&Label{Name: id})
	v.servers.Store(new([]*Server))
	if grouped {
		p.marks++
		v.mark = ownMarks + p.marks
	}
	return v
}

// ownMarks is where the marks begin that services get from NewService.
const ownMarks = 1 << 31

// Mark is the number that stands for the service's VIPs in its templates; 0 where it is
// not grouped.
func (v *Service) Mark() uint32 { return v.mark }

// Label is how lists show a service. Packets do not read it.
type Label struct {
	Name string
	Mark uint32 // 0 where the service is not grouped
}

// SetLabel changes how lists show the service, also that of connections which it has left.
func (v *Service) SetLabel(l Label) { v.label.Store(&l) }

// Label is what SetLabel set.
func (v *Service) Label() Label { return *v.label.Load() }

// Configure changes the settings of v.
func (v *Service) Configure(c ServiceConfig) {
	set := &serviceSettings{
		persistence: Ticks(c.Persistence), clientMask: c.ClientMask, callID: c.CallID, onePacket: c.OnePacket,
		rate: c.Rate, clientRate: c.ClientRate, refuse: c.RefuseWhenDown, timeouts: defaultTimeouts(),
	}
	for i := range c.Timeouts {
		set.timeouts.override(&c.Timeouts[i])
	}
	if c.Page != nil {
		set.page = &page{c.Page}
		if v.pageLimits.Load() == nil {
			v.pageLimits.Store(&pageLimits{})
		}
	}
	old := v.settings.Load()
	switch {
	case old == nil:
		set.access = newAccess(c.Allow, c.Deny)
	case old.access.madeFrom(c.Allow, c.Deny):
		set.access = old.access
	default:
		set.access = newAccess(c.Allow, c.Deny)
		v.plane.accessChanged.Store(true)
	}
	if set.rate+set.clientRate != 0 && v.limits.Load() == nil {
		v.limits.Store(&limits{})
	}
	v.settings.Store(v.plane.interner.intern(set))
}

// Pages is how often the fallback page was sent; where it was lost, more than once.
func (v *Service) Pages() uint64 { return v.pages.Load() }

// Denied is how many frames came that would have begun connections of clients which the
// service does not allow.
func (v *Service) Denied() uint64 { return v.denied.Load() }

// Gate is what becomes of a service's new connections before its scheduler is asked.
type Gate uint32

// The gates.
const (
	GateOpen    Gate = iota // they go to servers
	GateClosed              // they go to the fallback, or are refused
	GateWaiting             // they are dropped: nothing is known of the servers yet
)

// SetGate sets what becomes of new connections.
func (v *Service) SetGate(g Gate) { v.gate.Store(uint32(g)) }

// Gate is what SetGate set.
func (v *Service) Gate() Gate { return Gate(v.gate.Load()) }

// SetFallback gives the service the server that new connections get where no other takes
// them; nil is none.
func (v *Service) SetFallback(s *Server) {
	if s != nil {
		s.setGone(false)
	}
	v.fallback.Store(s)
}

func (v *Service) scheduler() sched.Scheduler { return *v.sched.Load() }

// schedulerServers is a list as schedulers know it.
func schedulerServers(servers []*Server) []*sched.Server {
	list := make([]*sched.Server, len(servers))
	for i, s := range servers {
		list[i] = &s.Server
	}
	return list
}

// SetScheduler gives the service another scheduler, and adds its servers to that
// (ip_vs_bind_scheduler).
func (v *Service) SetScheduler(s sched.Scheduler) {
	list := schedulerServers(*v.servers.Load())
	for _, r := range slices.Backward(list) {
		s.Added(list, r)
	}
	v.sched.Store(&s)
}

// Add puts s into the list and adds it to the scheduler. at is its place: 0 is the head,
// where ip_vs puts a new server.
func (v *Service) Add(s *Server, at int) {
	s.setGone(false)
	list := slices.Insert(slices.Clone(*v.servers.Load()), at, s)
	v.servers.Store(&list)
	v.scheduler().Added(schedulerServers(list), &s.Server)
}

// Remove takes s off the list and out of the scheduler. Connections to s stay, or end
// with the next expiry, as the setting says.
func (v *Service) Remove(s *Server) {
	s.setGone(true)
	list := slices.DeleteFunc(slices.Clone(*v.servers.Load()), func(o *Server) bool { return o == s })
	v.servers.Store(&list)
	v.scheduler().Removed(schedulerServers(list), &s.Server)
	v.plane.serversGone.Store(true)
}

// SetWeight changes the weight that the scheduler sees. It calls the scheduler's Edited,
// also where the weight stays the same.
func (v *Service) SetWeight(s *Server, weight int32) {
	s.Server.SetWeight(weight)
	if v.Has(s) {
		v.scheduler().Edited(schedulerServers(*v.servers.Load()), &s.Server)
	}
}

// Has reports whether the scheduler sees s.
func (v *Service) Has(s *Server) bool { return slices.Contains(*v.servers.Load(), s) }
