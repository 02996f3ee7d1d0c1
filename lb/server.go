package lb

import (
	"net/netip"
	"slices"
	"time"

	"github.com/golb/golb/lb/internal/dataplane"
)

// service is what control knows of a virtual service. The balancer's lock guards it.
type service struct {
	dp           *dataplane.Service
	id           string // what it matches
	name         string
	mark         uint32 // that lists show; 0 where it has one VIP, protocol and port
	schedulerKey string
	scheduler    string // its name
	policy       servicePolicy
	servers      []*server // as configured
	fallback     *server   // nil where there is none
	down         bool      // below its quorum
}

// servicePolicy is what of a service's config control acts by.
type servicePolicy struct {
	quiescent          bool          // failed servers stay, with weight 0
	slowStart          time.Duration // to full weight, of a server that is back
	quorum, hysteresis int
	whenDown           DownPolicy
	cutFailed          bool
	hasPage            bool
	passive            PassiveCheck
	datagrams          bool          // takes UDP
	detection          time.Duration // how long one cause takes at most to fail all servers
}

// server is what control knows of a server of one service. The balancer's lock guards
// it.
type server struct {
	dp       *dataplane.Server
	service  *service
	name     string
	address  netip.Addr
	port     uint16
	method   Method
	weight   int32 // as configured
	upper    int64 // thresholds as configured
	lower    int64
	cfgState ServerState // as configured

	runWeight int32 // as set at run time, or as configured
	state     ServerState
	drainEnd  time.Time // when what is left is cut, zero never
	drained   bool      // and told
	rampStart time.Time // of slow start, zero none

	up       bool
	since    time.Time       // when up became what it is
	failures [sources]string // why it failed, by source; "" where that one says nothing
	reason   string          // the first of failures
	failedAt time.Time       // when it went down last
	held     bool            // failed, and stays in the service nonetheless
	passive  passiveState

	checkKey string      // of its check; "" where the result is fixed
	agentKey string      // of its agent's check
	agent    *agentState // nil where it has none
	percent  bool        // the agent's number is a percentage of the weight, not how idle it is
}

func (s *server) addrPort() netip.AddrPort { return netip.AddrPortFrom(s.address, s.port) }

// byAddr returns the service's server of that address and port, nil where there is none.
func (v *service) byAddr(addr netip.AddrPort) *server {
	i := slices.IndexFunc(v.servers, func(s *server) bool { return s.addrPort() == addr })
	if i < 0 {
		return nil
	}
	return v.servers[i]
}

// newServer makes a server of v, which the scheduler does not see yet. The balancer's
// lock is held.
func (b *Balancer) newServerLocked(v *service, addr netip.AddrPort) *server {
	s := &server{
		dp: b.plane.AddServer(v.dp, addr), service: v, address: addr.Addr(), port: addr.Port(),
		up: true, since: time.Now(), state: StateActive, cfgState: StateActive,
	}
	b.resetPassiveLocked(s)
	return s
}

// configure makes name, method and tunnel those of a config.
func (s *server) configure(v *Service, cfg *Server) {
	s.name, s.method = cfg.name(v), cfg.method(v)
	s.dp.SetMethod(dataplane.Method(s.method), cfg.tunnel(v).dataplane())
}
