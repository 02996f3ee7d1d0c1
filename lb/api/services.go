package api

import (
	"net/netip"

	"github.com/golb/golb/lb"
)

// Services is what a balancer balances, and counts. All counters run from its start.
type Services struct {
	Services    []Listed          `json:"services"`
	Connections int               `json:"connections"` // in the table, templates included
	Drops       map[string]uint64 `json:"drops"`       // frames not forwarded, by reason
}

// Listed is a service and its servers.
type Listed struct {
	Name      string         `json:"name"`
	Takes     []string       `json:"takes"` // as "tcp 192.0.2.1:80"
	Mark      uint32         `json:"mark"`  // 0 where it takes one VIP, protocol and port
	Scheduler string         `json:"scheduler"`
	Up        bool           `json:"up"` // it has its quorum
	Servers   []ListedServer `json:"servers"`
	Fallback  *ListedServer  `json:"fallback"` // null where it has none
	Pages     uint64         `json:"pages"`    // sent in place of a fallback server
}

// ListedServer is a server and what it counts. Bytes are those of IP packets; what
// servers send to clients passes golb by in DSR and TUN.
type ListedServer struct {
	Name    string         `json:"name"`
	Address netip.Addr     `json:"address"`
	Port    uint16         `json:"port"`
	Method  string         `json:"method"`
	Up      bool           `json:"up"`
	State   lb.ServerState `json:"state"`
	Weight  int            `json:"weight"` // that its scheduler sees

	Active      int64  `json:"active"` // connections now in an active state
	Inactive    int64  `json:"inactive"`
	Templates   int64  `json:"templates"`
	Connections uint64 `json:"connections"` // ever
	InPackets   uint64 `json:"in_packets"`
	InBytes     uint64 `json:"in_bytes"`
	OutPackets  uint64 `json:"out_packets"`
	OutBytes    uint64 `json:"out_bytes"`
}

func servicesOf(st lb.Stats) Services {
	l := Services{Services: []Listed{}, Connections: st.Connections, Drops: st.Drops}
	for i := range st.Services {
		l.Services = append(l.Services, listed(&st.Services[i]))
	}
	return l
}

func listed(v *lb.ServiceStats) Listed {
	s := Listed{Name: v.Name, Scheduler: v.Scheduler, Up: v.Up, Servers: []ListedServer{}, Pages: v.Pages}
	for _, m := range v.Match {
		s.Takes = append(s.Takes, m.String())
	}
	if byMark(v) {
		s.Mark = v.Mark
	}
	for i := range v.Servers {
		s.Servers = append(s.Servers, listedServer(&v.Servers[i]))
	}
	if v.Fallback != nil {
		fallback := listedServer(v.Fallback)
		s.Fallback = &fallback
	}
	return s
}

func listedServer(r *lb.ServerStats) ListedServer {
	return ListedServer{
		Name: r.Name, Address: r.Address, Port: r.Port, Method: r.Method.String(), Up: r.Up, State: r.State, Weight: r.Weight,
		Active: r.Active, Inactive: r.Inactive, Templates: r.Templates, Connections: r.Connections,
		InPackets: r.InPackets, InBytes: r.InBytes, OutPackets: r.OutPackets, OutBytes: r.OutBytes,
	}
}

// byMark reports whether a service is one of several VIPs, protocols or ports.
func byMark(v *lb.ServiceStats) bool { return !v.VIP.IsValid() }
