package lb

import (
	"net/netip"
)

// Stats is what a balancer counts. All counters run from its start.
type Stats struct {
	Services    []ServiceStats    // in the config's order
	Connections int               // in the table, templates included
	Drops       map[string]uint64 // frames not forwarded, by Reason; those that are 0 are left out
}

// ServiceStats is what a service counts.
type ServiceStats struct {
	Name      string
	Match     []Match    // what it takes
	VIP       netip.Addr // the zero Addr where Match was given
	Mark      uint32     // of what Match was given for; else 0
	Protocol  Protocol
	Port      uint16
	Scheduler string
	Up        bool          // has its quorum
	Servers   []ServerStats // in the config's order
	Fallback  *ServerStats  // nil where it has no fallback server
	Pages     uint64        // sent in place of a fallback server; where they were lost, more than once
}

// ServerStats is what a server counts. Bytes are those of IP packets. What servers
// send to clients passes golb by in DSR and TUN, and so is not counted.
type ServerStats struct {
	Name    string
	Address netip.Addr
	Port    uint16
	Method  Method
	Up      bool
	State   ServerState
	Reason  string // why it is down
	Weight  int

	Active      int64  // connections now in an active state
	Inactive    int64  // all others in the table
	Templates   int64  // persistence templates
	Connections uint64 // ever
	InPackets   uint64
	InBytes     uint64
	OutPackets  uint64
	OutBytes    uint64

	Fruitless Fruitless // connections that came to nothing
}

// Stats reads all counters.
func (b *Balancer) Stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expire(b.tick())
	st := Stats{Connections: int(b.table.inUse()), Drops: map[string]uint64{}}
	for i := range b.cfg.Services {
		s := &b.cfg.Services[i]
		v := b.services[s.id()]
		vs := ServiceStats{Name: v.name, Match: s.matches(), VIP: s.VIP, Mark: v.shown.Load(), Protocol: s.protocol(), Port: s.Port, Scheduler: v.scheduler().Name(), Up: !v.down, Fallback: v.fallbackStats(), Pages: v.pages.Load()}
		for _, r := range v.all {
			vs.Servers = append(vs.Servers, r.stats())
		}
		st.Services = append(st.Services, vs)
	}
	for r := Reason(0); r < numReasons; r++ {
		for _, w := range b.workers {
			if n := w.drops[r].Load(); n > 0 {
				st.Drops[r.String()] += n
			}
		}
	}
	return st
}

func (s *server) stats() ServerStats {
	st := ServerStats{
		Name: s.name, Address: s.address, Port: s.Port, Method: s.path.Load().method,
		Up: s.up, State: s.state, Reason: s.reason, Weight: int(s.Weight()),
		Active: s.Active(), Inactive: s.Inactive(), Templates: s.templates.Load(),
	}
	st.Fruitless = s.fruitless()
	for i := range s.counters {
		c := &s.counters[i]
		st.Connections += c.conns.Load()
		st.InPackets += c.inPackets.Load()
		st.InBytes += c.inBytes.Load()
		st.OutPackets += c.outPackets.Load()
		st.OutBytes += c.outBytes.Load()
	}
	return st
}
