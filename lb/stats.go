package lb

import (
	"net/netip"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb/internal/dataplane"
)

// Stats are a balancer's services, interfaces and counters. Counters start at 0 with New.
type Stats struct {
	Services    []ServiceStats   `json:"services"`    // in the config's order
	Interfaces  []InterfaceStats `json:"interfaces"`  // in the config's order; none unless Run runs
	Connections int              `json:"connections"` // in the table, templates included
	TableSize   int              `json:"table_size"`  // how many there is room for
	TableFull   bool             `json:"table_full"`  // new connections found no room in the last 10 s
	// GivenUp counts the entries of a full table that ended for new connections, by what they
	// were, the first to go first: "over", "half_open", "one_way" (datagrams without a
	// conversation), "no_data" (handshakes without data), "closing", "young", "established";
	// and "template". Those of 0 are left out.
	GivenUp map[string]uint64 `json:"given_up"`
	// Stateless counts the packets of DSR and TUN that were forwarded without an entry, since
	// the table had no room.
	Stateless uint64 `json:"stateless"`
	Trouble   string `json:"trouble"` // why checks cannot be made on this host; "" where they can
	Drops     Drops  `json:"drops"`   // frames not forwarded
	// NetlinkLost counts how often messages of the kernel about routes and addresses were lost,
	// and all was read anew.
	NetlinkLost uint64 `json:"netlink_lost"`
}

// InterfaceStats are the state and the counters of an interface.
type InterfaceStats struct {
	Name   string            `json:"name"` // in the config
	State  InterfaceState    `json:"state"`
	Reason string            `json:"reason"` // why it is unusable
	Now    string            `json:"now"`    // its name on the host; "" while it is missing
	Index  int               `json:"index"`  // 0 where it has never been there
	MAC    forward.MAC       `json:"mac"`
	MTU    int               `json:"mtu"`
	Port   forward.PortStats `json:"port"` // of all workers' ports
	Link   LinkStats         `json:"link"` // since it came
}

// ServiceStats is a service with its servers and counters.
type ServiceStats struct {
	Name      string        `json:"name"`
	Group     string        `json:"group"`
	Match     []Match       `json:"match"` // what it takes
	Mark      uint32        `json:"mark"`  // 0 where it takes one VIP, protocol and port
	Scheduler string        `json:"scheduler"`
	Up        bool          `json:"up"`        // it has its quorum
	Reason    string        `json:"reason"`    // why it is not up
	Conflicts []VIPConflict `json:"conflicts"` // other hosts that answer for its VIPs
	Servers   []ServerStats `json:"servers"`   // in the config's order
	Fallback  *ServerStats  `json:"fallback"`  // nil where it has no fallback server
	Pages     uint64        `json:"pages"`     // fallback pages sent, repeated ones included
	Denied    uint64        `json:"denied"`    // packets of new connections of clients that allow and deny keep out
}

// ServerStats is a server with its counters. Bytes are those of IP packets. With DSR and TUN
// packets from servers to clients do not pass golb, and so are not counted.
type ServerStats struct {
	Name    string      `json:"name"`
	Address netip.Addr  `json:"address"`
	Port    uint16      `json:"port"`
	Method  Method      `json:"method"`
	Up      bool        `json:"up"`
	State   ServerState `json:"state"`
	Reason  string      `json:"reason"` // why it is down
	Weight  int         `json:"weight"` // as its scheduler sees it
	Idle    string      `json:"idle"`   // why it gets no new connections although it is up; "" where it gets them

	Active      int64  `json:"active"`      // connections now in an active state
	Inactive    int64  `json:"inactive"`    // all others in the table
	Templates   int64  `json:"templates"`   // persistence templates
	Connections uint64 `json:"connections"` // all since the start
	InPackets   uint64 `json:"in_packets"`
	InBytes     uint64 `json:"in_bytes"`
	OutPackets  uint64 `json:"out_packets"`
	OutBytes    uint64 `json:"out_bytes"`

	Failed FailedConnections `json:"failed"`
}

// Stats returns all counters. It does not wait for the network.
func (b *Balancer) Stats() Stats {
	b.plane.Expire()
	interfaces := b.interfaceStats()
	b.mu.Lock()
	defer b.mu.Unlock()
	st := Stats{
		Services: []ServiceStats{}, Interfaces: interfaces,
		Connections: b.plane.InUse(), TableSize: b.plane.Size(), TableFull: b.plane.Short(), GivenUp: b.plane.GivenUp(), Stateless: b.plane.Stateless(),
		Trouble: b.trouble.reason, Drops: Drops{},
	}
	if b.net != nil && b.net.host != nil {
		st.NetlinkLost = b.net.host.changes.lost.Load()
	}
	conflicts := b.conflictsLocked()
	for i := range b.cfg.Services {
		s := &b.cfg.Services[i]
		v := b.services[i]
		vs := ServiceStats{
			Name: v.name, Group: s.group(), Match: s.matches(), Mark: v.mark, Scheduler: v.scheduler, Up: v.reason == "", Reason: v.reason,
			Servers: make([]ServerStats, len(v.servers)), Pages: v.dp.Pages(), Denied: v.dp.Denied(),
			Conflicts: s.conflictsOf(conflicts),
		}
		for j, r := range v.servers {
			vs.Servers[j] = r.stats()
		}
		if v.fallback != nil {
			vs.Fallback = new(v.fallback.stats())
		}
		st.Services = append(st.Services, vs)
	}
	for r, n := range b.plane.Drops() {
		if n > 0 {
			st.Drops[dataplane.Reason(r)] = n
		}
	}
	return st
}

// interfaceStats returns the state of each interface, and sums what its ports count.
func (b *Balancer) interfaceStats() []InterfaceStats {
	b.mu.Lock()
	n := b.net
	list := []InterfaceStats{}
	if n == nil {
		b.mu.Unlock()
		return list
	}
	for _, f := range n.interfaces {
		list = append(list, f.stats())
	}
	b.mu.Unlock()
	for i, f := range n.interfaces {
		list[i].Link = f.link.Stats()
		for s := range f.allSlots {
			list[i].Port.Add(s.Stats())
		}
	}
	return list
}

// stats returns the state of the interface. Balancer.mu must be held.
func (f *netInterface) stats() InterfaceStats {
	h := &f.seen.host
	s := InterfaceStats{Name: f.name, State: f.seen.state(), Index: h.Index, MAC: h.MAC, MTU: h.MTU}
	if f.seen.found {
		s.Now = h.Name
	}
	if s.State == InterfaceUnusable {
		s.Reason = f.seen.err.Error()
	}
	return s
}

func (s *server) stats() ServerStats {
	c := s.dp.Counters()
	return ServerStats{
		Name: s.name, Address: s.address, Port: s.port, Method: s.method,
		Up: s.up, State: s.state, Reason: s.reason, Weight: int(s.dp.Weight()), Idle: s.idleReason(),
		Active: c.Active, Inactive: c.Inactive, Templates: c.Templates, Connections: c.Connections,
		InPackets: c.InPackets, InBytes: c.InBytes, OutPackets: c.OutPackets, OutBytes: c.OutBytes,
		Failed: failedConnections(&c.Failed),
	}
}
