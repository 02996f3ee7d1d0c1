package lb

import (
	"net/netip"
	"slices"
	"time"
)

// modelConfig is a configuration as the model knows it. Services keep their place,
// nil where they are not configured.
type modelConfig struct {
	services                                 []*modelService
	expireNodest, expireQuiescent, sloppyTCP bool
	reuse                                    int
	timeouts                                 map[string]tick // in seconds, where they are not ip_vs's
}

type modelService struct {
	dests       []modelDest
	scheduler   string
	persistence tick
	prefix      int
	onePacket   bool
	servers     map[netip.AddrPort]modelServerConfig
}

// modelDest is where packets of a service go; port 0 is all ports.
type modelDest struct {
	proto Protocol
	vip   netip.AddrPort
}

type modelServerConfig struct {
	weight       int
	upper, lower int64
	method       Method
}

// mustPick reports whether the scheduler picks a server wherever there is one; the
// others may choose one that turns out not to be eligible, or reckon all as full.
func (s *modelService) mustPick() bool {
	return !slices.Contains([]string{"dh", "sh", "mh", "ovf"}, s.scheduler)
}

func (s *modelService) masked(a netip.Addr) netip.Addr {
	p, err := a.Prefix(s.prefix)
	if err != nil {
		panic(err)
	}
	return p.Addr()
}

// grouped services are those that ip_vs has marks for.
func (s *modelService) grouped() bool { return len(s.dests) > 1 }

func (s *modelService) port() uint16 {
	if s.grouped() {
		return 0
	}
	return s.dests[0].vip.Port()
}

func (s *modelService) is6() bool { return s.dests[0].vip.Addr().Is6() }

func (s *modelService) takes(f modelFlow) bool {
	return slices.ContainsFunc(s.dests, func(d modelDest) bool {
		return d.proto == f.proto && d.vip.Addr() == f.vip.Addr() && (d.vip.Port() == 0 || d.vip.Port() == f.vip.Port())
	})
}

// service is s without what edits change.
func (s *modelService) service() Service {
	if !s.grouped() {
		return Service{VIP: s.dests[0].vip.Addr(), Port: s.dests[0].vip.Port(), Protocol: s.dests[0].proto}
	}
	var v Service
	for _, d := range s.dests {
		v.Match = append(v.Match, Match{
			VIP:       VIP{netip.PrefixFrom(d.vip.Addr(), d.vip.Addr().BitLen())},
			Protocols: []Protocol{d.proto}, Ports: Ports{{d.vip.Port(), d.vip.Port()}},
		})
	}
	return v
}

func (s *modelService) id() string {
	v := s.service()
	return v.id()
}

func (c *modelConfig) serviceOf(f modelFlow) int {
	return slices.IndexFunc(c.services, func(s *modelService) bool { return s != nil && s.takes(f) })
}

func (c *modelConfig) hasVIP(a netip.Addr) bool {
	return slices.ContainsFunc(c.services, func(s *modelService) bool {
		return s != nil && slices.ContainsFunc(s.dests, func(d modelDest) bool { return d.vip.Addr() == a })
	})
}

// config is c as the engine takes it.
func (c *modelConfig) config() Config {
	cfg := Config{Interfaces: []string{rigInterface}, Workers: modelWorkers, MaxConnections: 4096}
	cfg.Settings = Settings{
		ExpireNodestConn: &c.expireNodest, ExpireQuiescentTemplate: &c.expireQuiescent,
		ConnReuseMode: &c.reuse, SloppyTCP: c.sloppyTCP,
		Timeouts: Timeouts{
			Established: time.Duration(c.timeouts["ES"]) * time.Second, UDP: time.Duration(c.timeouts["UDP"]) * time.Second,
			FinWait: time.Duration(c.timeouts["FW"]) * time.Second,
		},
	}
	for _, s := range c.services {
		if s == nil {
			continue
		}
		v := s.service()
		v.Scheduler, v.OnePacket, v.Check = s.scheduler, s.onePacket, Check{Type: "none"}
		if s.persistence != 0 {
			v.Persistence = Persistence{Timeout: time.Duration(s.persistence/ticksPerSecond) * time.Second, Prefix: s.prefix}
		}
		for _, a := range modelAddrs(s.servers) {
			d := s.servers[a]
			v.Servers = append(v.Servers, Server{
				Address: a.Addr(), Port: a.Port(), Weight: &d.weight, Method: d.method,
				UpperThreshold: int(d.upper), LowerThreshold: int(d.lower),
			})
		}
		cfg.Services = append(cfg.Services, v)
	}
	return cfg
}

func modelAddrs(servers map[netip.AddrPort]modelServerConfig) []netip.AddrPort {
	var list []netip.AddrPort
	for a := range servers {
		list = append(list, a)
	}
	slices.SortFunc(list, netip.AddrPort.Compare)
	return list
}

// clone copies c, so that the copy can be edited.
func (c *modelConfig) clone() modelConfig {
	to := *c
	to.services = slices.Clone(c.services)
	for i, s := range to.services {
		if s == nil {
			continue
		}
		v := *s
		v.servers = map[netip.AddrPort]modelServerConfig{}
		for a, d := range s.servers {
			v.servers[a] = d
		}
		to.services[i] = &v
	}
	return to
}

// apply makes cfg the model's configuration. Servers come, go and come back as in ip_vs_ctl.c:
// ip_vs_add_dest, __ip_vs_update_dest, __ip_vs_del_dest, ip_vs_trash_get_dest.
func (m *model) apply(cfg modelConfig) {
	left := false
	for k, d := range m.servers {
		was := d.available
		s := cfg.services[k.service]
		if s == nil {
			d.available = false
		} else if _, in := s.servers[k.addr]; !in {
			d.available = false
		}
		left = left || was && !d.available
		if !d.available && d.active+d.inactive+d.templates == 0 {
			delete(m.servers, k)
		}
	}
	for i, s := range cfg.services {
		if s == nil {
			continue
		}
		m.timeouts[i] = cfg.timeouts
		for a, to := range s.servers {
			k := modelServerKey{i, a}
			d := m.servers[k]
			if d == nil {
				d = &modelServer{modelServerKey: k, state: StateActive}
				m.servers[k] = d
			}
			if !d.available {
				d.state = StateActive
			}
			if !d.available || d.cfg.weight != to.weight {
				d.weight = to.weight
			}
			if to.upper == 0 || to.upper > d.cfg.upper {
				d.overload = false
			}
			d.available, d.cfg = true, to
		}
	}
	m.cfg = cfg
	if left && cfg.expireNodest {
		m.endOrphans()
	}
}

// endOrphans is ip_vs_expire_nodest_conn_flush of ip_vs_conn.c.
func (m *model) endOrphans() {
	for _, c := range m.conns {
		if !c.server.available {
			m.end(c)
		}
	}
	for t := range m.allTemplates() {
		if !t.server.available {
			m.endTemplate(t)
		}
	}
}
