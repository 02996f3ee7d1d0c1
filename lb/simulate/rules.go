package simulate

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/ipvsadm"
)

// rules are the services and servers that ipvsadm commands have made, in the order
// in which they were added: schedulers see the newest server first.
type rules struct {
	settings lb.Settings
	services []lb.Service
}

// The errors of commands, in ipvsadm's words.
var (
	errServiceExists = errors.New("service already exists")
	errNoService     = errors.New("no such service")
	errServerExists  = errors.New("destination already exists")
	errNoServer      = errors.New("no such destination")
)

// clone returns a copy whose parts apply may change.
func (r *rules) clone() rules {
	c := *r
	c.services = slices.Clone(r.services)
	for i := range c.services {
		c.services[i].Servers = slices.Clone(c.services[i].Servers)
	}
	return c
}

func (r *rules) config() lb.Config {
	return lb.Config{Settings: r.settings, Services: r.services}
}

// parser reads commands. Names of hosts are not looked up: a simulation has no
// network.
var parser = ipvsadm.Parser{LookupHost: func(name string) (netip.Addr, error) {
	return netip.Addr{}, fmt.Errorf("host name %q; allowed: an address", name)
}}

// parse reads a command that changes services, servers or timeouts.
func parse(line string) (*ipvsadm.Command, error) {
	c, err := parser.ParseLine(line)
	if err != nil {
		return nil, err
	}
	switch c.Op {
	case ipvsadm.Clear, ipvsadm.SetTimeouts:
	case ipvsadm.AddService, ipvsadm.EditService, ipvsadm.DeleteService,
		ipvsadm.AddServer, ipvsadm.EditServer, ipvsadm.DeleteServer:
		if c.Service.Mark != 0 {
			return nil, errors.New("services by mark are not simulated")
		}
	default:
		return nil, errors.New("no command to simulate; allowed: -A -E -D -C -a -e -d --set")
	}
	return &c, nil
}

// apply runs a command.
func (r *rules) apply(c *ipvsadm.Command) error {
	at := slices.IndexFunc(r.services, func(s lb.Service) bool {
		return s.VIP == c.Service.Address && s.Port == c.Service.Port && s.Protocol == c.Service.Protocol
	})
	switch {
	case c.Op == ipvsadm.Clear:
		r.services = nil
		return nil
	case c.Op == ipvsadm.SetTimeouts:
		t := &r.settings.Timeouts
		for i, d := range []*time.Duration{&t.Established, &t.FinWait, &t.UDP} {
			*d = cmp.Or(c.Timeouts[i], *d)
		}
		return nil
	case c.Op == ipvsadm.AddService && at >= 0:
		return errServiceExists
	case c.Op == ipvsadm.AddService:
		s, err := serviceOf(&c.Service)
		r.services = append(r.services, s)
		return err
	case at < 0:
		return errNoService
	case c.Op == ipvsadm.EditService:
		s, err := serviceOf(&c.Service)
		s.Servers = r.services[at].Servers
		r.services[at] = s
		return err
	case c.Op == ipvsadm.DeleteService:
		r.services = slices.Delete(r.services, at, at+1)
		return nil
	}
	return applyServer(&r.services[at], c)
}

func applyServer(s *lb.Service, c *ipvsadm.Command) error {
	at := slices.IndexFunc(s.Servers, func(r lb.Server) bool {
		return r.Address == c.Server.Address && r.Port == c.Server.Port
	})
	switch {
	case c.Op == ipvsadm.AddServer && at >= 0:
		return errServerExists
	case c.Op == ipvsadm.AddServer:
		r, err := serverOf(&c.Server)
		s.Servers = append(s.Servers, r)
		return err
	case at < 0:
		return errNoServer
	case c.Op == ipvsadm.EditServer:
		r, err := serverOf(&c.Server)
		s.Servers[at] = r
		return err
	}
	s.Servers = slices.Delete(s.Servers, at, at+1)
	return nil
}

// serviceOf returns the service of a command; it fails where golb has no such service.
func serviceOf(s *ipvsadm.Service) (lb.Service, error) {
	service := lb.Service{
		VIP: s.Address, Port: s.Port, Protocol: s.Protocol,
		Scheduler: s.Scheduler, SchedulerFlags: s.Flags.Names(), OnePacket: s.OnePacket,
		Check: lb.Check{Type: "none"},
	}
	if s.Engine != "" {
		return service, fmt.Errorf("persistence engine %s is not simulated", s.Engine)
	}
	if s.Persistence != 0 {
		bits, ok := s.Prefix()
		if !ok || bits == 0 {
			return service, fmt.Errorf("netmask %s; allowed: that of a prefix", s.Mask)
		}
		service.Persistence = lb.Persistence{Timeout: s.Persistence, Prefix: bits}
	}
	return service, nil
}

func serverOf(s *ipvsadm.Server) (lb.Server, error) {
	server := lb.Server{
		Address: s.Address, Port: s.Port, Method: s.Method, Weight: &s.Weight,
		UpperThreshold: s.UpperThreshold, LowerThreshold: s.LowerThreshold,
		Tunnel: lb.Tunnel{Type: s.Tunnel.Type, Port: s.Tunnel.Port, Checksum: s.Tunnel.Checksum == ipvsadm.FullChecksum},
	}
	if s.Tunnel.Checksum == ipvsadm.RemoteChecksum {
		return server, errors.New("remote checksum offload is not simulated")
	}
	return server, nil
}
