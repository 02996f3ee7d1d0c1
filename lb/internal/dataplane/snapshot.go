package dataplane

import (
	"net/netip"

	"github.com/golb/golb/forward"
)

// Snapshot is a configuration as packets see it. Once published it is never changed:
// control makes a new one and swaps it in.
type Snapshot struct {
	settings Settings
	services matcher
	all      map[*Service]struct{}
	nat      map[forward.Addr]*Server  // a server of method NAT at the address
	tunnels  map[forward.Addr]struct{} // addresses of servers of method TUN
}

// Settings are what holds for all services. Those of ip_vs have the meaning of its
// sysctls.
type Settings struct {
	ExpireNodestConn        bool
	ExpireQuiescentTemplate bool
	SloppyTCP, SloppySCTP   bool
	ConnReuseMode           int
	PMTUDisc                bool
	ClampMSS                bool
	AnswerRate              int // packets of each kind, a second and worker, that golb sends of itself
	ReplyByRoute            bool
	Merge                   bool
	// KeepPorts has packets to a persistent service of several ports keep theirs, whatever
	// the server's is, as ip_vs does.
	KeepPorts bool
}

// Match names packets by destination: those to an address of VIP, by Proto, to a port
// from First to Last.
type Match struct {
	VIP         netip.Prefix
	Proto       uint8 // IP protocol number
	First, Last uint16
}

// NewSnapshot makes a snapshot without services.
func NewSnapshot(s Settings) *Snapshot {
	return &Snapshot{
		settings: s, all: map[*Service]struct{}{}, nat: map[forward.Addr]*Server{}, tunnels: map[forward.Addr]struct{}{},
	}
}

// Add has the packets of m belong to v, unless a more specific match has them.
func (s *Snapshot) Add(m Match, v *Service) {
	s.all[v] = struct{}{}
	s.services.add(m, v)
}

// Publish shows a snapshot to the workers, from their next batch on. It also forgets the
// servers that were dropped and that nothing has referred to for a minute.
func (p *Plane) Publish(s *Snapshot) {
	s.services.finish()
	p.forgetDropped(p.tick())
	for _, r := range p.servers.all() {
		if r == nil {
			continue
		}
		if r.methods&(1<<NAT) != 0 {
			if old := s.nat[r.Addr]; old == nil || old.gone.Load() { // the path of one that is gone may be old
				s.nat[r.Addr] = r
			}
		}
		if r.methods&(1<<TUN) != 0 {
			s.tunnels[r.Addr] = struct{}{}
		}
	}
	p.interner.retain(s.all)
	p.snap.Store(s)
}

// NATServers are the addresses of servers that send replies through golb.
func (p *Plane) NATServers() (list []netip.Addr) {
	for a := range p.snap.Load().nat {
		list = append(list, a.Netip())
	}
	return list
}

// HasTunnels reports whether some server is reached by a tunnel.
func (p *Plane) HasTunnels() bool { return len(p.snap.Load().tunnels) > 0 }

// HasVIP reports whether some service has the address.
func (p *Plane) HasVIP(a netip.Addr) bool { return p.snap.Load().isVIP(forward.AddrFrom(a)) }

// match returns the service for a packet, or nil.
func (s *Snapshot) match(proto uint8, vip forward.Addr, port uint16) *Service {
	v := s.services.find(proto, vip, port)
	if v == nil || v.port == 0 && !v.grouped {
		if ftp := s.matchFTP(proto, vip, port); ftp != nil {
			return ftp
		}
	}
	return v
}

func (s *Snapshot) isVIP(a forward.Addr) bool { return s.services.isVIP(a) }

// natServer is a server of method NAT that has the address, or nil. All that have it have
// the same path.
func (s *Snapshot) natServer(a forward.Addr) *Server { return s.nat[a] }
