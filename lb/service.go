package lb

import (
	"net/netip"
	"slices"
	"sync/atomic"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/sched"
)

// service is a virtual service at run time (ip_vs_service). It outlives reloads, so
// that its scheduler keeps its position.
//
// The balancer's lock guards the lists. servers is what schedulers see, in ip_vs's
// order, newest first; it is never changed, only replaced.
type service struct {
	// What packets read, on one line of the cache.
	port     uint16      // 0 where it takes several
	grouped  bool        // by Match: ports and VIPs are one to persistence, as with a mark
	closed   atomic.Bool // no server gets new connections, since it is down
	mark     uint32      // its number, which its templates have for a VIP; 0 where not grouped
	sched    atomic.Pointer[sched.Scheduler]
	settings atomic.Pointer[serviceSettings]
	limits   atomic.Pointer[limits]
	now      atomic.Pointer[[]*server] // servers, for workers
	fallback atomic.Pointer[server]    // nil where there is none

	id           string // what it matches
	name         string
	shown        atomic.Uint32 // the number that lists show for it, where grouped
	schedulerKey string        // of sched: name and flags
	servers      []*server
	all          []*server                  // as configured, the failed ones too
	trash        map[netip.AddrPort]*server // dropped, and not yet forgotten
	down         bool                       // below its quorum
	_            line
	pages        atomic.Uint64 // sent in place of a server's answer
}

// serviceSettings is what an edit may change while packets flow.
type serviceSettings struct {
	persistence      tick         // lifetime of templates; 0: not persistent
	mask             forward.Addr // of client addresses in templates
	calls            bool         // templates are of SIP calls
	onePacket        bool
	quiescent        bool   // failed servers stay, with weight 0
	slowStart        tick   // how long a server that is back takes to its full weight
	rate, clientRate uint32 // new connections a second; 0: no limit
	timeouts         *timeouts

	quorum, hysteresis int
	allDown            AllDown
	page               *page // nil where there is none
	cutFailed          bool
	passive            passive
	datagrams          bool // takes UDP
	detection          tick // how long one cause takes at most to fail all servers
}

func newServer(addr netip.AddrPort, workers int) *server {
	s := &server{address: addr.Addr(), state: Active, counters: make([]counters, workers)}
	s.path.Store(&path{})
	s.Addr = forward.AddrFrom(addr.Addr())
	s.Port = addr.Port()
	w := (&tuple{src: s.Addr}).words()
	s.words = [2]uint64{w[0], w[1]}
	return s
}

func (v *service) scheduler() sched.Scheduler { return *v.sched.Load() }

// schedulerServers is the list as schedulers know it.
func (v *service) schedulerServers() []*sched.Server {
	list := make([]*sched.Server, len(v.servers))
	for i, s := range v.servers {
		list[i] = &s.Server
	}
	return list
}

func (v *service) show(list []*server) {
	v.servers = list
	v.now.Store(&list)
}

// add puts s at the head of the list and tells the scheduler.
func (v *service) add(s *server) {
	s.setGone(false)
	v.show(append([]*server{s}, v.servers...))
	v.scheduler().Added(v.schedulerServers(), &s.Server)
}

// remove takes s off the list and tells the scheduler. Connections to s stay.
func (v *service) remove(s *server) {
	s.setGone(true)
	v.show(slices.DeleteFunc(slices.Clone(v.servers), func(o *server) bool { return o == s }))
	v.scheduler().Removed(v.schedulerServers(), &s.Server)
}

// reschedule gives the service another scheduler, which finds the servers that there
// are (ip_vs_bind_scheduler).
func (v *service) reschedule(s sched.Scheduler) {
	list := v.schedulerServers()
	for _, r := range slices.Backward(list) {
		s.Added(list, r)
	}
	v.sched.Store(&s)
}

// setWeight changes the weight that schedulers see and tells them.
func (v *service) setWeight(s *server, weight int32) {
	s.SetWeight(weight)
	if !v.listed(s) {
		return
	}
	v.scheduler().Edited(v.schedulerServers(), &s.Server)
}

// listed reports whether schedulers see s.
func (v *service) listed(s *server) bool { return slices.Contains(v.servers, s) }
