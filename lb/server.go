package lb

import (
	"cmp"
	"net/netip"
	"time"

	"github.com/golb/golb/lb/internal/dataplane"
)

// service is a virtual service in the control plane. Balancer.mu guards it.
type service struct {
	dp           *dataplane.Service
	id           string // what it matches
	name         string
	mark         uint32 // in lists; 0 where it has one VIP, protocol and port
	schedulerKey string
	scheduler    string // its name
	policy       servicePolicy
	servers      []*server // as configured
	fallback     *server   // nil where there is none
	down         bool      // below its quorum
	reason       string    // why it is not up: it is down, or waits

	waiting   bool      // for the first results of its servers; it is neither up nor down
	waitUntil time.Time // zero until checks are made
}

// servicePolicy is the part of a service's config that the control plane needs.
type servicePolicy struct {
	quiescent          bool          // failed servers stay, with weight 0
	keepsClients       bool          // and persistent clients with them
	slowStart          time.Duration // to full weight, of a server that is back
	quorum, hysteresis int
	whenDown           DownPolicy
	cutFailed          bool
	hasPage            bool
	passive            PassiveCheck
	datagrams          bool          // takes UDP
	detection          time.Duration // the longest time in which checks notice that servers are dead
	timeout            time.Duration // of one check
}

// server is a server of one service in the control plane. Balancer.mu guards it.
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
	drainEnd  time.Time // when the connections that are left are cut; zero means never
	drained   bool      // EventDrained was sent
	rampStart time.Time // of slow start; zero where it is over

	up       bool
	since    time.Time       // when up changed last
	failures [sources]string // why it failed, by source; "" where the source does not fail it
	awaited  [sources]bool   // the source has had no result yet
	reason   string          // why it is not up
	told     told
	// awaitsRoute says that nothing but sourceRoute fails it.
	awaitsRoute bool
	hop         nextHop // that packets to it leave by; its port is noHop where there is none

	failedAt time.Time // when it went down last
	held     bool      // failed, but stays in the service (DownLastKnown)
	passive  passiveState

	checks   []serverCheck // all have to pass
	pathKey  string        // of its true path check; "" where it has none
	agentKey string        // of its agent's check
	agent    *agentState   // nil where it has none
	percent  bool          // the agent's number is a percentage of the weight, not how idle it is
}

// serverCheck is a check of a server and its result.
type serverCheck struct {
	key    string // of its target; "" where the result is fixed
	label  string // begins its reasons
	itself bool   // it goes to the server's own address
	known  bool   // there is a result
	reason string // why it failed; "" where it did not
}

// setResult keeps a result.
func (c *serverCheck) setResult(failed bool, reason string) {
	c.known = true
	if failed {
		c.reason = cmp.Or(reason, c.reason, "its check failed")
	} else {
		c.reason = ""
	}
}

func (s *server) addrPort() netip.AddrPort { return netip.AddrPortFrom(s.address, s.port) }

// newServerLocked makes a server of v that the scheduler does not see yet.
func (b *Balancer) newServerLocked(v *service, addr netip.AddrPort) *server {
	s := &server{
		dp: b.plane.AddServer(v.dp, addr), service: v, address: addr.Addr(), port: addr.Port(),
		up: true, told: toldUp, since: time.Now(), state: StateActive, cfgState: StateActive,
	}
	b.resetPassiveLocked(s)
	return s
}

// configure sets name, method and tunnel by the config.
func (s *server) configure(v *Service, cfg *Server) {
	s.name, s.method = cfg.name(v), cfg.method(v)
	s.dp.SetMethod(dataplane.Method(s.method), cfg.tunnel(v).dataplane())
}
